"""``mast3r data prepare megadepth``: from the releases to the folder of `MegaDepth` (spec 41 section 3)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from mast3r_train.datasets.files import missing_layout, read_rgb
from mast3r_train.datasets.megadepth import PAIR_FILES, MegaDepthPairs, read_megadepth_pairs
from mast3r_train.errors import SampleError
from mast3r_train.geometry import rescale

from .colmap_text import ColmapCamera, ColmapImage, read_colmap_cameras, read_colmap_images
from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .published_pairs import missing_files, published_list
from .raw_depth import known_depth, read_hdf5_depth
from .saving import save_copy, save_exr, save_jpeg, save_npz

SIZE_WH = (800, 600)
"""To be covered by landscape photos; portrait ones get it turned. Smaller ones stay as they are."""

JPEG_QUALITY = 90

CAMERA_MODEL = "SIMPLE_RADIAL"


@dataclass(frozen=True)
class _Job:
    """One photo: folders of its dense and its sparse model, its name, the files to write without suffix."""

    dense: Path
    sparse: Path
    image: str
    stem: Path


def plan(request: PrepareRequest) -> Preparation:
    """Every photo that the pair list names; the list is copied.

    Raises:
        InputError: the pair list is broken, or the raw folder has none of its scenes.
    """
    path = published_list(request, PAIR_FILES[::-1])
    listed = read_megadepth_pairs(path)
    jobs = list(_jobs(request, listed))
    if not any(job.dense.is_dir() for job in jobs):
        expected = str(jobs[0].dense.relative_to(request.raw)) if jobs else "<scene>/dense<k>"
        hint = (
            "--raw is the folder with <scene>/dense<k> of MegaDepth v1 and <scene>/sparse of its SfM models"
        )
        raise missing_layout("MegaDepth", request.raw, expected, hint)
    names = [job.stem.relative_to(request.out).as_posix() for job in jobs]
    return Preparation(
        frames=[Frame(name, _file(job.stem, ".npz"), job) for name, job in zip(names, jobs, strict=True)],
        make=make,
        finish=lambda: save_copy(request.out / PAIR_FILES[0], path),
        missing=lambda: missing_files(request.out, names, (".jpg", ".exr", ".npz")),
    )


def make(job: _Job) -> None:
    """Make one frame.

    Raises:
        InputError: the scene's sparse model is missing or broken.
        SampleError: a raw file is missing or broken.
    """
    cameras, images = _sparse_model(job.sparse)
    posed = images.get(job.image)
    if posed is None:
        raise SampleError(f"{job.sparse / 'images.txt'} has no {job.image}")
    camera = cameras.get(posed.camera_id)
    if camera is None:
        raise SampleError(f"{job.sparse / 'cameras.txt'} has no camera {posed.camera_id}")
    photo = job.dense / "imgs" / job.image
    image = read_rgb(photo)
    depth = read_hdf5_depth(job.dense / "depths" / f"{Path(job.image).stem}.h5")
    if depth.shape != image.size[::-1]:
        raise SampleError(
            f"{photo} has {image.width}x{image.height} pixels, its depth {depth.shape[1]}x{depth.shape[0]}"
        )
    K = rectified_intrinsics(camera, image.size)
    size_wh = SIZE_WH if image.width >= image.height else SIZE_WH[::-1]
    image, scaled, K = rescale(image, known_depth(depth), K, size_wh, force=False)
    assert scaled is not None
    save_jpeg(_file(job.stem, ".jpg"), image, quality=JPEG_QUALITY)
    save_exr(_file(job.stem, ".exr"), scaled)
    save_npz(_file(job.stem, ".npz"), intrinsics=K, cam2world=np.linalg.inv(posed.world2cam))


def rectified_intrinsics(camera: ColmapCamera, size_wh: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of the undistorted and resized photo, from those of the original.

    Args:
        camera: of the original photo.
        size_wh: (width, height) of the undistorted one.

    Raises:
        SampleError: another camera model than MegaDepth's.
    """
    if camera.model != CAMERA_MODEL:
        raise SampleError(f"expected a camera of the model {CAMERA_MODEL}, got {camera.model}")
    distortion = np.array([*camera.distortion, 0, 0, 0])
    K, _ = cv2.getOptimalNewCameraMatrix(
        camera.matrix, distortion, (camera.width, camera.height), 0, size_wh, centerPrincipalPoint=True
    )
    return np.asarray(K, dtype=np.float64)


@functools.lru_cache(maxsize=1)
def _sparse_model(folder: Path) -> tuple[dict[int, ColmapCamera], dict[str, ColmapImage]]:
    """Cameras by id and images by name; frames come scene by scene, so one model is kept."""
    images = {image.name: image for image in read_colmap_images(folder / "images.txt")}
    return read_colmap_cameras(folder / "cameras.txt"), images


def _jobs(request: PrepareRequest, listed: MegaDepthPairs) -> Iterator[_Job]:
    """One for each photo of a pair, scene by scene."""
    named = np.stack([np.repeat(listed.scene, 2), listed.pairs.ravel()], axis=1)
    for scene, image in np.unique(named, axis=0).tolist():
        folder, _, part = listed.folders[scene].partition("/")
        raw, name = request.raw / folder, listed.images[image]
        stem = request.out / listed.folders[scene] / name
        yield _Job(raw / f"dense{part}", raw / "sparse" / "manhattan" / part, name, stem)


def _file(stem: Path, suffix: str) -> Path:
    """The stem is a name with a suffix of its own."""
    return stem.with_name(stem.name + suffix)


prepare = prepare_command(
    "megadepth",
    plan,
    help="MegaDepth v1 and its SfM models to the folder of MegaDepth.",
    raw="Folder with <scene>/dense<k> of MegaDepth v1 and <scene>/sparse of its SfM models.",
    pairs="The published megadepth_pairs.npz.",
)
