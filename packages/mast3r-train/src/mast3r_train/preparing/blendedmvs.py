"""``mast3r data prepare blendedmvs``: from the releases to the folder of `BlendedMVS` (spec 41 section 2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_train.datasets.blendedmvs import PAIR_FILE, read_blendedmvs_pairs, sequence_name
from mast3r_train.datasets.files import missing_layout, read_rgb
from mast3r_train.errors import SampleError
from mast3r_train.geometry import rescale

from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .published_pairs import missing_files, published_list
from .raw_depth import known_depth, read_pfm
from .saving import save_copy, save_exr, save_jpeg, save_npz

SIZE_WH = (512, 384)
"""Prepared photos."""

JPEG_QUALITY = 80

_SEQUENCE = re.compile(r"[0-9a-f]{24}")
_CAMERA_SUFFIX = "_cam.txt"


@dataclass(frozen=True)
class _Job:
    """One photo: its scene's raw folder, its number as the raw names have it, the files without suffix."""

    raw: Path
    number: str
    stem: Path


def plan(request: PrepareRequest) -> Preparation:
    """Every camera of every scene; the pair list is copied.

    Raises:
        InputError: the pair list is broken, or the raw folder has no scenes.
    """
    pairs = published_list(request, (PAIR_FILE,))
    sequences, images = read_blendedmvs_pairs(pairs)
    frames = list(_frames(request.raw, request.out))
    if not frames:
        hint = "--raw is the folder in which all parts of the low-resolution release are unzipped"
        raise missing_layout("BlendedMVS", request.raw, "<24 hex digits>/cams/00000000_cam.txt", hint)
    return Preparation(
        frames=frames,
        make=make,
        finish=lambda: save_copy(request.out / PAIR_FILE, pairs),
        missing=lambda: missing_files(request.out, _stems(sequences, images), (".jpg", ".exr", ".npz")),
    )


def make(job: _Job) -> None:
    """Make one frame.

    Raises:
        SampleError: a raw file is missing or broken.
    """
    photo = job.raw / "blended_images" / f"{job.number}.jpg"
    K, world2cam = read_camera(job.raw / "cams" / f"{job.number}{_CAMERA_SUFFIX}")
    image = read_rgb(photo)
    depth = read_pfm(job.raw / "rendered_depth_maps" / f"{job.number}.pfm")
    width, height = image.size
    if depth.shape != (height, width) or height * 4 != width * 3:
        raise SampleError(
            f"{photo}: expected photo and depth of one size 4:3, got {width}x{height} and "
            f"{depth.shape[1]}x{depth.shape[0]}"
        )
    image, scaled, K = rescale(image, known_depth(depth), K, SIZE_WH)
    assert scaled is not None
    cam2world = np.linalg.inv(world2cam).astype(np.float32)
    save_jpeg(job.stem.with_suffix(".jpg"), image, quality=JPEG_QUALITY)
    save_exr(job.stem.with_suffix(".exr"), scaled)
    save_npz(
        job.stem.with_suffix(".npz"),
        intrinsics=K.astype(np.float32),
        R_cam2world=cam2world[:3, :3],
        t_cam2world=cam2world[:3, 3],
    )


def read_camera(path: Path) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]:
    """Intrinsics and world-to-camera of a camera file.

    Raises:
        SampleError: missing, or no camera file.
    """
    try:
        words = path.read_text(encoding="utf-8").split()
        start, middle = words.index("extrinsic"), words.index("intrinsic")
        world2cam = np.array(words[start + 1 : start + 17], dtype=np.float64).reshape(4, 4)
        K = np.array(words[middle + 1 : middle + 10], dtype=np.float64).reshape(3, 3)
        np.linalg.inv(world2cam)
    except FileNotFoundError as error:
        raise SampleError(f"{path} does not exist") from error
    except OSError as error:
        raise SampleError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, np.linalg.LinAlgError) as error:
        raise SampleError(f"{path} is no camera file of BlendedMVS: {error}") from error
    return K, world2cam


def _frames(raw: Path, out: Path) -> Iterator[Frame]:
    for scene in sorted(folder for folder in raw.iterdir() if _SEQUENCE.fullmatch(folder.name)):
        for camera in sorted(scene.glob(f"cams/*{_CAMERA_SUFFIX}")):
            number = camera.name.removesuffix(_CAMERA_SUFFIX)
            stem = out / scene.name / number
            yield Frame(f"{scene.name}/{number}", stem.with_suffix(".npz"), _Job(scene, number, stem))


def _stems(sequences: np.ndarray, images: np.ndarray) -> Iterable[str]:
    for (high, low), numbers in zip(sequences.tolist(), images.tolist(), strict=True):
        for number in numbers:
            yield f"{sequence_name(high, low)}/{number:08d}"


prepare = prepare_command(
    "blendedmvs",
    plan,
    help="BlendedMVS, + and ++, low resolution, to the folder of BlendedMVS.",
    raw="Folder in which all parts of the low-resolution release are unzipped.",
    pairs="The published blendedmvs_pairs.npy.",
)
