"""VisualSFM's models: ``reconstruction.nvm`` of Cambridge Landmarks (spec 50 D8).

A file is ``NVM_V3``, the number of cameras, a line for each (``name focal qw qx qy qz cx cy cz r 0``:
rotation from world to camera, camera centre, distortion), the number of points and a line for each
(``x y z r g b n`` and n times ``camera feature x y``, pixels from the middle of the photo).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.spatial.transform import Rotation

from mast3r_model import InputError

CAMERA_FIELDS = 11


@dataclass(frozen=True, eq=False)
class NvmCamera:
    """A photo of the model.

    Attributes:
        name: as the file has it.
        focal: in pixels.
        world2cam: 4x4 float64.
        distortion: r of ``undistorted = (1 + r |d|^2) d``, d the distorted point of the plane z = 1.
    """

    name: str
    focal: float
    world2cam: Float[np.ndarray, "4 4"]
    distortion: float

    def radial(self, size_wh: tuple[int, int]) -> float:
        """COLMAP's k of SIMPLE_RADIAL, ``distorted = (1 + k |u|^2) u``, that fits best over the photo.

        Args:
            size_wh: (width, height) of the photo in pixels.
        """
        radius = np.hypot(*size_wh) / 2 / self.focal
        distorted = np.linspace(0, radius, 256)
        undistorted = (1 + self.distortion * distorted**2) * distorted
        weights = distorted  # pixels at that radius
        cubes = undistorted**3
        return float(
            (weights * cubes * (distorted - undistorted)).sum() / max((weights * cubes**2).sum(), 1e-300)
        )


@dataclass(frozen=True, eq=False)
class NvmPoints:
    """The 3D points of the model and where they are seen, observations point by point.

    Attributes:
        xyz: (p, 3) float64.
        rgb: (p, 3).
        camera: (n,) which camera sees.
        point: (n,) which point is seen; ascending.
        offset_xy: (n, 2) pixels from the middle of the photo.
    """

    xyz: Float[np.ndarray, "p 3"]
    rgb: UInt8[np.ndarray, "p 3"]
    camera: Int[np.ndarray, " n"]
    point: Int[np.ndarray, " n"]
    offset_xy: Float[np.ndarray, "n 2"]


def read_nvm_cameras(path: Path) -> list[NvmCamera]:
    """The cameras of the file's first model.

    Raises:
        InputError: it is no NVM file, or is damaged.
    """
    with _Reader(path) as reader:
        return reader.cameras()


def read_nvm_points(path: Path) -> NvmPoints:
    """The points of the file's first model.

    Raises:
        InputError: it is no NVM file, or is damaged.
    """
    with _Reader(path) as reader:
        return reader.points(len(reader.cameras()))


class _Reader:
    """Goes through the file's lines; every error names the line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0

    def __enter__(self) -> _Reader:
        try:
            self._file = self.path.open(encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}") from error
        self._lines = self._not_blank()
        if not next(self._lines, "").startswith("NVM_V3"):
            self._file.close()
            raise InputError(f"{self.path} is no NVM file", "expected NVM_V3 in its first line")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _not_blank(self) -> Iterator[str]:
        for line in self._file:
            self.number += 1
            if line.strip():
                yield line

    def _error(self, expected: str) -> InputError:
        return InputError(f"{self.path}, line {self.number}: the file is damaged", f"expected {expected}")

    def _count(self, what: str) -> int:
        try:
            return int(next(self._lines, ""))
        except ValueError:
            raise self._error(f"the number of {what}") from None

    def cameras(self) -> list[NvmCamera]:
        cameras = []
        for _ in range(self._count("cameras")):
            fields = next(self._lines, "").rsplit(maxsplit=CAMERA_FIELDS - 1)
            try:
                focal, w, x, y, z, *centre, distortion, _zero = map(float, fields[1:])
                rotation = Rotation.from_quat([x, y, z, w]).as_matrix()
                world2cam = np.eye(4)
                world2cam[:3] = np.column_stack([rotation, -rotation @ centre])
            except ValueError:
                raise self._error("name focal qw qx qy qz cx cy cz r 0") from None
            cameras.append(NvmCamera(fields[0], focal, world2cam, distortion))
        return cameras

    def points(self, cameras: int) -> NvmPoints:
        count = self._count("points")
        heads, seen, lengths = np.zeros((count, 6)), [], np.zeros(count, np.int64)
        for index in range(count):
            try:
                values = np.array(next(self._lines, "").split(), dtype=np.float64)
                heads[index] = values[:6]
                lengths[index] = int(values[6])
                seen.append(values[7:].reshape(lengths[index], 4))
            except (ValueError, IndexError):
                raise self._error("x y z r g b n and n times: camera feature x y") from None
        observed = np.concatenate(seen) if seen else np.zeros((0, 4))
        camera = observed[:, 0].astype(np.int64)
        if len(camera) and not 0 <= camera.min() <= camera.max() < cameras:
            raise InputError(f"{self.path} is damaged: a point is seen in a camera that is not there")
        return NvmPoints(
            heads[:, :3],
            heads[:, 3:].astype(np.uint8),
            camera,
            np.repeat(np.arange(count), lengths),
            observed[:, 2:],
        )
