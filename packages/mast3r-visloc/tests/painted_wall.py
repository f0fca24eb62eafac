"""A painted wall seen by eight cameras, with exact truth: a pixel's colour says which place of the wall it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image
from scipy.spatial.transform import Rotation

HALF = 2.5
"""The wall reaches from -HALF to HALF in x and y, metres; its colours do too."""

SHAPE = (96, 128)
K = np.array([[110.0, 0, 63.2], [0, 112.0, 47.9], [0, 0, 1]])
"""Of every photo, an integer being a pixel's centre."""

SPARSE = 300
"""3D points of the COLMAP model."""


def relief(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """z of the wall."""
    return 4 + 0.7 * np.sin(1.3 * x + 0.4) * np.cos(1.1 * y)


@dataclass(frozen=True, eq=False)
class Shot:
    """A photo of the wall; `scale` makes it larger."""

    name: str
    pose: np.ndarray
    scale: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        return SHAPE[0] * self.scale, SHAPE[1] * self.scale

    @property
    def intrinsics(self) -> np.ndarray:
        """As if the photo of scale 1 was resized."""
        corner = K + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
        scaled = np.diag([self.scale, self.scale, 1]) @ corner
        return scaled - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])

    @property
    def camera_spec(self) -> str:
        """As --camera takes it."""
        fx, fy, cx, cy = self.colmap_params
        return f"PINHOLE,{self.shape[1]},{self.shape[0]},{fx},{fy},{cx},{cy}"

    @property
    def colmap_params(self) -> list[float]:
        return [*self.intrinsics[[0, 1], [0, 1]], *(self.intrinsics[:2, 2] + 0.5)]

    def wall(self) -> np.ndarray:
        """(h, w, 3) the point of the wall behind each pixel."""
        y, x = np.indices(self.shape)
        pixels = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
        rays = pixels @ np.linalg.inv(self.intrinsics).T @ self.pose[:3, :3].T
        centre = self.pose[:3, 3]
        along = (4 - centre[2]) / rays[:, 2]
        for _ in range(30):
            points = centre + along[:, None] * rays
            along = (relief(points[:, 0], points[:, 1]) - centre[2]) / rays[:, 2]
        return (centre + along[:, None] * rays).reshape(*self.shape, 3)

    def project(self, points: np.ndarray) -> np.ndarray:
        own = (points - self.pose[:3, 3]) @ self.pose[:3, :3] @ self.intrinsics.T
        return own[:, :2] / own[:, 2:]

    def depth(self) -> np.ndarray:
        return (self.wall() - self.pose[:3, 3]) @ self.pose[:3, 2]

    def picture(self) -> Image.Image:
        places = (self.wall()[..., :2] + HALF) / (2 * HALF)
        colours = np.concatenate([places, np.full((*self.shape, 1), 0.2)], -1)
        return Image.fromarray(np.rint(255 * colours.clip(0, 1)).astype(np.uint8))

    def save(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        self.picture().save(folder / self.name)
        return folder / self.name


def _shot(name: str, number: int, angle: float, scale: int = 1) -> Shot:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("yx", [angle, 2 * number - 5], degrees=True).as_matrix()
    pose[:3, 3] = [0.35 * number - 1.0, 0.2 * (number % 3) - 0.2, 0.15 * number]
    return Shot(name, pose, scale)


MAP = tuple(_shot(f"map_{number}.png", number, 8.0 - 3 * number) for number in range(6))
QUERIES = (_shot("query_0.png", 1, 1.5), _shot("query_1.png", 3, -4.0), _shot("query_2.png", 4, -1.0))
LARGE = _shot("large.png", 2, -1.0, scale=3)


def points() -> np.ndarray:
    """(SPARSE, 3) on the wall, the same every time."""
    x, y = np.random.default_rng(0).uniform(-1.8, 1.8, (2, SPARSE))
    return np.stack([x, y, relief(x, y)], 1)


def write_colmap(folder: Path, shots: tuple[Shot, ...] = MAP, xyz: np.ndarray | None = None) -> Path:
    """A binary model of the shots, all through one camera, and of points of the wall."""
    xyz = points() if xyz is None else xyz
    model = pycolmap.Reconstruction()
    size = {"width": SHAPE[1], "height": SHAPE[0]}
    camera = pycolmap.Camera(model="PINHOLE", params=MAP[0].colmap_params, camera_id=1, **size)
    model.add_camera_with_trivial_rig(camera)
    tracks: dict[int, list[pycolmap.TrackElement]] = {}
    for number, shot in enumerate(shots, 1):
        pixels = shot.project(xyz)
        seen = np.flatnonzero(((pixels > 0) & (pixels < np.array([127, 95]))).all(1))
        model.add_image_with_trivial_frame(
            pycolmap.Image(name=shot.name, keypoints=pixels[seen] + 0.5, camera_id=1, image_id=number),
            pycolmap.Rigid3d(np.linalg.inv(shot.pose)[:3]),
        )
        for place, point in enumerate(seen.tolist()):
            tracks.setdefault(point, []).append(pycolmap.TrackElement(number, place))
    for point, elements in tracks.items():
        model.add_point3D_with_id(point + 1, pycolmap.Point3D(xyz=xyz[point], track=pycolmap.Track(elements)))
    folder.mkdir(parents=True, exist_ok=True)
    model.write_binary(folder)
    return folder


def write_map(folder: Path) -> Path:
    """``images/`` and ``sparse/0``."""
    for shot in MAP:
        shot.save(folder / "images")
    write_colmap(folder / "sparse" / "0")
    return folder


def write_rgbd(folder: Path, shots: tuple[Shot, ...] = (*MAP, *QUERIES)) -> Path:
    """7-Scenes' layout with depth in metres."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "intrinsics.txt", K, fmt="%.17g")
    for shot in shots:
        stem = shot.name.removesuffix(".png")
        shot.picture().save(folder / f"{stem}.color.png")
        np.savetxt(folder / f"{stem}.pose.txt", shot.pose, fmt="%.17g")
        np.save(folder / f"{stem}.depth.npy", shot.depth().astype(np.float32))
    return folder


def pose_line(shot: Shot) -> str:
    """``name qw qx qy qz tx ty tz``, world to camera."""
    inverse = np.linalg.inv(shot.pose)
    quaternion = Rotation.from_matrix(inverse[:3, :3]).as_quat()[[3, 0, 1, 2]]
    return " ".join([shot.name, *(repr(float(value)) for value in (*quaternion, *inverse[:3, 3]))])
