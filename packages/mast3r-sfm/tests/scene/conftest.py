"""A synthetic scene with exact cameras, depth and matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mast3r_match import Correspondences
from mast3r_model import ImageTransform
from mast3r_sfm.scene import DroppedImage, PointCloud, Scene, SceneImage, Tracks

NETWORK = (48, 64)
ORIGINAL = (110, 128)


def relief(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """z of the surface that all cameras look at."""
    return 4 + 0.4 * np.sin(1.7 * x) + 0.3 * np.cos(1.3 * y + x)


def color_of(points: np.ndarray) -> np.ndarray:
    waves = np.sin(points @ np.array([[3.0, 1.0, 0.5], [0.7, 4.0, 1.0], [1.0, 1.0, 1.0]]))
    return np.round(127 + 120 * waves).astype(np.uint8)


def camera(number: int, count: int) -> np.ndarray:
    """cam2world on an arc, looking at the middle of the relief."""
    angle = np.deg2rad(40) * (number / max(count - 1, 1) - 0.5)
    centre = np.array([4 * np.sin(angle), 0.15 * (-1) ** number, 4 - 4 * np.cos(angle)])
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("y", -angle).as_matrix()
    pose[:3, 3] = centre
    return pose


def depth_of(K: np.ndarray, pose: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Depth of every pixel: the first meeting of its ray with the relief, by Newton's method."""
    y, x = np.indices(shape)
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones(shape)], -1) @ pose[:3, :3].T
    depth = np.full(shape, 4.0)
    for _ in range(100):
        points = pose[:3, 3] + depth[..., None] * rays
        depth += 0.5 * (relief(points[..., 0], points[..., 1]) - points[..., 2]) / rays[..., 2]
    return depth


def make_image(number: int, count: int, component: int = 0) -> SceneImage:
    transform = ImageTransform.from_resize_and_crop(ORIGINAL, (55, 64), (0, 4, 64, 52))
    K = np.array([[140.0 + number % 2, 0, 63.0], [0, 141.0, 55.5], [0, 0, 1]])
    pose = camera(number, count)
    depth = depth_of(transform.intrinsics_to_network(K), pose, NETWORK)
    image = SceneImage(
        name=f"set {component}/photo_{number}.jpg",
        original_shape=ORIGINAL,
        transform=transform,
        intrinsics=K,
        cam2world=pose,
        depth=depth,
        confidence=np.full(NETWORK, 3.0),
        color=np.zeros((*NETWORK, 3)),
        component=component,
    )
    return SceneImage(**{**vars(image), "color": color_of(image.pts3d())})


@dataclass(frozen=True)
class Matched:
    """Images, their true matches, and how many of those were replaced by wrong ones."""

    images: tuple[SceneImage, ...]
    pairs: dict[tuple[int, int], Correspondences]


def true_matches(first: SceneImage, second: SceneImage, step: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A grid of pixels of the first image and where the second sees them, rounded; both network pixels."""
    y, x = (axis.ravel() for axis in np.mgrid[0 : NETWORK[0] : step, 0 : NETWORK[1] : step])
    points = first.pts3d()[y, x].astype(np.float64)
    moved = points @ second.world2cam[:3, :3].T + second.world2cam[:3, 3]
    projected = moved @ second.network_intrinsics.T
    there = np.round(projected[:, :2] / projected[:, 2:]).astype(np.int64)
    inside = ((there >= 0) & (there < [NETWORK[1], NETWORK[0]])).all(1)
    return np.stack([x, y], 1)[inside], there[inside]


def correspondences(xy0: np.ndarray, xy1: np.ndarray) -> Correspondences:
    return Correspondences(torch.from_numpy(xy0), torch.from_numpy(xy1), torch.ones(len(xy0)))


@pytest.fixture(scope="session")
def matched() -> Matched:
    images = tuple(make_image(number, 5) for number in range(5))
    pairs = {
        (i, j): correspondences(*true_matches(images[i], images[j]))
        for i in range(5)
        for j in range(i + 1, 5)
    }
    return Matched(images, pairs)


@pytest.fixture(scope="session")
def scene(matched: Matched) -> Scene:
    """Three images of one group, two of another, with exact points and tracks."""
    images = (*matched.images[:3], *(make_image(number, 2, component=1) for number in range(2)))
    points = np.concatenate([image.pts3d()[::8, ::8].reshape(-1, 3) for image in images])
    component = np.repeat([image.component for image in images], len(points) // len(images))
    return Scene(
        images,
        PointCloud(points, color_of(points), np.linspace(1, 2, len(points)), component),
        exact_tracks(images),
        (DroppedImage("dark.jpg", "no image shares anything with it"),),
        {"seconds": {"network": 1.5}, "pairs": [[0, 1], [0, 2]]},
        "",
    )


def exact_tracks(images: tuple[SceneImage, ...]) -> Tracks:
    """Points of each group's first image, seen without error where they fall into the others."""
    positions, rows = [], []
    for first, image in enumerate(images):
        if any(other.component == image.component for other in images[:first]):
            continue
        for point in image.pts3d()[4::9, 4::9].reshape(-1, 3).astype(np.float64):
            seen = []
            for index, other in enumerate(images):
                x, y, z = other.intrinsics @ (other.world2cam @ [*point, 1])[:3]
                inside = 0 <= x / z < ORIGINAL[1] and 0 <= y / z < ORIGINAL[0]
                if other.component == image.component and inside:
                    seen.append((len(positions), index, x / z, y / z))
            if len(seen) > 1:
                positions.append(point)
                rows += seen
    table = np.array(rows)
    positions = np.array(positions)
    zeros = np.zeros(len(table))
    return Tracks(positions, color_of(positions), table[:, 0], table[:, 1], table[:, 2:], zeros)
