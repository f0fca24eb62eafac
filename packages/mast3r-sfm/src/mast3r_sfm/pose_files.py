"""Known poses as datasets publish them: one matrix a frame, or a trajectory.

| layout | files |
|---|---|
| 7-Scenes | ``frame-000000.color.png`` with ``frame-000000.pose.txt`` (4x4 cam2world) beside it |
| ScanNet | ``color/0.jpg`` with ``pose/0.txt``, and ``intrinsic/intrinsic_color.txt`` |
| TUM RGB-D | ``rgb.txt`` (time, file) with ``groundtruth.txt`` (time, tx ty tz, qx qy qz qw) |
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_model import InputError

from .cameras import PosedCameras

NEAREST_SECONDS = 0.02
"""A photo has the pose of the trajectory's nearest moment, if that is no further away (TUM's own tool)."""

_IMAGES = (".color.png", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")


def read_pose_files(folder: Path) -> PosedCameras | None:
    """Cameras of a folder in one of the layouts above; None if it is in none.

    Frames without a finite pose (where the tracking was lost) are left out. Intrinsics that the dataset does
    not give are NaN; sizes of images that are not there are (0, 0).

    Raises:
        InputError: a file of the layout cannot be read.
    """
    if (folder / "groundtruth.txt").is_file() and (folder / "rgb.txt").is_file():
        return _trajectory(folder)
    beside = sorted(folder.glob("*.pose.txt"))
    if beside:
        frames = [(path.name.removesuffix(".pose.txt"), folder, path) for path in beside]
        return _frames(folder, frames, None)
    apart = sorted((folder / "pose").glob("*.txt"))
    if apart:
        frames = [(path.stem, folder / "color", path) for path in apart]
        given = folder / "intrinsic" / "intrinsic_color.txt"
        return _frames(folder, frames, _matrix(given)[:3, :3] if given.is_file() else None)
    return None


def _frames(
    folder: Path, frames: Iterable[tuple[str, Path, Path]], intrinsics: np.ndarray | None
) -> PosedCameras:
    found = []
    for stem, images, path in frames:
        pose = _matrix(path)
        if pose.shape != (4, 4):
            raise InputError(f"{path} holds an array of shape {pose.shape}", "expected a 4x4 matrix")
        if np.isfinite(pose).all():
            found.append((_photo(images, stem, folder), pose))
    return _cameras(folder, found, intrinsics)


def _trajectory(folder: Path) -> PosedCameras:
    times, photos = [], []
    for line in _lines(folder / "rgb.txt"):
        fields = line.split()
        if len(fields) != 2:
            raise InputError(f"{folder / 'rgb.txt'}: expected 'time file', got {line!r}")
        times.append(float(fields[0]))
        photos.append(fields[1])
    path = folder / "groundtruth.txt"
    try:
        rows = np.array([[float(number) for number in line.split()] for line in _lines(path)])
    except ValueError as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != 8:
        raise InputError(f"{path}: expected lines of 'time tx ty tz qx qy qz qw'")
    found = []
    for time, photo in zip(times, photos, strict=True):
        row = rows[np.abs(rows[:, 0] - time).argmin()]
        if abs(row[0] - time) <= NEAREST_SECONDS:
            pose = np.eye(4)
            pose[:3, :3] = Rotation.from_quat(row[4:]).as_matrix()
            pose[:3, 3] = row[1:4]
            found.append((photo, pose))
    return _cameras(folder, found, None)


def _cameras(
    folder: Path, found: list[tuple[str, np.ndarray]], intrinsics: Float[np.ndarray, "3 3"] | None
) -> PosedCameras:
    if not found:
        raise InputError(f"{folder} holds no frame with a finite pose")
    matrix = np.full((3, 3), np.nan) if intrinsics is None else intrinsics
    return PosedCameras(
        tuple(name for name, _ in found),
        tuple(_shape(folder / name) for name, _ in found),
        np.broadcast_to(matrix, (len(found), 3, 3)).copy(),
        np.stack([pose for _, pose in found]),
    )


def _photo(images: Path, stem: str, folder: Path) -> str:
    """The frame's photo relative to the folder; its stem where there is none."""
    for suffix in _IMAGES:
        if (images / f"{stem}{suffix}").is_file():
            return (images / f"{stem}{suffix}").relative_to(folder).as_posix()
    return stem


def _shape(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError:
        return 0, 0


def _matrix(path: Path) -> np.ndarray:
    try:
        return np.loadtxt(path, dtype=np.float64)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read a matrix from {path}: {error}") from error


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
