"""As few windows as hold the matches, on a lattice that many partners of one image share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from .selection import MIN_MATCHES, Resolution, WindowPair, as_window, greedy_cover, score_cell
from .windows import make_overlapping_grid, norm_windows

LATTICE_OVERLAP = 0.75
"""Of the windows of image 2: they lie a quarter of a window apart."""

MARGIN = 8
"""Pixels, half a patch: matches that close to a window's border do not count as held."""

HELD_SHARE = 0.9
"""Of the matches that candidates can hold; what the last tenth costs is as much again."""


def cover_windows(
    shape1: tuple[int, int],
    shape2: tuple[int, int],
    p1: Float[np.ndarray, "n 2"],
    p2: Float[np.ndarray, "n 2"],
    *,
    max_size: int = 512,
    forced_resolution: Sequence[Resolution],
) -> Iterator[WindowPair]:
    """Pairs of windows, fullest first, until they hold nine tenths of the matches, or another one holds few.

    `select_windows` wants every match near the middle of some window, which takes about twice as many pairs.
    And its windows of both images are free; here those of image 2 are of a lattice, so that one encoding of
    them does for all images that image 2 is matched with.

    Args:
        shape1: (height, width) of image 1.
        shape2: (height, width) of image 2.
        p1: matches of the whole images in image 1, (x, y).
        p2: the same matches in image 2.
        max_size: long side of the windows of the grids.
        forced_resolution: (height, width) of the windows of image 1, and of those of image 2.

    Raises:
        InputError: an image smaller than a window.
    """
    forced1, forced2 = forced_resolution
    grid1 = norm_windows(make_overlapping_grid(*shape1, max_size, 0.5), *shape1, forced1)
    lattice = norm_windows(make_overlapping_grid(*shape2, max_size, LATTICE_OVERLAP), *shape2, forced2)
    back = score_cell(lattice, *shape1, p2, p1, forced_resolution=forced1)
    there = score_cell(grid1, *shape2, p1, p2, forced_resolution=forced2)
    windows1 = np.concatenate([back.cells2, there.cells1])
    windows2 = np.concatenate([back.cells1, _nearest(lattice, there.cells2)])
    held = _held(windows1, p1, shape1) & _held(windows2, p2, shape2)
    for row in greedy_cover(held.astype(np.float64), HELD_SHARE, MIN_MATCHES):
        yield WindowPair(as_window(windows1[row]), as_window(windows2[row]))


def _nearest(lattice: Int[np.ndarray, "m 4"], windows: Int[np.ndarray, "c 4"]) -> Int[np.ndarray, "c 4"]:
    """The window of the lattice nearest to each; all are of one size."""
    distance = np.square(windows[:, None, :2] - lattice[None, :, :2]).sum(-1)
    return lattice[distance.argmin(1)]


def _held(
    windows: Int[np.ndarray, "c 4"], points: Float[np.ndarray, "n 2"], shape: tuple[int, int]
) -> Bool[np.ndarray, "c n"]:
    """Whether windows hold points, and not at a border, unless it is the image's."""
    height, width = shape
    lowest = np.where(windows[:, :2] > 0, windows[:, :2] + MARGIN, -np.inf)
    beyond = np.array([width, height])
    highest = np.where(windows[:, 2:] < beyond, windows[:, 2:] - MARGIN, np.inf)
    inside = (points[None] >= lowest[:, None]) & (points[None] < highest[:, None])
    return np.logical_and(inside[..., 0], inside[..., 1])
