"""Single frames of DL3DV: undistorted from the release, or imported (spec 41 section 14)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mast3r_train.datasets.dl3dv import DL3DVFolder
from mast3r_train.datasets.files import read_rgb

from .dl3dv_depth import FrameDepth
from .dl3dv_release import Lens, undistort
from .saving import save_copy, save_npy, save_npz, save_rgb_png

_MASKS = ("sky_mask", "outlier_mask")


@dataclass(frozen=True, eq=False)
class FrameJob:
    """A frame of the release; ``depth`` None: without depth."""

    photo: Path
    lens: Lens
    cam2world: np.ndarray
    depth: FrameDepth | None
    files: tuple[Path, Path, Path]


@dataclass(frozen=True)
class ImportJob:
    """A frame in a folder of the loader's layout."""

    source: DL3DVFolder
    target: DL3DVFolder
    scene: str
    frame: str


def make_frame(job: FrameJob) -> None:
    """Undistort a photo; with it, its depth.

    Raises:
        SampleError: the photo or its depth map is missing or broken.
    """
    image, K, inside = undistort(read_rgb(job.photo), job.lens)
    depth = job.depth.seen_by(K, image.size) if job.depth is not None else None
    photo, depth_file, camera = job.files
    save_rgb_png(photo, image)
    save_npz(camera, intrinsic=K, pose=job.cam2world)
    if depth is not None:
        save_npy(depth_file, np.where(inside, depth, 0))


def make_imported(job: ImportJob) -> None:
    """Copy the files of a frame that the loader can read, its variants included.

    Raises:
        SampleError: a file is missing or broken.
    """
    sources, targets = job.source.files(job.scene, job.frame), job.target.files(job.scene, job.frame)
    read_rgb(sources[0])
    job.source.depth(job.scene, job.frame)
    job.source.camera(job.scene, job.frame)
    dense = job.source.root / job.scene / "dense"
    others = [job.source.mask_file(job.scene, job.frame, kind) for kind in _MASKS]
    others += dense.glob(f"rgb_cosxl/*/{job.frame}.png")
    for other in others:
        if other.is_file():
            save_copy(job.target.root / other.relative_to(job.source.root), other)
    for source, target in zip(sources, targets, strict=True):  # the camera last
        save_copy(target, source)
