"""A query against map images at the photos' own resolution, window by window (spec 50 A6, B, D3.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from mast3r_match import WindowPair, WorkingPhoto, cut_window, select_windows, working_photo
from mast3r_model import EncodedImage
from mast3r_visloc.cameras import Camera, turned
from mast3r_visloc.maps import ImagePoints, NetworkPoints, network_points

from .evidence import ImageEvidence
from .options import LocalizationOptions
from .pair_matching import describe_pairs
from .photos import FileTransform, NetworkPhoto
from .point_matching import match_points

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo


LARGEST_GAP = 2.0
"""By how much more one photo of a pair may be enlarged, over what the network saw of it, than the other.

A phone's photo at 8 times and a small map photo at 1.2 times would show the place at scales that differ by a
factor of 7 even where the network saw both alike.
"""


@dataclass(frozen=True, eq=False)
class FinePhoto:
    """A photo that windows are cut from.

    Attributes:
        working: the upright photo at the size it is cut at.
        transform: between the file's pixels and those of `working`, its "network".
    """

    working: WorkingPhoto
    transform: FileTransform

    @classmethod
    def of(
        cls,
        photo: NetworkPhoto,
        camera: Camera | None,
        options: LocalizationOptions,
        *,
        most: float | None = None,
    ) -> FinePhoto:
        """Bring a photo to the size that windows are cut at.

        Args:
            photo: as it was read.
            camera: in the file's pixels, for turning windows to the front; None for plain windows.
            options: how.
            most: largest `enlargement`; None for any.
        """
        turns = photo.transform.quarter_turns
        intrinsics = None
        if options.homography and camera is not None and turns is not None:
            intrinsics = turned(camera, turns).intrinsics
        working = working_photo(photo.loaded, max_size=options.max_image_size, intrinsics=intrinsics)
        if most is not None and max(working.shape) > most * working.network_long_side:
            limit = round(most * working.network_long_side)
            working = working_photo(photo.loaded, max_size=limit, intrinsics=intrinsics)
        transform = FileTransform(
            photo.transform.original_shape, photo.transform.upright_from_file, working.transform
        )
        return cls(working, transform)

    @property
    def enlargement(self) -> float:
        """How much larger it is than what the network saw as a whole."""
        return max(self.working.shape) / self.working.network_long_side


@dataclass(frozen=True, eq=False)
class FineImage:
    """A map image that is to be matched again.

    Attributes:
        query: the query, at the size at which its windows are matched with this image's.
        photo: it.
        points: what it sees, in the file's pixels.
        cam2world: 4x4, where it was taken; None if unknown.
        coarse: its matches at the network's resolution.
    """

    query: FinePhoto
    photo: FinePhoto
    points: ImagePoints
    cam2world: Float[np.ndarray, "4 4"] | None
    coarse: ImageEvidence


@dataclass(frozen=True, eq=False)
class _Task:
    """A pair of windows, and the points that lie in the map image's."""

    image: int
    windows: WindowPair
    points: NetworkPoints
    rows: Int[np.ndarray, " n"]


def match_windows(
    model: AsymmetricCroCo3DStereo,
    images: Sequence[FineImage],
    options: LocalizationOptions,
) -> list[ImageEvidence]:
    """Match map images again in windows about their coarse matches; windows of all images share batches.

    Where no photo is larger than what the network saw, or the coarse matches fill no window, they stay.

    Args:
        model: the network.
        images: the map images.
        options: how to match.

    Returns:
        What each image says, in their order.
    """
    tasks = [task for number, image in enumerate(images) for task in _tasks(number, image, options)]
    found: list[list[ImageEvidence]] = [[] for _ in images]
    for start in range(0, len(tasks), options.batch_size):
        batch = tasks[start : start + options.batch_size]
        for task, evidence in zip(batch, _match_batch(model, images, batch, options), strict=True):
            found[task.image].append(evidence)
    return [
        _joined(parts).best_of_each_point() if parts else image.coarse
        for parts, image in zip(found, images, strict=True)
    ]


def _tasks(number: int, image: FineImage, options: LocalizationOptions) -> Iterator[_Task]:
    """The pairs of windows of one map image that hold known points."""
    query = image.query
    working = (image.photo.working, query.working)
    if all(photo.network_sees_it_all for photo in working):
        return
    points = network_points(
        image.points, image.photo.transform, stride=options.map_stride, cam2world=image.cam2world
    ).spread(options.points_per_image)
    windows = select_windows(
        image.photo.working.shape,
        query.working.shape,
        image.photo.transform.points_to_network(image.coarse.map_xy),
        query.transform.points_to_network(image.coarse.query_xy),
        max_size=min(photo.network_long_side for photo in working),
        forced_resolution=[photo.network_shape for photo in working],
    )
    for pair in windows:
        left, top, right, bottom = pair.window1
        x, y = points.xy.T
        rows = np.flatnonzero((x >= left) & (x <= right - 1) & (y >= top) & (y <= bottom - 1))
        if len(rows):
            yield _Task(number, pair, points, rows)


@torch.no_grad()
def _match_batch(
    model: AsymmetricCroCo3DStereo,
    images: Sequence[FineImage],
    tasks: Sequence[_Task],
    options: LocalizationOptions,
) -> Iterator[ImageEvidence]:
    """What each pair of windows says; a window that is in several pairs is encoded once."""
    queries = [(images[task.image].query.working, task.windows.window2) for task in tasks]
    known_images = [(images[task.image].photo.working, task.windows.window1) for task in tasks]
    row_of = {key: row for row, key in enumerate(dict.fromkeys(queries + known_images))}
    crops = [cut_window(photo, window) for photo, window in row_of]
    features: list[EncodedImage] = model.encode(
        [crop.tensor for crop in crops], batch_size=options.batch_size
    )
    pairs = [(row_of[seen], row_of[known]) for seen, known in zip(queries, known_images, strict=True)]
    described = describe_pairs(model, features, pairs, options.batch_size)
    for task, (seen_row, known_row), (seen, known) in zip(tasks, pairs, described, strict=True):
        inside, rows = _inside(crops[known_row].from_working(task.points.xy[task.rows]), known.shape)
        rows = task.rows[rows]
        matched = match_points(
            seen, known, inside, pixel_tolerance=options.pixel_tolerance, subpixel=options.subpixel
        )
        query = images[task.image].query
        working_xy = crops[seen_row].to_working(matched.query_xy)
        rows = rows[matched.rows]
        evidence = ImageEvidence(
            query_xy=query.transform.points_to_original(working_xy),
            map_xy=images[task.image].photo.transform.points_to_original(task.points.xy[rows]),
            xyz=task.points.xyz[rows],
            confidence=matched.confidence,
            point_ids=task.points.point_ids[rows],
        )
        yield evidence.select(_kept(evidence, query, options.min_confidence))


def _inside(
    xy: Float[np.ndarray, "n 2"], shape: tuple[int, int]
) -> tuple[Float[np.ndarray, "m 2"], Int[np.ndarray, " m"]]:
    """The points on an image, and which they are: a rectified window does not show all of the plain one."""
    height, width = shape
    rows = np.flatnonzero(((xy >= 0) & (xy <= np.array([width - 1, height - 1]))).all(axis=1))
    return xy[rows], rows


def _kept(evidence: ImageEvidence, query: FinePhoto, min_confidence: float) -> np.ndarray:
    """Confident matches on the photo: a rectified window may look beyond it."""
    height, width = query.transform.original_shape
    x, y = evidence.query_xy.T
    on_it = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return on_it & (evidence.confidence >= min_confidence)


def _joined(parts: Sequence[ImageEvidence]) -> ImageEvidence:
    return ImageEvidence(
        np.concatenate([part.query_xy for part in parts]),
        np.concatenate([part.map_xy for part in parts]),
        np.concatenate([part.xyz for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.point_ids for part in parts]),
    )
