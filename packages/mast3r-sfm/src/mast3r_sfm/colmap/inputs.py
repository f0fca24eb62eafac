"""What ``mast3r colmap`` is given: photos and what is known about their cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from mast3r_model import InputError
from mast3r_sfm.cameras import PosedCameras
from mast3r_sfm.known_cameras import KnownCameras, check_known, known_intrinsics, read_known_cameras
from mast3r_sfm.photos import ImageSet, open_images
from mast3r_sfm.video import FrameChoice

from .database import MappingImage
from .kapture import PHOTOS_FOLDER, KapturePhoto, is_kapture, read_kapture


@dataclass(frozen=True)
class ColmapRequest:
    """What the user asked for; the fields are the command's flags."""

    photos: Sequence[Path]
    recursive: bool
    strict: bool
    fps: float | None
    max_frames: int
    kapture: Path | None
    shared_camera: bool
    intrinsics: Path | None
    poses: Path | None
    ignore_poses: bool
    graph: str
    pairs_file: Path | None
    size: int
    dense: bool
    pixel_tolerance: float
    min_confidence: float
    verify: bool
    min_track: int
    mapper: Literal["pycolmap", "glomap", "triangulate"] | None
    output: Path
    overwrite: bool


@dataclass(frozen=True, eq=False)
class ColmapInput:
    """Photos, and what is known about their cameras.

    Attributes:
        images: that can be used.
        cameras: the same for COLMAP.
        poses: of those whose pose is known; None if none is.
    """

    images: ImageSet
    cameras: tuple[MappingImage, ...]
    poses: PosedCameras | None

    @property
    def pixel_size(self) -> float:
        """Median width of a network pixel in the photos' pixels, at least 1."""
        matrices = [image.transform.original_from_network for image in self.images]
        return max(1.0, float(np.median([np.sqrt(M[0, 0] * M[1, 1]) for M in matrices])))


def read_input(request: ColmapRequest, patch_size: int) -> ColmapInput:
    """Photos and their cameras.

    Raises:
        InputError: nothing can be used, or what is known does not fit.
    """
    folder = request.kapture
    if folder is None and len(request.photos) == 1 and is_kapture(request.photos[0]):
        folder = request.photos[0]
    if folder is not None:
        return _kapture_input(request, folder, patch_size)
    images = open_images(
        request.photos,
        size=request.size,
        patch_size=patch_size,
        recursive=request.recursive,
        frames=FrameChoice(fps=request.fps, max_count=request.max_frames),
        frames_folder=request.output / "frames",
    )
    _check_dropped(request, images)
    known = _known(request, images)
    cameras = tuple(
        MappingImage(image.name, image.transform, K)
        for image, K in zip(images, known_intrinsics(images, known), strict=True)
    )
    return ColmapInput(images, cameras, _poses_of(images, known))


def _kapture_input(request: ColmapRequest, folder: Path, patch_size: int) -> ColmapInput:
    photos = read_kapture(folder)
    if not photos:
        raise InputError(f"{folder} lists no photos of cameras")
    path_of = {folder / PHOTOS_FOLDER / photo.name: photo for photo in photos}
    opened = open_images(list(path_of), size=request.size, patch_size=patch_size)
    _check_dropped(request, opened)
    images = replace(opened, images=tuple(replace(image, name=path_of[image.path].name) for image in opened))
    used = [path_of[image.path] for image in images]
    known = _known(request, images)
    cameras = tuple(
        MappingImage(
            photo.name,
            image.transform,
            K,
            sensor=photo.sensor,
            calibration=photo.calibration if K is None else None,
        )
        for photo, image, K in zip(used, images, known_intrinsics(images, known), strict=True)
    )
    poses = _poses_of(images, known)
    if poses is None and not request.ignore_poses:
        poses = _kapture_poses(used, images)
    return ColmapInput(images, cameras, poses)


def _check_dropped(request: ColmapRequest, images: ImageSet) -> None:
    if request.strict and images.dropped:
        first = images.dropped[0]
        raise InputError(f"{first.name} cannot be used: {first.reason}", "take it away, or no --strict")


def _kapture_poses(photos: Sequence[KapturePhoto], images: ImageSet) -> PosedCameras | None:
    posed = [(photo.cam2world, number) for number, photo in enumerate(photos) if photo.cam2world is not None]
    if not posed:
        return None
    return PosedCameras(
        tuple(images.names[number] for _, number in posed),
        tuple(images[number].transform.original_shape for _, number in posed),
        np.full((len(posed), 3, 3), np.nan),
        np.array([pose for pose, _ in posed]),
    )


def _known(request: ColmapRequest, images: ImageSet) -> KnownCameras | None:
    """What --intrinsics and --poses say; a model with poses has intrinsics too."""
    poses = None if request.ignore_poses else request.poses
    known = read_known_cameras(request.intrinsics, poses)
    if known is not None and known.poses is not None and request.intrinsics is None:
        known = replace(known, intrinsics=known.poses if np.isfinite(known.poses.intrinsics).any() else None)
    check_known(images, known)
    return known


def _poses_of(images: ImageSet, known: KnownCameras | None) -> PosedCameras | None:
    """Known poses by the names of the images."""
    if known is None or known.poses is None:
        return None
    rows = zip(images.names, known.poses.find(images.names), strict=True)
    found = {name: row for name, row in rows if row is not None}
    return replace(known.poses.subset(found.values()), names=tuple(found))
