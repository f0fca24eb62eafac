"""A scene of DL3DV as released: ``transforms.json`` and photos with lens distortion (spec 41 section 14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from mast3r_model import InputError
from mast3r_train.datasets.files import load_json

IMAGE_FOLDERS = ("images_8", "images_4", "images_2", "images")
"""Of the releases 480P, 960P, 2K and 4K; a scene has one of them."""

_OPENGL_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
"""Cameras of ``transforms.json`` look along -z, y up."""


@dataclass(frozen=True, eq=False)
class Lens:
    """The camera of all photos of a scene, at the full size.

    Attributes:
        size_wh: (width, height).
        matrix: intrinsics, where the first pixel's centre is at (0.5, 0.5).
        distortion: k1, k2, p1, p2 of OpenCV's model.
    """

    size_wh: tuple[int, int]
    matrix: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " coefficients"]

    def at(self, size_wh: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
        """Intrinsics of a photo of another size, pixel centres at integers."""
        matrix = self.matrix.copy()
        matrix[0] *= size_wh[0] / self.size_wh[0]
        matrix[1] *= size_wh[1] / self.size_wh[1]
        matrix[:2, 2] -= 0.5
        return matrix


@dataclass(frozen=True, eq=False)
class ReleasedScene:
    """A scene's photos and poses.

    Attributes:
        lens: of all photos.
        photos: name (``frame_00001``) -> file.
        poses: name -> cam2world, OpenCV axes; the world is that of the file.
    """

    lens: Lens
    photos: Mapping[str, Path]
    poses: Mapping[str, np.ndarray]


def read_scene(folder: Path) -> ReleasedScene:
    """A scene's folder.

    Raises:
        InputError: a file is missing or broken; the message names it.
    """
    path = folder / "transforms.json"
    stored = load_json(path)
    images = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), None)
    if images is None:
        raise InputError(f"{folder} has none of the folders {', '.join(IMAGE_FOLDERS)}")
    try:
        lens = _lens(stored)
        frames = {Path(frame["file_path"]).name: frame["transform_matrix"] for frame in stored["frames"]}
        poses = {Path(name).stem: _cam2world(matrix) for name, matrix in sorted(frames.items())}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not have nerfstudio's format: {error!r}") from error
    if not poses:
        raise InputError(f"{path} lists no frames")
    return ReleasedScene(lens, {Path(name).stem: images / name for name in sorted(frames)}, poses)


def undistort(
    image: Image.Image, lens: Lens
) -> tuple[Image.Image, Float[np.ndarray, "3 3"], Bool[np.ndarray, "height width"]]:
    """A photo without distortion, at its size.

    Returns:
        The photo; its intrinsics, pixel centres at integers; where it shows something, not the outside.
    """
    width, height = image.size
    K = lens.at(image.size)
    if not lens.distortion.any():
        return image, K, np.ones((height, width), dtype=bool)
    x, y = cv2.initUndistortRectifyMap(K, lens.distortion, None, K, (width, height), cv2.CV_32FC1)
    pixels = cv2.remap(np.asarray(image), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return Image.fromarray(pixels), K, inside


def _lens(stored: Mapping[str, Any]) -> Lens:
    if stored.get("camera_model", "OPENCV") not in ("OPENCV", "PINHOLE"):
        raise ValueError(f"camera_model is {stored['camera_model']!r}, expected OPENCV")
    matrix = np.array(
        [[stored["fl_x"], 0, stored["cx"]], [0, stored["fl_y"], stored["cy"]], [0, 0, 1]], dtype=np.float64
    )
    distortion = np.array([stored.get(name, 0.0) for name in ("k1", "k2", "p1", "p2")], dtype=np.float64)
    return Lens((int(stored["w"]), int(stored["h"])), matrix, distortion)


def _cam2world(matrix: Any) -> Float[np.ndarray, "4 4"]:
    pose = np.array(matrix, dtype=np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f"a transform_matrix is {pose.tolist()}")
    cam2world: np.ndarray = pose @ _OPENGL_AXES
    return cam2world
