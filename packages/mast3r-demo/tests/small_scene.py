"""A small scene with exact cameras, depth and matches, for tests that need no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mast3r_match import Correspondences
from mast3r_model import ImageTransform, InputError
from mast3r_sfm import PointCloud, Scene, SceneImage, Tracks

WALL = 4.0
"""z of the wall that all cameras look at, in metres."""
NETWORK = ((48, 64), (64, 48), (48, 64))
"""Landscape, portrait, landscape."""
TIMES = 2
"""The photos are so many times as large."""


def shade(points: np.ndarray) -> np.ndarray:
    """Colours of the wall; no sky, black or white among them."""
    x, y = points[..., 0], points[..., 1]
    return np.stack(
        [120 + 80 * np.sin(3 * x), 110 + 60 * np.cos(2 * y), 70 + 40 * np.sin(x + y)], axis=-1
    ).astype(np.uint8)


def small_image(number: int, *, component: int = 0) -> SceneImage:
    """A camera 0.5 m right of the last one, looking straight at the wall; the left is seen more surely."""
    shape = NETWORK[number % len(NETWORK)]
    original = (shape[0] * TIMES, shape[1] * TIMES)
    matrix = np.diag([1 / TIMES, 1 / TIMES, 1.0])
    matrix[:2, 2] = (1 / TIMES - 1) / 2
    transform = ImageTransform(original, shape, matrix)
    K = np.array([[120.0, 0, (original[1] - 1) / 2], [0, 120.0, (original[0] - 1) / 2], [0, 0, 1]])
    pose = np.eye(4)
    pose[0, 3] = 0.5 * number
    confidence = np.broadcast_to(4 - 3 * np.arange(shape[1]) / shape[1], shape)
    blank = SceneImage(
        f"{number + 1:04d}.jpg",
        original,
        transform,
        K,
        pose,
        np.full(shape, WALL),
        confidence,
        np.zeros((*shape, 3)),
        component,
    )
    return SceneImage(**{**vars(blank), "color": shade(blank.pts3d())})


def small_scene(count: int = 3, *, alone: int = 0) -> Scene:
    """``count`` connected photos, and ``alone`` more in a group of their own."""
    images = tuple(small_image(n, component=int(n >= count)) for n in range(count + alone))
    cloud = PointCloud(
        np.concatenate([image.pts3d().reshape(-1, 3) for image in images]),
        np.concatenate([image.color.reshape(-1, 3) for image in images]),
        np.concatenate([image.confidence.ravel() for image in images]),
        np.repeat([image.component for image in images], [image.depth.size for image in images]),
    )
    tracks = _tracks(images[:count])
    pairs = [
        {"image0": images[i].name, "image1": images[j].name, "matches": 300 // (i + j)}
        for i in range(count)
        for j in range(i + 1, count)
    ]
    return Scene(images, cloud, tracks, report={"min_confidence": 1.5, "pairs": pairs})


def _tracks(images: tuple[SceneImage, ...]) -> Tracks:
    """Points of the wall in front of the second camera, each seen by all."""
    x, y = np.meshgrid(np.linspace(0.2, 0.8, 5), np.linspace(-0.5, 0.5, 4))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, WALL)], axis=1)
    xy = []
    for image in images:
        seen = (points - image.cam2world[:3, 3]) @ image.intrinsics.T
        xy.append(seen[:, :2] / seen[:, 2:])
    count, seen_by = len(points), len(images)
    return Tracks(
        points,
        shade(points),
        np.repeat(np.arange(count), seen_by),
        np.tile(np.arange(seen_by), count),
        np.stack(xy, axis=1).reshape(-1, 2),
        np.tile(np.linspace(0.5, 1.0, seen_by), count),
    )


@dataclass(frozen=True)
class SmallPhoto:
    """What a reconstruction keeps of a photo."""

    name: str
    path: Path
    pixels: np.ndarray
    transform: ImageTransform

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class SmallResult:
    """A `Reconstruction` without a network: what the views use of one."""

    scene: Scene
    images: tuple[SmallPhoto, ...]
    metric: bool = True

    def matches(self, i: int, j: int) -> Correspondences:
        if abs(i - j) > 1:
            raise InputError(f"photos {i} and {j} were not matched")
        a, b = self.scene.images[i], self.scene.images[j]
        y, x = np.mgrid[4:44:4, 20:44:4]
        xy0 = np.stack([x.ravel(), y.ravel()], axis=1)
        points = a.pts3d()[xy0[:, 1], xy0[:, 0]]
        seen = (points - b.cam2world[:3, 3]) @ b.network_intrinsics.T
        xy1 = np.round(seen[:, :2] / seen[:, 2:]).astype(np.int64)
        confidence = torch.linspace(1, 5, len(xy0))
        return Correspondences(torch.from_numpy(xy0), torch.from_numpy(xy1), confidence)

    def pair_counts(self) -> dict[tuple[int, int], int]:
        number = {image.name: k for k, image in enumerate(self.images)}
        return {
            (number[pair["image0"]], number[pair["image1"]]): pair["matches"]
            for pair in self.scene.report["pairs"]
        }


def small_result(folder: Path, count: int = 3, *, alone: int = 0) -> SmallResult:
    """A result whose photos lie in a folder, with a place in their EXIF."""
    scene = small_scene(count, alone=alone)
    folder.mkdir(parents=True, exist_ok=True)
    photos = []
    for image in scene.images:
        path = folder / image.name
        large = Image.fromarray(image.color).resize(image.original_shape[::-1])
        exif = Image.Exif()
        exif[0x010F] = "A camera of someone"
        exif.get_ifd(0x8825)[1] = "N"
        exif.get_ifd(0x8825)[2] = (48.0, 51.0, 30.0)
        large.save(path, exif=exif, quality=95)
        photos.append(SmallPhoto(image.name, path, image.color, image.transform))
    return SmallResult(scene, tuple(photos))
