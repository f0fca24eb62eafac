"""``mast3r data prepare staticthings3d``: to the folder of `StaticThings3D` (spec 41 section 6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_train.datasets.files import missing_layout, read_rgb
from mast3r_train.datasets.staticthings3d import (
    CAMERAS,
    PAIR_FILE,
    frames_of_pair,
    read_staticthings_pairs,
)
from mast3r_train.errors import SampleError
from mast3r_train.geometry import rescale

from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .published_pairs import missing_files, published_list
from .raw_depth import known_depth, read_float3
from .saving import save_copy, save_exr, save_jpeg, save_npz

SIZE_WH = (512, 384)
"""To be covered."""

JPEG_QUALITY = 80

NUMBERS = range(6, 16)
"""Frames of every sequence."""

SUFFIXES = ("_clean.jpg", "_final.jpg", ".exr", ".npz")


@dataclass(frozen=True)
class _Job:
    """One frame: raw folder, folder of its sequence, camera and number, folder to write."""

    raw: Path
    sequence: str
    camera: str
    number: int
    out: Path

    @property
    def name(self) -> str:
        return f"{self.sequence}/{self.camera}/{self.number:04d}"

    def file(self, suffix: str) -> Path:
        return self.out / f"{self.name}{suffix}"


def plan(request: PrepareRequest) -> Preparation:
    """Frames 6 to 15 of both cameras of every sequence; the pair list is copied.

    Raises:
        InputError: the pair list is broken, or the raw folder has no sequences.
    """
    path = published_list(request, (PAIR_FILE,))
    pairs = read_staticthings_pairs(path)
    jobs = list(_jobs(request))
    if not jobs:
        hint = "--raw is the folder with depths, frames_cleanpass, frames_finalpass, intrinsics and poses"
        raise missing_layout("StaticThings3D", request.raw, "intrinsics/TRAIN/A/0000", hint)
    return Preparation(
        frames=[Frame(job.name, job.file(".npz"), job) for job in jobs],
        make=make,
        finish=lambda: save_copy(request.out / PAIR_FILE, path),
        missing=lambda: missing_files(request.out, _stems(pairs), SUFFIXES),
    )


def make(job: _Job) -> None:
    """Make one frame.

    Raises:
        SampleError: a raw file is missing or broken.
    """
    K = _matrix(job.raw / "intrinsics" / job.sequence / f"{job.number:04d}.float3", 3)
    pose_path = job.raw / "poses" / f"{job.name}.float3"
    try:
        cam2world = np.linalg.inv(_matrix(pose_path, 4))
    except np.linalg.LinAlgError as error:
        raise SampleError(f"{pose_path} holds no pose") from error
    depth_path = job.raw / "depths" / f"{job.name}.float3"
    depth = known_depth(read_float3(depth_path).squeeze())
    intrinsics = K
    for rendering in ("clean", "final"):
        path = job.raw / f"frames_{rendering}pass" / f"{job.name}.png"
        image = read_rgb(path)
        if depth.shape != image.size[::-1]:
            raise SampleError(
                f"{depth_path} has shape {depth.shape}, the image {path} {image.width}x{image.height} pixels"
            )
        image, scaled, intrinsics = rescale(image, depth, K, SIZE_WH)
        save_jpeg(job.file(f"_{rendering}.jpg"), image, quality=JPEG_QUALITY)
    assert scaled is not None
    save_exr(job.file(".exr"), scaled)
    save_npz(
        job.file(".npz"),
        intrinsics=intrinsics.astype(np.float32),
        cam2world=cam2world.astype(np.float32),
    )


def _matrix(path: Path, size: int) -> Float[np.ndarray, "n n"]:
    matrix = read_float3(path)
    if matrix.shape != (size, size):
        raise SampleError(f"{path}: expected a matrix {size}x{size}, got shape {matrix.shape}")
    return matrix.astype(np.float64)


def _jobs(request: PrepareRequest) -> Iterator[_Job]:
    for sequence in sorted(request.raw.glob("intrinsics/TRAIN/[ABC]/*")):
        folder = sequence.relative_to(request.raw / "intrinsics").as_posix()
        for camera in CAMERAS.values():
            for number in NUMBERS:
                yield _Job(request.raw, folder, camera, number, request.out)


def _stems(pairs: np.ndarray) -> Iterable[str]:
    for pair in pairs:
        for frame in frames_of_pair(pair.item()):
            yield f"{frame.sequence}/{frame.stem}"


prepare = prepare_command(
    "staticthings3d",
    plan,
    help="StaticThings3D, robustmvd's download, to the folder of the same name.",
    raw="Folder with depths, frames_cleanpass, frames_finalpass, intrinsics and poses.",
    pairs="The published staticthings_pairs.npy.",
)
