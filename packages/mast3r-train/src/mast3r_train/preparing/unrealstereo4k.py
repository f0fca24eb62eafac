"""``mast3r data prepare unrealstereo4k``: from the release to the loader's folder (spec 41 section 11)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_model.cli import option
from mast3r_train.datasets.files import missing_layout, read_depth_npy, read_rgb
from mast3r_train.datasets.posed_frames import marked_depth, stems
from mast3r_train.datasets.unrealstereo4k import (
    SKY_FROM,
    UNKNOWN_ABOVE,
    UnrealStereo4K,
    UnrealStereo4KFolder,
    right_handed,
)
from mast3r_train.errors import SampleError
from mast3r_train.geometry import rescale

from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .posed_preparation import posed_preparation
from .saving import save_npy, save_npz, save_rgb_png

COVERS_WH = (512, 384)
"""Frames are reduced until they just cover it."""

OUT_OF_DOMAIN = "00008"
"""The release's test scene."""

_REDUCTIONS = (1, 2, 4, 8)
_CENTER_TOLERANCE = 0.1
"""Share of the width by which a principal point may miss the centre."""


@dataclass(frozen=True)
class _Job:
    raw: Path
    camera: int
    name: str
    files: tuple[Path, Path, Path]


def plan(request: PrepareRequest) -> Preparation:
    """Both images of every stereo pair.

    Raises:
        InputError: there is no scene.
    """
    scenes = sorted(path.parent.name for path in request.raw.glob("[0-9]*/Extrinsics0") if path.is_dir())
    if not scenes:
        raise missing_layout(
            "UnrealStereo4K",
            request.raw,
            "00000/Extrinsics0",
            "--raw is the folder in which the scenes are unzipped: 00000/{Image,Disp,Extrinsics}{0,1}",
        )
    folder = UnrealStereo4KFolder(request.out)
    frames = []
    for scene in scenes:
        if scene == OUT_OF_DOMAIN and not request.options.get("out_of_domain"):
            continue
        for camera in (0, 1):
            for name in stems(request.raw / scene / f"Extrinsics{camera}", ".txt"):
                files = folder.files(scene, f"{camera}/{name}")
                job = _Job(request.raw / scene, camera, name, files)
                frames.append(Frame(f"{scene}/{camera}/{name}", files[2], job))
    return posed_preparation("UnrealStereo4K", folder, UnrealStereo4K.pairs_file, frames, make, request)


def make(job: _Job) -> None:
    """Make one frame.

    Raises:
        SampleError: a raw file is missing or broken.
    """
    K, world2cam = _camera(job, job.camera)
    _, other = _camera(job, 1 - job.camera)
    baseline = np.linalg.norm((other @ np.linalg.inv(world2cam))[:3, 3])
    source = _photo(job)
    image = read_rgb(source)
    K = scaled_to_image(K, image.width, source)
    disparity = read_depth_npy(job.raw / f"Disp{job.camera}" / f"{job.name}.npy")
    if disparity.shape != image.size[::-1]:
        raise SampleError(
            f"{source}: the image has {image.width}x{image.height} pixels, the disparity "
            f"{disparity.shape[1]}x{disparity.shape[0]}"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (baseline * K[0, 0] / disparity.astype(np.float64)).astype(np.float32)
    depth = marked_depth(depth, sky_from=SKY_FROM, unknown_above=UNKNOWN_ABOVE, negative=0)
    image, small, K = rescale(image, depth, K, COVERS_WH)
    assert small is not None
    photo, depth_file, camera = job.files
    save_rgb_png(photo, image)
    save_npy(depth_file, small)
    save_npz(camera, intrinsics=K, cam2world=right_handed(np.linalg.inv(world2cam)))


def scaled_to_image(K: Float[np.ndarray, "3 3"], width: int, source: Path) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of the image at hand: the files of reduced releases may hold those of the full size.

    Args:
        K: as stored.
        width: of the image.
        source: of the image, for the error.

    Raises:
        SampleError: the principal point fits no reduction.
    """
    for factor in _REDUCTIONS:
        if abs(K[0, 2] / factor - width / 2) < _CENTER_TOLERANCE * width:
            scaled = K.copy()
            scaled[:2] /= factor
            return scaled
    raise SampleError(
        f"{source} is {width} pixels wide, its intrinsics have the principal point at x={K[0, 2]:g}: "
        "expected the middle of it, or of an image 2, 4 or 8 times as large"
    )


def _photo(job: _Job) -> Path:
    """PNG, or JPEG in the reduced release."""
    folder = job.raw / f"Image{job.camera}"
    for suffix in (".png", ".jpg", ".jpeg"):
        if (folder / f"{job.name}{suffix}").is_file():
            return folder / f"{job.name}{suffix}"
    raise SampleError(f"{folder / job.name}.png does not exist")


def _camera(job: _Job, camera: int) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]:
    """Intrinsics and world2cam; the world is left-handed."""
    path = job.raw / f"Extrinsics{camera}" / f"{job.name}.txt"
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        K = np.array(lines[0], dtype=np.float64).reshape(3, 3)
        world2cam = np.eye(4)
        world2cam[:3] = np.array(lines[1], dtype=np.float64).reshape(3, 4)
    except FileNotFoundError as error:
        raise SampleError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError, IndexError, ValueError) as error:
        raise SampleError(f"{path}: expected a line of 9 and one of 12 numbers: {error}") from error
    return K, world2cam


prepare = prepare_command(
    "unrealstereo4k",
    plan,
    help="UnrealStereo4K, full size or reduced, to the folder of the same name.",
    raw="Folder in which the scenes are unzipped: 00000/{Image,Disp,Extrinsics}{0,1}.",
    options=(
        option(
            "--out-of-domain",
            is_flag=True,
            section="Data",
            help="Also scene 00008, which the release keeps for tests.",
        ),
    ),
)
