"""``mast3r data prepare tartanair``: from the archives to `TartanAir`'s folder (spec 41 section 10)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from mast3r_model import InputError
from mast3r_train.datasets.files import load_text_lines, missing_layout, read_depth_npy, read_rgb
from mast3r_train.datasets.tartanair import TartanAir, TartanAirFolder
from mast3r_train.errors import SampleError

from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .posed_preparation import posed_preparation
from .saving import save_copy, save_npy, save_npz

SIZE_WH = (640, 480)
INTRINSICS = np.array([[320.0, 0, 320], [0, 320, 240], [0, 0, 1]])
"""As published, for all images."""

_FROM_NED = [1, 2, 0]
"""x, y, z of OpenCV's axes are y, z, x of a camera that looks along x with z down."""


@dataclass(frozen=True)
class _Job:
    raw: Path
    name: str
    files: tuple[Path, Path, Path]
    cam2world: np.ndarray


def cam2world_of_ned(row: Float[np.ndarray, " numbers"]) -> Float[np.ndarray, "4 4"]:
    """A pose with OpenCV's camera axes from a line of ``pose_left.txt``; the world stays as it is.

    Args:
        row: tx ty tz qx qy qz qw, camera to world, camera axes x forward, y right, z down.
    """
    ned2world = np.eye(4)
    ned2world[:3, :3] = Rotation.from_quat(row[3:]).as_matrix()
    ned2world[:3, 3] = row[:3]
    world2cam = np.linalg.inv(ned2world)
    world2cam[:3] = world2cam[_FROM_NED]
    cam2world: np.ndarray = np.linalg.inv(world2cam)
    return cam2world


def plan(request: PrepareRequest) -> Preparation:
    """The left images of all flights.

    Raises:
        InputError: there is no flight.
    """
    files = [path for level in ("Easy", "Hard") for path in request.raw.glob(f"*/{level}/P*/pose_left.txt")]
    if not files:
        raise missing_layout(
            "TartanAir",
            request.raw,
            "<env>/<Easy|Hard>/P000/pose_left.txt",
            "--raw is the folder in which the archives image_left and depth_left are unzipped",
        )
    folder = TartanAirFolder(request.out)
    frames: list[Frame] = []
    for path in sorted(files):
        scene = path.parent.relative_to(request.raw).as_posix()
        try:
            poses = _poses(path)
            frames += [_frame(folder, path.parent, scene, name, poses, path) for name in _names(path.parent)]
        except InputError as error:
            frames.append(Frame.broken(scene, error.message))
    return posed_preparation("TartanAir", folder, TartanAir.pairs_file, frames, make, request)


def make(job: _Job) -> None:
    """Make one frame.

    Raises:
        SampleError: a raw file is missing or broken.
    """
    source = job.raw / "image_left" / f"{job.name}_left.png"
    depth = read_depth_npy(job.raw / "depth_left" / f"{job.name}_left_depth.npy")
    size = read_rgb(source).size
    if size != SIZE_WH or depth.shape != SIZE_WH[::-1]:
        raise SampleError(
            f"{source}: expected an image and depth of {SIZE_WH[0]}x{SIZE_WH[1]} pixels, got "
            f"{size[0]}x{size[1]} and {depth.shape[1]}x{depth.shape[0]}"
        )
    photo, depth_file, camera = job.files
    save_copy(photo, source)
    save_npy(depth_file, depth)
    save_npz(camera, camera_pose=job.cam2world, camera_intrinsics=INTRINSICS)


def _poses(path: Path) -> Float[np.ndarray, "frames 7"]:
    try:
        poses = np.array([line.split() for line in load_text_lines(path)], dtype=np.float64)
        if poses.ndim != 2 or poses.shape[1] != 7 or not (np.linalg.norm(poses[:, 3:], axis=1) > 0).all():
            raise ValueError(f"got an array of shape {poses.shape}")
    except ValueError as error:
        raise InputError(f"{path}: expected lines of 7 numbers, tx ty tz qx qy qz qw: {error}") from error
    return poses


def _names(flight: Path) -> list[str]:
    names = (path.name.removesuffix("_left.png") for path in (flight / "image_left").glob("*_left.png"))
    found = sorted(name for name in names if name.isdecimal())
    if not found:
        raise InputError(f"{flight} has no image_left/000000_left.png")
    return found


def _frame(folder: TartanAirFolder, raw: Path, scene: str, name: str, poses: np.ndarray, path: Path) -> Frame:
    if int(name) >= len(poses):
        raise InputError(f"{path} has {len(poses)} lines, none for the image {name}")
    files = folder.files(scene, name)
    return Frame(f"{scene}/{name}", files[2], _Job(raw, name, files, cam2world_of_ned(poses[int(name)])))


prepare = prepare_command(
    "tartanair",
    plan,
    help="TartanAir v1, left images, to the folder of TartanAir.",
    raw="Folder in which the archives image_left and depth_left are unzipped.",
)
