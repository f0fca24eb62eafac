"""``mast3r data prepare virtualkitti``: from Virtual KITTI 2 to `VirtualKitti`'s folder (spec 41 section 12).

Not needed for training: the loader reads the release as well. It puts a frame's files side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mast3r_train.datasets.files import missing_layout, read_depth_png, read_rgb
from mast3r_train.datasets.virtualkitti import VirtualKitti, VirtualKittiFolder
from mast3r_train.errors import SampleError

from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .posed_preparation import posed_preparation
from .saving import save_copy, save_npz


@dataclass(frozen=True)
class _Job:
    raw: Path
    scene: str
    frame: str
    files: tuple[Path, Path, Path]


def plan(request: PrepareRequest) -> Preparation:
    """All frames of both cameras.

    Raises:
        InputError: there is no scene.
    """
    release, folder = VirtualKittiFolder(request.raw), VirtualKittiFolder(request.out)
    scenes = [scene for scene in release.scenes() if release.is_released(scene)]
    if not scenes:
        raise missing_layout(
            "VirtualKitti",
            request.raw,
            "Scene01/clone/frames/rgb/Camera_0",
            "--raw is the folder in which the archives rgb, depth and textgt are unpacked",
        )
    frames = []
    for scene in scenes:
        for frame in release.frames(scene):
            files = folder.files(scene, frame)
            frames.append(Frame(f"{scene}/{frame}", files[2], _Job(request.raw, scene, frame, files)))
    return posed_preparation("VirtualKitti", folder, VirtualKitti.pairs_file, frames, make, request)


def make(job: _Job) -> None:
    """Make one frame.

    Raises:
        SampleError: a raw file is missing or broken.
    """
    release = VirtualKittiFolder(job.raw)
    source, source_depth, _ = release.files(job.scene, job.frame)
    intrinsics, cam2world = release.camera(job.scene, job.frame)
    size, shape = read_rgb(source).size, read_depth_png(source_depth).shape
    if shape != size[::-1]:
        raise SampleError(
            f"{source}: the image has {size[0]}x{size[1]} pixels, the depth {shape[1]}x{shape[0]}"
        )
    photo, depth, camera = job.files
    save_copy(photo, source)
    save_copy(depth, source_depth)
    save_npz(camera, camera_pose=cam2world, camera_intrinsics=intrinsics)


prepare = prepare_command(
    "virtualkitti",
    plan,
    help="Virtual KITTI 2 to the folder of VirtualKitti.",
    raw="Folder in which the archives rgb, depth and textgt are unpacked.",
)
