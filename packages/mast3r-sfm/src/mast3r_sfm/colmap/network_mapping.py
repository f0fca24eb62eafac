"""Matches of the network to placed images by COLMAP's mappers, as a scene needs them (spec 30 section 11).

COLMAP works in NETWORK pixels here: its thresholds are made for keypoints that are exact to a pixel, and so
photos of all sizes count alike. Results are in original pixels, in a world of arbitrary scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pycolmap
from jaxtyping import Float

from mast3r_model import ImageTransform, InputError
from mast3r_sfm.cameras import PosedCameras
from mast3r_sfm.keypoints import PairMatches, keypoint_graph
from mast3r_sfm.known_cameras import KnownCameras, known_intrinsics
from mast3r_sfm.photos import ImageSet, SourceImage
from mast3r_sfm.progress import Progress
from mast3r_sfm.scene import DroppedImage, Tracks

from .cameras import FOCAL_GUESS
from .colors import color_points
from .database import MappingImage, write_database
from .database_mapping import ColmapOptions as ColmapOptions
from .map_process import map_database
from .models import reconstruction_cameras, reconstruction_tracks


@dataclass(frozen=True, eq=False)
class ColmapGroup:
    """One model of COLMAP.

    Attributes:
        numbers: of its images in their set.
        intrinsics: (n, 3, 3) float64, original pixels.
        cam2world: (n, 4, 4) float64; the scale of the world means nothing.
        tracks: points, ``image`` counts in ``numbers``; original pixels.
    """

    numbers: tuple[int, ...]
    intrinsics: Float[np.ndarray, "n 3 3"]
    cam2world: Float[np.ndarray, "n 4 4"]
    tracks: Tracks


@dataclass(frozen=True, eq=False)
class ColmapPlacement:
    """What COLMAP made of a set of images.

    Attributes:
        groups: the largest first; an image is in one of them at most.
        dropped: the images in none.
    """

    groups: tuple[ColmapGroup, ...]
    dropped: tuple[DroppedImage, ...]


def map_with_colmap(
    images: ImageSet,
    matches: PairMatches,
    *,
    known: KnownCameras | None = None,
    shared_intrinsics: bool = False,
    focal_guesses: Sequence[float] | None = None,
    options: ColmapOptions | None = None,
    progress: Progress | None = None,
) -> ColmapPlacement:
    """Find cameras and points by COLMAP.

    Args:
        images: all of them.
        matches: network pixels, by the images' numbers.
        known: intrinsics stay as they are; so do poses (incremental mapper only). Sigmas are not used.
        shared_intrinsics: one camera for all photos, which must be of one size.
        focal_guesses: of every image in network pixels, for those of unknown intrinsics.
        options: how.
        progress: shows bars; with it COLMAP runs in a process of its own, which ends where a bar raises.

    Raises:
        InputError: known cameras that name no image, photos that cannot share a camera, or known poses with
            the global mapper.
        Mast3rError: COLMAP failed.
    """
    options = options or ColmapOptions()
    if shared_intrinsics and len({image.transform for image in images}) > 1:
        raise InputError("photos of different sizes cannot share a camera", "leave --shared-intrinsics away")
    network = _network_images(images, known, focal_guesses)
    graph = keypoint_graph([image.shape for image in images], matches)
    with TemporaryDirectory() as scratch:
        database = Path(scratch) / "database.db"
        write_database(
            database,
            network,
            graph.with_tracks_of(options.min_track),
            shared_camera=shared_intrinsics,
            camera_model="SIMPLE_PINHOLE",
        )
        posed = _posed(images, network, known)
        models = map_database(database, Path(scratch), posed, options, progress=progress)
    return _placement(images, models)


def _network_images(
    images: ImageSet, known: KnownCameras | None, focal_guesses: Sequence[float] | None
) -> list[MappingImage]:
    """Images whose "photo" is the network's input; focal lengths that are likely are better guesses."""
    likely = {} if known is None else known.likely_focals
    exact = known_intrinsics(images, known)
    return [
        MappingImage(
            image.name,
            ImageTransform.identity(image.shape),
            None if K is None else image.transform.intrinsics_to_network(K),
            _focal_guess(
                image, likely.get(image.name), None if focal_guesses is None else focal_guesses[number]
            ),
        )
        for number, (image, K) in enumerate(zip(images, exact, strict=True))
    ]


def _focal_guess(image: SourceImage, likely: float | None, guess: float | None) -> float | None:
    """In network pixels, from a likely focal length in the photo's."""
    if likely is None:
        return None if guess is None else float(guess)
    scale = image.transform.network_from_original
    return likely * float(np.sqrt(scale[0, 0] * scale[1, 1]))


def _posed(
    images: ImageSet, network: Sequence[MappingImage], known: KnownCameras | None
) -> PosedCameras | None:
    """The images of known pose, in network pixels."""
    if known is None or known.poses is None:
        return None
    found = {number: row for number, row in enumerate(known.poses.find(images.names)) if row is not None}
    if not found:
        raise InputError(f"the known poses name none of the {len(images)} photos")
    return PosedCameras(
        tuple(images[number].name for number in found),
        tuple(images[number].shape for number in found),
        np.array([_intrinsics_or_guess(network[number]) for number in found]),
        known.poses.cam2world[list(found.values())],
    )


def _intrinsics_or_guess(image: MappingImage) -> Float[np.ndarray, "3 3"]:
    if image.intrinsics is not None:
        return image.intrinsics
    height, width = image.transform.original_shape
    focal = image.focal_guess or FOCAL_GUESS * max(height, width)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def _placement(images: ImageSet, models: Sequence[pycolmap.Reconstruction]) -> ColmapPlacement:
    free = np.ones(len(images), bool)
    groups = []
    for model in models:
        group = _group(images, model, free)
        if group is not None:
            groups.append(group)
            free[list(group.numbers)] = False
    dropped = tuple(
        DroppedImage(image.name, "COLMAP could not place it")
        for image, left in zip(images, free, strict=True)
        if left
    )
    return ColmapPlacement(tuple(groups), dropped)


def _group(images: ImageSet, model: pycolmap.Reconstruction, free: np.ndarray) -> ColmapGroup | None:
    """The images of a model that are in no larger one, if two or more."""
    cameras = reconstruction_cameras(model)
    place = {name: row for row, name in enumerate(cameras.names)}
    numbers = [number for number, name in enumerate(images.names) if name in place and free[number]]
    if len(numbers) < 2:
        return None
    rows = [place[images.names[number]] for number in numbers]
    intrinsics = [
        images[number].transform.intrinsics_to_original(cameras.intrinsics[row])
        for number, row in zip(numbers, rows, strict=True)
    ]
    names = [images.names[number] for number in numbers]
    color_points(model, images, in_network_pixels=True)
    tracks = _in_original_pixels(images, numbers, reconstruction_tracks(model, names))
    return ColmapGroup(tuple(numbers), np.array(intrinsics), cameras.cam2world[rows], tracks)


def _in_original_pixels(images: ImageSet, numbers: Sequence[int], tracks: Tracks) -> Tracks:
    matrices = np.array([images[number].transform.original_from_network for number in numbers])[tracks.image]
    scale = np.sqrt(matrices[:, 0, 0] * matrices[:, 1, 1])
    return replace(
        tracks,
        xy=matrices[:, [0, 1], [0, 1]] * tracks.xy + matrices[:, :2, 2],
        reprojection_error=scale * tracks.reprojection_error,
    )
