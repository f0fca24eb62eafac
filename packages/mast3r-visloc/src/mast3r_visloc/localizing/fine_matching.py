"""A query against map images at the photos' own resolution, window by window (spec 50 A6, B, D3.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from mast3r_match import WindowPair, WorkingPhoto, cover_windows, working_photo
from mast3r_visloc.cameras import Camera, turned
from mast3r_visloc.maps import ImagePoints, NetworkPoints, network_points

from .evidence import ImageEvidence
from .options import LocalizationOptions
from .pair_matching import describe_pairs
from .photos import FileTransform, NetworkPhoto
from .point_matching import match_points
from .window_features import PhotoWindow, WindowEncoder

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
        guides: of them, those that windows are laid about.
    """

    query: FinePhoto
    photo: FinePhoto
    points: ImagePoints
    cam2world: Float[np.ndarray, "4 4"] | None
    coarse: ImageEvidence
    guides: ImageEvidence


@dataclass(frozen=True, eq=False)
class _Task:
    """A pair of windows, and the points that lie in the map image's."""

    image: int
    in_map: PhotoWindow
    in_query: PhotoWindow
    points: NetworkPoints
    rows: Int[np.ndarray, " n"]


def match_windows(
    encoder: WindowEncoder,
    images: Sequence[FineImage],
    options: LocalizationOptions,
) -> list[ImageEvidence]:
    """Match map images again in windows about some of their coarse matches.

    Windows of all images share batches. Pairs go by the query's windows: few have to be remembered at a time.

    Where no photo is larger than what the network saw, or those matches fill no window, the coarse ones stay.

    Args:
        encoder: with the network, and what it has seen of the query.
        images: the map images.
        options: how to match.

    Returns:
        What each image says, in their order.
    """
    tasks = [task for number, image in enumerate(images) for task in _tasks(number, image, options)]
    first_use = {
        window: number for number, window in enumerate(dict.fromkeys(task.in_query for task in tasks))
    }
    tasks.sort(key=lambda task: first_use[task.in_query])
    found: list[list[ImageEvidence]] = [[] for _ in images]
    for start in range(0, len(tasks), options.batch_size):
        batch = tasks[start : start + options.batch_size]
        for task, evidence in zip(batch, _match_batch(encoder, images, batch, options), strict=True):
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
    windows: Iterator[WindowPair] = cover_windows(
        image.photo.working.shape,
        query.working.shape,
        image.photo.transform.points_to_network(image.guides.map_xy),
        query.transform.points_to_network(image.guides.query_xy),
        max_size=min(photo.network_long_side for photo in working),
        forced_resolution=[photo.network_shape for photo in working],
    )
    for pair in windows:
        left, top, right, bottom = pair.window1
        x, y = points.xy.T
        rows = np.flatnonzero((x >= left) & (x <= right - 1) & (y >= top) & (y <= bottom - 1))
        if len(rows):
            in_map, in_query = PhotoWindow(working[0], pair.window1), PhotoWindow(working[1], pair.window2)
            yield _Task(number, in_map, in_query, points, rows)


@torch.no_grad()
def _match_batch(
    encoder: WindowEncoder,
    images: Sequence[FineImage],
    tasks: Sequence[_Task],
    options: LocalizationOptions,
) -> Iterator[ImageEvidence]:
    """What each pair of windows says."""
    windows = encoder.encode([task.in_query for task in tasks], [task.in_map for task in tasks])
    row_of = {window: row for row, window in enumerate(windows)}
    features = [encoded.features for encoded in windows.values()]
    pairs = [(row_of[task.in_query], row_of[task.in_map]) for task in tasks]
    described = describe_pairs(encoder.model, features, pairs, options.batch_size)
    for task, (seen, known) in zip(tasks, described, strict=True):
        query_crop, map_crop = windows[task.in_query].crop, windows[task.in_map].crop
        inside, rows = _inside(map_crop.from_working(task.points.xy[task.rows]), known.shape)
        rows = task.rows[rows]
        matched = match_points(
            seen, known, inside, pixel_tolerance=options.pixel_tolerance, subpixel=options.subpixel
        )
        query = images[task.image].query
        working_xy = query_crop.to_working(matched.query_xy)
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
