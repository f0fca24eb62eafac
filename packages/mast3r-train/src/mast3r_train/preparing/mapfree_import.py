"""Depth for Map-free scenes from a folder in the loader's layout, brought to metres (spec 41 section 13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mast3r_model import InputError
from mast3r_train.datasets.files import read_depth_npy, read_rgb
from mast3r_train.datasets.nianticmapfree import SEQUENCES, NianticMapFreeFolder
from mast3r_train.errors import SampleError

from .mapfree_release import ReleasedFrame
from .pose_alignment import Alignment, align_poses
from .saving import save_copy, save_npy, save_npz

MOST_SPREAD = 0.1
"""Relative deviation of distances between cameras up to which two sets of poses are the same walk."""

MOST_DEGREES = 5.0


@dataclass(frozen=True)
class ImportJob:
    """One frame to import."""

    source: NianticMapFreeFolder
    target: NianticMapFreeFolder
    scene: str
    frame: str
    alignment: Alignment

    @property
    def marker(self) -> Path:
        """The camera's file."""
        return self.target.files(self.scene, self.frame)[2]


def import_jobs(
    source: NianticMapFreeFolder,
    target: NianticMapFreeFolder,
    scene: str,
    released: Mapping[str, ReleasedFrame],
) -> tuple[list[ImportJob], Mapping[str, Alignment]]:
    """The frames of a scene that can be imported, and how each sequence's world fits the release's.

    Both sequences are brought into the world of ``poses.txt``, which they share: their own may differ.

    Raises:
        InputError: the scene is not there, or its poses are not those of the release.
    """
    frames = [frame for frame in source.frames(scene) if frame in released]
    if not frames:
        raise InputError(
            f"{source.root / scene} has no frame of the release: dense0/cam/frame_00000.npz, ..."
        )
    stored = dict(_readable_poses(source, scene, frames))
    wanted = {frame: one.cam2world for frame, one in released.items()}
    of_sequence = {one: [frame for frame in stored if frame.startswith(one)] for one in SEQUENCES}
    alignments: dict[str, Alignment] = {}
    for one, own in of_sequence.items():
        if len(own) >= 2:
            alignments[one] = _alignment(source.root / scene / one, own, stored, wanted, None)
    factors = [alignment.factor for alignment in alignments.values()]
    for one, own in of_sequence.items():
        if len(own) == 1:  # the reference of a validation scene
            if not factors:
                raise InputError(f"{source.root / scene}: single frames have no scale")
            alignments[one] = _alignment(source.root / scene / one, own, stored, wanted, factors[0])
    jobs = []
    for frame in frames:
        one = frame.partition("/")[0]
        if one not in alignments:
            raise InputError(f"{source.root / scene / one} has no camera that can be read")
        jobs.append(ImportJob(source, target, scene, frame, alignments[one]))
    return jobs, alignments


def make_imported(job: ImportJob) -> None:
    """Copy a frame's photo and sky mask; scale its depth; move its pose.

    Raises:
        SampleError: a file is missing or broken.
    """
    photo, depth_file, _ = job.source.files(job.scene, job.frame)
    depth = read_depth_npy(depth_file)
    image = read_rgb(photo)
    if depth.shape != image.size[::-1]:
        raise SampleError(
            f"{photo} has {image.width}x{image.height} pixels, its depth {depth.shape[1]}x{depth.shape[0]}"
        )
    intrinsics, cam2world = job.source.camera(job.scene, job.frame)
    to_photo, to_depth, to_camera = job.target.files(job.scene, job.frame)
    save_copy(to_photo, photo)
    mask = job.source.sky_mask_file(job.scene, job.frame)
    if mask.parent.is_dir():
        save_copy(job.target.sky_mask_file(job.scene, job.frame), mask)
    save_npy(to_depth, depth * np.float32(job.alignment.factor))
    save_npz(to_camera, intrinsic=intrinsics, pose=job.alignment.cam2world(cam2world))


def _readable_poses(
    source: NianticMapFreeFolder, scene: str, frames: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Frames whose camera can be read; the others fail when they are made."""
    for frame in frames:
        with suppress(SampleError):
            yield frame, source.camera(scene, frame)[1]


def _alignment(
    folder: Path,
    frames: Sequence[str],
    stored: Mapping[str, np.ndarray],
    wanted: Mapping[str, np.ndarray],
    factor: float | None,
) -> Alignment:
    poses = [np.stack([of[frame] for frame in frames]) for of in (stored, wanted)]
    try:
        alignment = align_poses(*poses, factor=factor)
    except ValueError as error:
        raise InputError(f"{folder}: {error}") from error
    if alignment.spread > MOST_SPREAD or alignment.degrees > MOST_DEGREES:
        raise InputError(
            f"{folder}: its poses are not those of poses.txt: distances between cameras differ by "
            f"{alignment.spread:.0%} from one factor, directions by {alignment.degrees:.1f} degrees; "
            f"expected at most {MOST_SPREAD:.0%} and {MOST_DEGREES:g}"
        )
    return alignment
