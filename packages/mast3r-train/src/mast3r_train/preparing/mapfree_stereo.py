"""Depth for Map-free scenes by COLMAP, with the release's metric poses (spec 41 section 13)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mast3r_model import InputError
from mast3r_train.datasets.colmap_depth import read_colmap_map
from mast3r_train.datasets.files import read_rgb
from mast3r_train.datasets.nianticmapfree import SEQUENCES, NianticMapFreeFolder, split_of
from mast3r_train.errors import SampleError

from .colmap_depth import PosedPhoto, compute_depth
from .mapfree_release import ReleasedFrame, read_release_scene
from .saving import save_copy, save_json, save_npy, save_npz


@dataclass(frozen=True)
class StereoJob:
    """Frames that are reconstructed together: a sequence, or a whole validation scene."""

    raw: Path
    target: NianticMapFreeFolder
    name: str
    frames: Mapping[str, ReleasedFrame]

    @property
    def marker(self) -> Path:
        """Written when all is there."""
        return self.target.root / self.raw.name / f"{self.name}_stereo.json"

    @property
    def workspace(self) -> Path:
        """COLMAP's files; deleted at the end."""
        return self.target.root / ".colmap" / f"{self.raw.name}_{self.name}"


def stereo_jobs(scene: Path, target: NianticMapFreeFolder) -> list[StereoJob]:
    """What to reconstruct: each sequence of a training scene; of others, whose reference is one photo, all.

    Raises:
        InputError: the scene's text files are missing or broken, or a part has fewer than two photos.
    """
    released = read_release_scene(scene)
    parts: dict[str, dict[str, ReleasedFrame]] = {"scene": dict(released)}
    if split_of(scene.name) == "train":
        parts = {
            one: {name: frame for name, frame in released.items() if name.startswith(one)}
            for one in SEQUENCES
        }
    for name, frames in parts.items():
        if len(frames) < 2:
            raise InputError(f"{scene}: stereo needs at least two photos, {name} has {len(frames)}")
    return [StereoJob(scene, target, name, frames) for name, frames in parts.items()]


def make_stereo(job: StereoJob) -> None:
    """Compute and write the depth of a job's frames.

    Raises:
        SampleError: a photo is missing or broken, or COLMAP failed.
    """
    photos = []
    for frame in job.frames.values():
        size = read_rgb(job.raw / frame.path).size
        if size != frame.size_wh:
            raise SampleError(f"{job.raw / frame.path} has {size[0]}x{size[1]} pixels, not {frame.size_wh}")
        photos.append(PosedPhoto(frame.path, size, frame.intrinsics, frame.cam2world))
    maps = compute_depth(job.raw, photos, job.workspace)
    without = []
    for name, frame in job.frames.items():
        source = maps / f"{frame.path}.geometric.bin"
        if not source.is_file():  # COLMAP leaves out photos that see nothing in common with others
            without.append(name)
            continue
        photo, depth, camera = job.target.files(job.raw.name, name)
        save_copy(photo, job.raw / frame.path)
        save_npy(depth, read_colmap_map(source))
        save_npz(camera, intrinsic=frame.intrinsics, pose=frame.cam2world)
    if len(without) == len(job.frames):
        raise SampleError(f"{job.raw}: COLMAP made no depth map of {job.name}")
    shutil.rmtree(job.workspace, ignore_errors=True)
    save_json(job.marker, {"frames": len(job.frames) - len(without), "without_depth": without})
