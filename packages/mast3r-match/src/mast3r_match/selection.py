"""Which matches to keep: away from the border, and a spread-out choice of the best."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int, Real


def away_from_border(
    xy: Real[np.ndarray, "n 2"], shape: tuple[int, int], border: int
) -> Bool[np.ndarray, " n"]:
    """Whether pixels keep a distance from the border of their image: border <= x < width - border.

    Args:
        xy: (n, 2) pixels (x, y).
        shape: (height, width) of the image.
        border: pixels.
    """
    height, width = shape
    x, y = xy[:, 0], xy[:, 1]
    return (x >= border) & (x < width - border) & (y >= border) & (y < height - border)


def spread_selection(
    xy: Real[np.ndarray, "n 2"], scores: Float[np.ndarray, " n"], count: int
) -> Int[np.ndarray, " kept"]:
    """Choose points of high score that are spread over the image.

    The points' bounding box is cut into about `count` square cells. First the best point of every cell is
    taken, best cells first, then every cell's second, and so on.

    Args:
        xy: (n, 2) points (x, y).
        scores: (n,) the higher the better.
        count: how many to choose.

    Returns:
        Indices of the chosen points, ascending; all of them when there are not more than `count`.
    """
    if len(xy) <= count:
        return np.arange(len(xy))
    low = xy.min(0)
    extent = np.maximum(xy.max(0) - low, 1)
    cell = math.sqrt(extent[0] * extent[1] / count)
    columns = int(extent[0] / cell) + 1
    column, row = np.floor((xy - low) / cell).astype(np.int64).T
    cells = row * columns + column
    best_first = np.lexsort((-scores, cells))
    ordered = cells[best_first]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    rank = np.empty(len(xy), dtype=np.int64)
    rank[best_first] = np.arange(len(xy)) - np.repeat(starts, np.diff(np.r_[starts, len(xy)]))
    return np.sort(np.lexsort((-scores, rank))[:count])
