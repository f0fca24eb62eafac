"""Cameras and poses from COLMAP's text files, as releases of datasets hold them (spec 41 sections 3 and 7).

A reader of our own: pycolmap wants the whole model to agree, points and rigs included, and these releases
have parts of it. Lines of observations, most of the file, are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from mast3r_model import InputError

PARAMETERS: Mapping[str, int] = {
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
}
"""Camera model -> number of parameters."""

_ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")


@dataclass(frozen=True)
class ColmapCamera:
    """A line of ``cameras.txt``.

    Attributes:
        model: COLMAP's name of the camera model.
        width: in pixels.
        height: in pixels.
        params: in COLMAP's order.
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    @property
    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """Intrinsics as they stand there: the first pixel's centre is at (0.5, 0.5)."""
        fx, fy, cx, cy = self.params[0], *self.params[0 if self.model in _ONE_FOCAL else 1 :][:3]
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)

    @property
    def distortion(self) -> tuple[float, ...]:
        """The parameters behind focal lengths and principal point."""
        return self.params[3 if self.model in _ONE_FOCAL else 4 :]


@dataclass(frozen=True, eq=False)
class ColmapImage:
    """A line of ``images.txt``.

    Attributes:
        name: as it stands there, perhaps with folders.
        camera_id: key of ``read_colmap_cameras``.
        world2cam: 4x4, OpenCV axes.
    """

    name: str
    camera_id: int
    world2cam: Float[np.ndarray, "4 4"]


def read_colmap_cameras(path: Path) -> dict[int, ColmapCamera]:
    """``cameras.txt``: id -> camera.

    Raises:
        InputError: the file is missing or no such file; the message names the line.
    """
    cameras = {}
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            identity, model, width, height, *params = line.split()
            camera = ColmapCamera(model, int(width), int(height), tuple(map(float, params)))
            cameras[int(identity)] = camera
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS..."
            ) from error
        expected = PARAMETERS.get(model)
        if expected is None:
            raise InputError(
                f"{path}, line {number}: camera model {model}, known are {', '.join(PARAMETERS)}"
            )
        if len(params) != expected:
            raise InputError(f"{path}, line {number}: {model} has {expected} parameters, got {len(params)}")
    return cameras


def read_colmap_images(path: Path) -> list[ColmapImage]:
    """``images.txt``: every second line, those of the poses, in the file's order.

    Raises:
        InputError: the file is missing or no such file; the message names the line.
    """
    images = []
    is_pose = True  # poses and observations take turns; a line of observations may be empty
    for number, line in _lines(path):
        if is_pose and not line.strip():
            continue
        if is_pose:
            images.append(_image(path, number, line))
        is_pose = not is_pose
    return images


def _image(path: Path, number: int, line: str) -> ColmapImage:
    parts = line.split(maxsplit=9)
    try:
        qw, qx, qy, qz, *translation = map(float, parts[1:8])
        world2cam = np.eye(4)
        world2cam[:3, :3] = Rotation.from_quat((qx, qy, qz, qw)).as_matrix()
        world2cam[:3, 3] = translation
        return ColmapImage(parts[9].strip(), int(parts[8]), world2cam)
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{path}, line {number}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
        ) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is no comment."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.startswith("#"):
                    yield number, line
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file") from error
