"""Sparse points from matches and known cameras: each seen once by every image of its track.

Connected matches alone merge different points as soon as one match is wrong (spec 30 section 11.2 keeps such
tracks). Here a match must first agree with the cameras and with the depth maps; each track is triangulated
robustly; an image keeps its best observation. What one point leaves over may become another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from mast3r_model import InputError

from .keypoints import KeypointGraph, PairMatches, keypoint_graph
from .progress import Progress, shown
from .rays import (
    Observations,
    Views,
    midpoints,
    parallax_angles,
    refined_points,
    reprojection_errors,
    sum_by_track,
)
from .scene import SceneImage, Tracks


@dataclass(frozen=True)
class TrackOptions:
    """How tracks are made.

    Attributes:
        max_error: an observation may lie so far from its projected point, in network pixels.
        max_depth_error: a match may lie so far from where the depth map of one of its images puts it, in
            network pixels; looser, since depth is less certain than cameras.
        min_images: that see a point.
        min_angle: between two of its rays, in degrees.
        rounds: how often what is left over is tried again.
        iterations: of the robust triangulation.
    """

    max_error: float = 3.0
    max_depth_error: float = 20.0
    min_images: int = 2
    min_angle: float = 0.5
    rounds: int = 2
    iterations: int = 8


def tracks_from_matches(
    images: Sequence[SceneImage],
    pairs: PairMatches,
    *,
    options: TrackOptions | None = None,
    progress: Progress | None = None,
) -> Tracks:
    """Make tracks of matches between placed images.

    Args:
        images: with cameras and depth maps.
        pairs: matches in network pixels, by pair of indices into ``images``.
        options: how.
        progress: shows a bar.

    Returns:
        Tracks with triangulated positions, the mean colour of their pixels, and errors in original pixels.

    Raises:
        InputError: a pair names an image that is not there.
    """
    options = options or TrackOptions()
    graph = keypoint_graph([image.transform.network_shape for image in images], pairs)
    if options.min_images < 2:
        raise InputError(f"a track needs at least 2 images, got min_images={options.min_images}")
    views = Views.of(images)
    guesses, depth_known, color = _lifted(images, graph)
    agrees = _matches_that_agree(graph, views, guesses, depth_known, options)
    graph = graph.subset(np.ones(len(graph), bool), agrees)
    free = np.ones(len(graph), bool)
    parts: list[tuple[Float[np.ndarray, "t 3"], Observations]] = []
    with shown(progress, "making tracks", options.rounds) as advance:
        for _ in range(options.rounds):
            points, found = _one_round(graph, free, views, guesses, depth_known, options)
            advance(1)
            if not len(points):
                break
            parts.append((points, found))
            free[found.keypoint] = False
    return _finished(images, parts, views, color)


def _lifted(
    images: Sequence[SceneImage], graph: KeypointGraph
) -> tuple[Float[np.ndarray, "k 3"], Bool[np.ndarray, " k"], np.ndarray]:
    """Where the depth maps put every keypoint, whether they say so at all, and its colour."""
    points = np.zeros((len(graph), 3))
    known = np.zeros(len(graph), bool)
    color = np.zeros((len(graph), 3), np.uint8)
    offsets = graph.offsets
    for index, image in enumerate(images):
        own = slice(offsets[index], offsets[index + 1])
        pixel = graph.pixel[own]
        points[own] = image.pts3d().reshape(-1, 3)[pixel]
        known[own] = image.depth.reshape(-1)[pixel] > 0
        color[own] = image.color.reshape(-1, 3)[pixel]
    known &= np.isfinite(points).all(1)
    points[~known] = 0
    return points, known, color


def _matches_that_agree(
    graph: KeypointGraph,
    views: Views,
    guesses: Float[np.ndarray, "k 3"],
    known: Bool[np.ndarray, " k"],
    options: TrackOptions,
) -> Bool[np.ndarray, " m"]:
    """Matches of one group of images that fit the cameras, and at least one of the two depth maps."""
    xy = graph.xy.astype(np.float64)
    first, second = graph.matches[:, 0], graph.matches[:, 1]
    image0, image1 = graph.image[first], graph.image[second]
    fits_depth = ~known[first] & ~known[second]
    for near, far, image in ((first, second, image1), (second, first, image0)):
        projected, depth = views.project(image, guesses[near])
        close = np.linalg.norm(projected - xy[far], axis=1) <= options.max_depth_error
        fits_depth |= known[near] & (depth > 0) & close
    same = views.component[image0] == views.component[image1]
    return same & fits_depth & (_epipolar_error(graph, views, xy) <= options.max_error)


def _epipolar_error(
    graph: KeypointGraph, views: Views, xy: Float[np.ndarray, "k 2"]
) -> Float[np.ndarray, " m"]:
    """Sampson's distance of matches to the epipolar geometry of the known cameras, in network pixels."""
    P0, P1 = views.projections[graph.pairs[:, 0]], views.projections[graph.pairs[:, 1]]
    centre0 = np.concatenate([views.centres[graph.pairs[:, 0]], np.ones((len(P0), 1))], axis=1)
    e1 = np.einsum("pij,pj->pi", P1, centre0)
    cross = np.zeros((len(P0), 3, 3))
    cross[:, [2, 0, 1], [1, 2, 0]] = e1[:, [0, 1, 2]]
    cross[:, [1, 2, 0], [2, 0, 1]] = -e1[:, [0, 1, 2]]
    F = cross @ P1[:, :, :3] @ np.linalg.inv(P0[:, :, :3])
    errors = np.empty(len(graph.matches))
    bounds = np.searchsorted(graph.pair, np.arange(len(graph.pairs) + 1))
    for number, (start, stop) in enumerate(pairwise(bounds)):
        ends = [np.c_[xy[graph.matches[start:stop, side]], np.ones(stop - start)] for side in (0, 1)]
        lines1, lines0 = ends[0] @ F[number].T, ends[1] @ F[number]
        square = (lines1[:, :2] ** 2).sum(1) + (lines0[:, :2] ** 2).sum(1)
        errors[start:stop] = np.abs((ends[1] * lines1).sum(1)) / np.sqrt(np.maximum(square, 1e-30))
    return errors


def _one_round(
    graph: KeypointGraph,
    free: Bool[np.ndarray, " k"],
    views: Views,
    guesses: Float[np.ndarray, "k 3"],
    known: Bool[np.ndarray, " k"],
    options: TrackOptions,
) -> tuple[Float[np.ndarray, "t 3"], Observations]:
    """Points from the keypoints that no point has yet, and their observations."""
    chosen = np.flatnonzero(free)
    labels = graph.subset(free).tracks()
    observed = Observations(labels, graph.image[chosen], graph.xy[chosen].astype(np.float64), chosen)
    observed, points = _with_enough_images(observed, None, options.min_images)
    if not len(observed.track):
        return np.zeros((0, 3)), observed
    points = _start(observed, views, guesses, known)
    for limit in (4 * options.max_error, options.max_error):
        points = refined_points(points, observed, views, limit, options.iterations)
        error = reprojection_errors(points, observed, views)
        observed = observed.chosen((error <= limit) & _is_best(observed, error))
        observed, points = _with_enough_images(observed, points, options.min_images)
    wide = parallax_angles(points, observed, views) >= options.min_angle
    observed, points = _renumbered(observed.chosen(wide[observed.track]), points)
    return points, observed


def _with_enough_images(
    observed: Observations, points: np.ndarray | None, least: int
) -> tuple[Observations, np.ndarray]:
    """Drop tracks that fewer images see."""
    stride = int(observed.image.max(initial=0)) + 1
    seen = np.unique(observed.track * stride + observed.image) // stride
    counts = np.bincount(seen, minlength=int(observed.track.max(initial=-1)) + 1)
    enough = observed.chosen(counts[observed.track] >= least)
    return _renumbered(enough, np.zeros((len(counts), 3)) if points is None else points)


def _renumbered(observed: Observations, points: np.ndarray) -> tuple[Observations, np.ndarray]:
    used, track = np.unique(observed.track, return_inverse=True)
    return Observations(track, observed.image, observed.xy, observed.keypoint), points[used]


def _start(
    observed: Observations, views: Views, guesses: Float[np.ndarray, "k 3"], known: Bool[np.ndarray, " k"]
) -> Float[np.ndarray, "t 3"]:
    """The lifted point of each track that the track's other observations like best (a robust start)."""
    tracks = int(observed.track.max()) + 1
    weight = known[observed.keypoint].astype(np.float64)
    total = np.maximum(np.bincount(observed.track, weight, tracks), 1e-30)
    lifted = guesses[observed.keypoint]
    mean = np.stack(
        [np.bincount(observed.track, weight * lifted[:, axis], tracks) / total for axis in range(3)], axis=1
    )
    distance = np.where(weight > 0, np.linalg.norm(lifted - mean[observed.track], axis=1), np.inf)
    order = np.lexsort((distance, observed.track))
    first = order[np.searchsorted(observed.track[order], np.arange(tracks))]
    return np.where(np.isfinite(distance[first])[:, None], lifted[first], midpoints(observed, views, tracks))


def _is_best(observed: Observations, error: Float[np.ndarray, " m"]) -> Bool[np.ndarray, " m"]:
    """True for the best observation of every image in every track."""
    order = np.lexsort((error, observed.image, observed.track))
    track, image = observed.track[order], observed.image[order]
    best = np.zeros(len(order), bool)
    best[order] = np.r_[True, (track[1:] != track[:-1]) | (image[1:] != image[:-1])][: len(order)]
    return best


def _finished(
    images: Sequence[SceneImage],
    parts: Sequence[tuple[Float[np.ndarray, "t 3"], Observations]],
    views: Views,
    color: np.ndarray,
) -> Tracks:
    """All rounds' points together, in the photos' pixels."""
    if not parts:
        return Tracks.empty()
    counts = np.cumsum([0, *(len(points) for points, _ in parts)])
    points = np.concatenate([points for points, _ in parts])
    track = np.concatenate([part.track + start for (_, part), start in zip(parts, counts[:-1], strict=True)])
    image, keypoint, xy = (
        np.concatenate([getattr(part, name) for _, part in parts]) for name in ("image", "keypoint", "xy")
    )
    order = np.lexsort((image, track))
    track, image, keypoint, xy = track[order], image[order], keypoint[order], xy[order]
    projected, _ = views.project(image, points[track])
    to_original = np.array([shown.transform.original_from_network for shown in images])[image]
    scale = to_original[:, [0, 1], [0, 1]]
    count = np.bincount(track, minlength=len(points))[:, None]
    return Tracks(
        positions=points,
        colors=np.round(sum_by_track(track, color[keypoint].astype(np.float64), len(points)) / count),
        track=track,
        image=image,
        xy=scale * xy + to_original[:, :2, 2],
        reprojection_error=np.linalg.norm(scale * (projected - xy), axis=1),
    )


def join_tracks(parts: Sequence[tuple[Tracks, Sequence[int]]]) -> Tracks:
    """Tracks of several groups of images as one.

    Args:
        parts: of each group its tracks, and the new number of every image that they count.
    """
    if not parts:
        return Tracks.empty()
    starts = np.cumsum([0, *(len(tracks) for tracks, _ in parts)])
    columns = {
        name: np.concatenate([getattr(tracks, name) for tracks, _ in parts])
        for name in ("positions", "colors", "xy", "reprojection_error")
    }
    return Tracks(
        **columns,
        track=np.concatenate([t.track + start for (t, _), start in zip(parts, starts, strict=False)]),
        image=np.concatenate([np.array(numbers, np.int64)[t.image] for t, numbers in parts]),
    )
