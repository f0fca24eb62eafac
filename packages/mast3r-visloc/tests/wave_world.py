"""A relief wall painted with waves: photos of any camera and size show exactly what is there, between pixels too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from scipy.spatial.transform import Rotation

from mast3r_visloc import Camera
from mast3r_visloc.localizing.photos import upright_from_file
from mast3r_visloc.maps import DensePoints, ImagePoints, LocalizationMap, MapImage, SparsePoints

FOCAL = 0.9
"""Of a photo's long side."""

_WAVES = np.random.default_rng(5)
_DIRECTIONS = _WAVES.uniform(0, 2 * np.pi, 60)
_LENGTHS = np.exp(_WAVES.uniform(np.log(0.3), np.log(1.6), 60))
"""Metres; a photo of 128 pixels from 4 metres has 3.5 cm to a pixel."""
_PHASES = _WAVES.uniform(0, 2 * np.pi, (60, 3))


def relief(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """z of the wall."""
    return 4 + 0.3 * np.sin(1.1 * x + 0.4) * np.cos(0.9 * y)


def paint(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, 3) colours from 0 to 1 of the wall, which goes on for ever."""
    along = (np.cos(_DIRECTIONS) * x[:, None] + np.sin(_DIRECTIONS) * y[:, None]) * 2 * np.pi / _LENGTHS
    # sin(a + b) by its parts: two functions of a place for all three colours
    waves = (np.sin(along) @ np.cos(_PHASES) + np.cos(along) @ np.sin(_PHASES)) / np.sqrt(30)
    return (0.5 + 0.16 * waves).clip(0, 1)


@dataclass(frozen=True, eq=False)
class Shot:
    """A photo; `pose` is cam2world of the file's camera, whose pixels `orientation` turns upright."""

    name: str
    pose: np.ndarray
    shape: tuple[int, int] = (64, 96)
    orientation: int = 1

    @property
    def intrinsics(self) -> np.ndarray:
        height, width = self.shape
        focal = FOCAL * max(self.shape)
        return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])

    @property
    def camera(self) -> Camera:
        return Camera.from_intrinsics(self.intrinsics, self.shape)

    def wall(self, xy: np.ndarray) -> np.ndarray:
        """(n, 3) what pixels of the file show."""
        pixels = np.concatenate([xy, np.ones((len(xy), 1))], axis=1)
        rays = pixels @ np.linalg.inv(self.intrinsics).T @ self.pose[:3, :3].T
        centre = self.pose[:3, 3]
        along = (4 - centre[2]) / rays[:, 2]
        for _ in range(16):
            points = centre + along[:, None] * rays
            along = (relief(points[:, 0], points[:, 1]) - centre[2]) / rays[:, 2]
        return centre + along[:, None] * rays

    def project(self, points: np.ndarray) -> np.ndarray:
        own = (points - self.pose[:3, 3]) @ self.pose[:3, :3] @ self.intrinsics.T
        return own[:, :2] / own[:, 2:]

    def grid(self) -> np.ndarray:
        y, x = np.indices(self.shape)
        return np.stack([x.ravel(), y.ravel()], axis=1).astype(float)

    def save(self, folder: Path) -> Path:
        """PNG with its orientation noted."""
        points = self.wall(self.grid())
        pixels = np.rint(255 * paint(points[:, 0], points[:, 1])).astype(np.uint8)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = self.orientation
        Image.fromarray(pixels.reshape(*self.shape, 3)).save(folder / self.name, exif=exif)
        return folder / self.name

    def sparse(self, seed: int = 0, count: int = 400) -> SparsePoints:
        """Points of the wall that it sees, at any fraction of a pixel; equal seeds have equal points."""
        x, y = np.random.default_rng(seed).uniform(-3.5, 3.5, (2, 4 * count))
        points = np.stack([x, y, relief(x, y)], axis=1)
        xy = self.project(points)
        rows = np.flatnonzero(((xy > -0.5) & (xy < np.array(self.shape[::-1]) - 0.5)).all(axis=1))[:count]
        return SparsePoints(xy[rows], points[rows], rows)

    def dense(self) -> DensePoints:
        from mast3r_model import ImageTransform

        return DensePoints(
            self.wall(self.grid()).reshape(*self.shape, 3), ImageTransform.identity(self.shape)
        )

    def turned(self, name: str, orientation: int) -> Shot:
        """The same upright photo, from a file whose pixels lie otherwise."""
        swapped = self.shape[::-1] if orientation >= 5 else self.shape
        pose = self.pose.copy()
        pose[:3, :2] = self.pose[:3, :2] @ upright_from_file(orientation, swapped)[:2, :2]
        return Shot(name, pose, swapped, orientation)


def shot(name: str, x: float, y: float = 0.0, *, yaw: float = 0.0, z: float = 0.0, **changes: object) -> Shot:
    """A photo from (x, y, z) that looks at the wall, turned by `yaw` degrees."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("y", yaw, degrees=True).as_matrix()
    pose[:3, 3] = x, y, z
    return Shot(name, pose, **changes)  # type: ignore[arg-type]


def make_map(folder: Path, shots: list[Shot], kind: str = "sparse", **changes: object) -> LocalizationMap:
    """A map of shots in `folder`.

    Args:
        folder: for the photos.
        shots: its images.
        kind: of points: ``sparse``, ``dense``, ``none``.
        **changes: `camera` or `pose` None, for maps that do not know them.
    """

    def points(shot: Shot) -> ImagePoints:
        return shot.dense() if kind == "dense" else shot.sparse()

    images = [
        MapImage(
            shot.name,
            shot.save(folder),
            changes.get("camera", shot.camera),  # type: ignore[arg-type]
            changes.get("pose", shot.pose),  # type: ignore[arg-type]
            None if kind == "none" else lambda shot=shot: points(shot),  # type: ignore[misc]
        )
        for shot in shots
    ]
    return LocalizationMap(images, folder, "test map")


def pose_gap(found: np.ndarray | None, truth: np.ndarray) -> tuple[float, float]:
    """Metres and degrees between two cam2world."""
    assert found is not None
    turn = Rotation.from_matrix(found[:3, :3].T @ truth[:3, :3]).magnitude()
    return float(np.linalg.norm(found[:3, 3] - truth[:3, 3])), float(np.degrees(turn))
