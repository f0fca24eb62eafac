"""Matches of a query with one map image, on the network's pixels, as upstream finds them (spec 50 A5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mast3r_match import nearest_neighbors, reciprocal_nearest_neighbors

from .brute_force import round_trips

COARSE_STEP = 8
"""Pixels between the seeds of the coarse pass."""
COARSE_BORDER = 3
"""Coarse matches closer than this to a border of either input are dropped, in pixels."""


@dataclass(frozen=True, eq=False)
class PixelMatches:
    """Pixels of two network inputs that show the same point, one match per row of every array.

    Attributes:
        query_xy: (n, 2) int64 pixels (x, y) of the query's input.
        map_xy: (n, 2) int64 pixels of the map image's input.
        xyz: (n, 3) float32 in the map's world frame, as the map knows it at `map_xy`.
        confidence: (n,) float32, the lower one of the two sides.
    """

    query_xy: Int[np.ndarray, "n 2"]
    map_xy: Int[np.ndarray, "n 2"]
    xyz: Float[np.ndarray, "n 3"]
    confidence: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of matches."""
        return len(self.query_xy)


@dataclass(frozen=True, eq=False)
class KnownPoints:
    """The 3D points that an image's pixels show.

    Attributes:
        pts3d: (h, w, 3) float32 in the map's world frame; undefined where not `valid`.
        valid: (h, w), where a pixel has a point.
    """

    pts3d: Float[np.ndarray, "h w 3"]
    valid: Bool[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class DescribedImage:
    """What the network says about one image of a pair.

    Attributes:
        descriptors: (h, w, d).
        confidence: (h, w) of the descriptors.
    """

    descriptors: Float[Tensor, "h w d"]
    confidence: Float[Tensor, "h w"]


def match_known_points(
    query: DescribedImage,
    map_image: DescribedImage,
    known: KnownPoints,
    pixel_tol: float,
) -> PixelMatches:
    """From each map pixel with a 3D point to the query and back, once (spec 50 A5, steps 1 to 5).

    Args:
        query: of the query's input.
        map_image: of the map image's input.
        known: of the map image's input.
        pixel_tol: the way back must end strictly closer than this to where it started, in pixels.

    Returns:
        The matches, by map pixel, row by row. The map's side is where the way started.
    """
    starts, reached = round_trips(
        map_image.descriptors, query.descriptors, torch.from_numpy(known.valid), pixel_tol
    )
    map_rows, query_rows = tuple(starts.numpy().T), tuple(reached.numpy().T)
    return PixelMatches(
        np.stack(query_rows[::-1], axis=1),
        np.stack(map_rows[::-1], axis=1),
        known.pts3d[map_rows],
        np.minimum(
            map_image.confidence.detach().cpu().numpy()[map_rows],
            query.confidence.detach().cpu().numpy()[query_rows],
        ),
    )


def match_coarsely(
    query: DescribedImage, map_image: DescribedImage
) -> tuple[Int[np.ndarray, "n 2"], Int[np.ndarray, "n 2"]]:
    """Mutual nearest neighbours from a grid on the map image, away from the borders (spec 50 A6.1).

    Returns:
        (n, 2) int64 pixels (x, y) of the query's input, and of the map image's.
    """
    found = reciprocal_nearest_neighbors(map_image.descriptors, query.descriptors, subsample=COARSE_STEP)
    kept = _away_from_border(found.xy0, map_image.confidence.shape) & _away_from_border(
        found.xy1, query.confidence.shape
    )
    return found.xy1[kept], found.xy0[kept]


def _away_from_border(xy: Int[np.ndarray, "n 2"], shape: tuple[int, ...]) -> Bool[np.ndarray, " n"]:
    (x, y), (height, width) = xy.T, shape
    first = COARSE_BORDER
    return (x >= first) & (x < width - first) & (y >= first) & (y < height - first)


def mutual_nearest_points(
    points0: Float[np.ndarray, "n 3"], points1: Float[np.ndarray, "m 3"]
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Points of two sets that are each other's nearest, at any distance (spec 50 A5.1).

    Args:
        points0: (n, 3).
        points1: (m, 3), same frame.

    Returns:
        (k,) indices into `points0`, and into `points1`, ascending in the latter.
    """
    found = nearest_neighbors(
        torch.from_numpy(points1),
        torch.from_numpy(points0),
        metric="l2",
        both_directions=True,
        backend="kdtree",
    )
    assert found.column_index is not None
    nearest0, nearest1 = found.row_index.numpy(), found.column_index.numpy()
    index1 = np.flatnonzero(nearest0 >= 0)
    index1 = index1[nearest1[nearest0[index1]] == index1]
    return nearest0[index1], index1


@dataclass(frozen=True, eq=False)
class PointedImage:
    """Where the network puts one image's pixels.

    Attributes:
        points: (h, w, 3) in the query's camera frame, in the network's scale.
        confidence: (h, w) of the points.
    """

    points: Float[Tensor, "h w 3"]
    confidence: Float[Tensor, "h w"]


def match_predicted_points(
    query: PointedImage,
    map_image: PointedImage,
    known: KnownPoints,
    min_confidence: float,
) -> PixelMatches:
    """Confident pixels whose predicted points are each other's nearest: the DUSt3R script (spec 50 A5.1).

    Args:
        query: of the query's input.
        map_image: of the map image's input.
        known: of the map image's input.
        min_confidence: of both sides.
    """
    query_confidence = query.confidence.detach().cpu().numpy()
    map_confidence = map_image.confidence.detach().cpu().numpy()
    query_pixels = np.nonzero(query_confidence >= min_confidence)
    map_pixels = np.nonzero((map_confidence >= min_confidence) & known.valid)
    query_index, map_index = mutual_nearest_points(
        query.points.detach().cpu().numpy()[query_pixels], map_image.points.detach().cpu().numpy()[map_pixels]
    )
    query_rows, map_rows = (
        (rows[index], columns[index])
        for (rows, columns), index in ((query_pixels, query_index), (map_pixels, map_index))
    )
    return PixelMatches(
        np.stack(query_rows[::-1], axis=1),
        np.stack(map_rows[::-1], axis=1),
        known.pts3d[map_rows],
        np.minimum(query_confidence[query_rows], map_confidence[map_rows]),
    )


def to_original_pixels(
    xy: Int[np.ndarray, "n 2"], to_orig: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "n 2"]:
    """Network pixels in those of the photo (spec 50 A5, step 6).

    Args:
        xy: (n, 2), an integer being a pixel's centre.
        to_orig: 3x3 affine, in the convention where an image spans [0, width] x [0, height].

    Returns:
        (n, 2) float64, an integer being a pixel's centre.
    """
    matrix = np.asarray(to_orig, dtype=np.float64)
    return (np.asarray(xy, dtype=np.float64) + 0.5) @ matrix[:2, :2].T + matrix[:2, 2] - 0.5
