"""Which windows of two images to match again, from the matches of the whole images (spec 20 S7.4, S7.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .windows import make_overlapping_grid, norm_windows

MIN_MATCHES = 10
COVERED_SHARE = 0.9
LEAST_SPREAD = 20.0
"""Pixels: spreads of matches below this are taken as this."""

Resolution = tuple[int, int]


@dataclass(frozen=True)
class WindowPair:
    """A window of image 1 and the window of image 2 that shows the same, (left, top, right, bottom)."""

    window1: tuple[int, int, int, int]
    window2: tuple[int, int, int, int]


@dataclass(frozen=True)
class ScoredWindows:
    """Windows of one image, their partners in the other, and what each pair of windows sees.

    Attributes:
        cells1: (c, 4) windows that hold enough matches.
        cells2: (c, 4) partners.
        weights: (c, n) how well every match lies in the middle of both windows, 0 to 1.
    """

    cells1: Int[np.ndarray, "c 4"]
    cells2: Int[np.ndarray, "c 4"]
    weights: Float[np.ndarray, "c n"]


def score_cell(
    cells1: Int[np.ndarray, "c 4"],
    H2: int,
    W2: int,
    p1: Float[np.ndarray, "n 2"],
    p2: Float[np.ndarray, "n 2"],
    min_corres: int = MIN_MATCHES,
    forced_resolution: Resolution | None = None,
) -> ScoredWindows:
    """Find the partner window of each window of image 1.

    The partner is centred on the matches' mean in image 2 and scaled by how much wider they spread there.

    Args:
        cells1: windows of image 1.
        H2: height of image 2.
        W2: width of image 2.
        p1: matches in image 1, (x, y).
        p2: the same matches in image 2.
        min_corres: windows with fewer matches are dropped.
        forced_resolution: (height, width) of the partners.
    """
    p1, p2 = np.asarray(p1, dtype=np.float64), np.asarray(p2, dtype=np.float64)
    x, y = p1.T[:, None]
    left, top, right, bottom = np.asarray(cells1).T[..., None]
    assigned = (left <= x) & (x < right) & (top <= y) & (y < bottom)
    kept = assigned.sum(1) >= min_corres
    cells1, assigned = np.asarray(cells1)[kept], assigned[kept]
    if not len(cells1):
        empty = np.empty((0, 4), dtype=int)
        return ScoredWindows(empty, empty, np.empty((0, len(p1))))
    partners = np.array(
        [_partner(cell, p1[mask], p2[mask]) for cell, mask in zip(cells1, assigned, strict=True)]
    )
    cells2 = norm_windows(partners, H2, W2, forced_resolution)
    weights = np.where(assigned, _centrality(cells1, p1) * _centrality(cells2, p2), 0.0)
    return ScoredWindows(cells1, cells2, weights)


def _partner(
    cell: Int[np.ndarray, " 4"], p1: Float[np.ndarray, "n 2"], p2: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, " 4"]:
    size = (cell[2:] - cell[:2]) * _spread(p2) / _spread(p1)
    center = p2.mean(0)
    return np.concatenate([center - size / 2, center + size / 2])


def _spread(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " 2"]:
    """Distance between the 10 % and 90 % quantiles along each axis (float32, as upstream)."""
    low, high = np.quantile(points.astype(np.float32), np.array([0.1, 0.9], dtype=np.float32), axis=0)
    return np.maximum(high - low, LEAST_SPREAD)


def _centrality(cells: Int[np.ndarray, "c 4"], points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "c n"]:
    center = (cells[:, :2] + cells[:, 2:]) / 2
    size = cells[:, 2:] - cells[:, :2]
    offset = (center[:, None] - points[None]) / size[:, None]
    return np.exp(-2 * np.square(offset).sum(-1))


def select_windows(
    shape1: tuple[int, int],
    shape2: tuple[int, int],
    p1: Float[np.ndarray, "n 2"],
    p2: Float[np.ndarray, "n 2"],
    *,
    max_size: int = 512,
    overlap: float = 0.5,
    forced_resolution: Resolution | Sequence[Resolution] | None = None,
) -> Iterator[WindowPair]:
    """Pairs of windows, best first, until they cover nine tenths of what all candidates see of the matches.

    Args:
        shape1: (height, width) of image 1.
        shape2: (height, width) of image 2.
        p1: matches of the whole images in image 1, (x, y).
        p2: the same matches in image 2.
        max_size: long side of the windows of the grids.
        overlap: least overlap of the grids' windows.
        forced_resolution: (height, width) of all windows, or one for each image; None leaves them free.

    Raises:
        InputError: an image smaller than a window.
    """
    forced1, forced2 = _per_image(forced_resolution)
    grid1 = norm_windows(make_overlapping_grid(*shape1, max_size, overlap), *shape1, forced1)
    grid2 = norm_windows(make_overlapping_grid(*shape2, max_size, overlap), *shape2, forced2)
    there = score_cell(grid1, *shape2, p1, p2, forced_resolution=forced2)
    back = score_cell(grid2, *shape1, p2, p1, forced_resolution=forced1)
    windows1 = np.concatenate([there.cells1, back.cells2])
    windows2 = np.concatenate([there.cells2, back.cells1])
    for row in greedy_cover(np.concatenate([there.weights, back.weights])):
        yield WindowPair(as_window(windows1[row]), as_window(windows2[row]))


def greedy_cover(
    weights: Float[np.ndarray, "c n"], share: float = COVERED_SHARE, least: float = 0.0
) -> Iterator[int]:
    """Rows by how much each adds to the rows before it, until enough of the best possible is covered.

    What a row covers of a column counts only as far as it exceeds what was counted before (spec 50 A6.3.5).

    Args:
        weights: (c, n) not negative, what each of c candidates covers of each of n columns.
        share: enough, of the sum over the columns of the largest weight; from 0 to 1.
        least: that a row must add, or the rest is left uncovered.

    Yields:
        Numbers of rows, the one that adds most first; of equal ones the first.
    """
    if not len(weights):
        return
    target = share * weights.max(0).sum()
    covered = 0.0
    left = weights.copy()
    while covered < target:
        sums = left.sum(1)
        row = int(sums.argmax())
        # Where all is covered, the sum may still miss the target by its rounding.
        if sums[row] <= 0 or sums[row] < least:
            return
        covered += float(sums[row])
        yield row
        left = np.maximum(left - left[row], 0)


def as_window(cell: Int[np.ndarray, " 4"]) -> tuple[int, int, int, int]:
    """A row of windows as `WindowPair` has it."""
    left, top, right, bottom = (int(side) for side in cell)
    return left, top, right, bottom


def _per_image(
    forced: Resolution | Sequence[Resolution] | None,
) -> tuple[Resolution | None, Resolution | None]:
    if forced is None:
        return None, None
    first, second = forced
    if isinstance(first, Sequence) and isinstance(second, Sequence):
        return (int(first[0]), int(first[1])), (int(second[0]), int(second[1]))
    both = (int(first), int(second))  # type: ignore[arg-type]
    return both, both


def crop_tag(cell: Sequence[int]) -> str:
    """A window as text, rows first: ``[top:bottom,left:right]``."""
    left, top, right, bottom = cell
    return f"[{top}:{bottom},{left}:{right}]"


def crop_slice(cell: Sequence[int]) -> tuple[slice, slice]:
    """The index of a window in an array (height, width, ...)."""
    left, top, right, bottom = cell
    return slice(top, bottom), slice(left, right)


def select_pairs_of_crops(
    img1: object,
    img2: object,
    p1: Float[np.ndarray, "n 2"],
    p2: Float[np.ndarray, "n 2"],
    maxdim: int = 512,
    overlap: float = 0.5,
    forced_resolution: Resolution | Sequence[Resolution] | None = None,
) -> Iterator[tuple[Int[np.ndarray, " 4"], Int[np.ndarray, " 4"], Callable[[str, str], tuple[str, str]]]]:
    """`select_windows` with upstream's signature; the images are arrays whose shape starts (height, width).

    Yields:
        Window of image 1, window of image 2, and a function that adds the windows to two names. Unlike
        upstream's, that function may be called at any time.
    """
    shape1, shape2 = ((int(image.shape[0]), int(image.shape[1])) for image in (img1, img2))  # type: ignore[attr-defined]
    for pair in select_windows(
        shape1, shape2, p1, p2, max_size=maxdim, overlap=overlap, forced_resolution=forced_resolution
    ):
        yield np.array(pair.window1), np.array(pair.window2), _Tag(pair)


@dataclass(frozen=True)
class _Tag:
    pair: WindowPair

    def __call__(self, name1: str, name2: str) -> tuple[str, str]:
        return name1 + crop_tag(self.pair.window1), name2 + crop_tag(self.pair.window2)
