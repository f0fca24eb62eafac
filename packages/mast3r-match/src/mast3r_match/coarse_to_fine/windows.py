"""Windows over an image: regular grids, and windows brought to a size that the network takes.

A window is (left, top, right, bottom) in pixels, half-open: left <= x < right (spec 20 sections 7.1 to 7.3).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from mast3r_model import InputError

FREE_ASPECT = 3.01 / 4
"""Short over long side of windows of free shape; a little above 3/4, so that 512 gives 385, not 383."""


def start_pos(total: int, win: int, overlap: float) -> list[int]:
    """Starts of windows that cover a length, the first at 0, the last one ending at `total`.

    Args:
        total: length to cover.
        win: length of a window, at most `total`.
        overlap: least share of a window that its neighbour covers too, 0 <= overlap < 1.

    Raises:
        InputError: a window longer than the length, or an overlap outside its range.
    """
    if total < win or not 0 <= overlap < 1:
        raise InputError(f"windows of {win} with overlap {overlap} do not fit into {total} pixels")
    last = total - win
    count = 2 + int((last - 1) // (win * (1 - overlap)))
    return [int(start) for start in np.round(np.linspace(0, last, count))]


def make_overlapping_grid(H: int, W: int, size: int, overlap: float) -> Int[np.ndarray, "n 4"]:
    """Windows of the image's own aspect, long side `size`, sides multiples of 16, row by row.

    Args:
        H: height of the image.
        W: width of the image.
        size: long side of the windows; the image's must not be shorter.
        overlap: least overlap of neighbours.

    Raises:
        InputError: the image is smaller than a window.
    """
    window_height = 16 * ((H * size // max(H, W)) // 16)
    window_width = 16 * ((W * size // max(H, W)) // 16)
    if min(window_height, window_width) < 1:
        raise InputError(f"an image of {W}x{H} pixels is too elongated for windows of {size}")
    lefts, tops = start_pos(W, window_width, overlap), start_pos(H, window_height, overlap)
    return np.array([[left, top, left + window_width, top + window_height] for top in tops for left in lefts])


def norm_windows(
    cells: Float[np.ndarray, "n 4"],
    H2: int,
    W2: int,
    forced_resolution: tuple[int, int] | None = None,
) -> Int[np.ndarray, "n 4"]:
    """Bring windows to integer corners, into the image, and to one size or aspect, about their centres.

    Args:
        cells: windows, also with fractions or beyond the image.
        H2: height of the image.
        W2: width of the image.
        forced_resolution: (height, width) of every window; None keeps each one's longer side and sets the
            other to three quarters of it, as far as the image allows.

    Raises:
        InputError: a forced size larger than the image.
    """
    left, top, right, bottom = np.asarray(cells, dtype=np.float64).reshape(-1, 4).T.copy()
    width, height = right - left, bottom - top
    if forced_resolution is None:
        new_width, new_height = np.minimum(width, W2), np.minimum(height, H2)
        portrait = width < height
        new_width, new_height = (
            np.where(portrait, np.minimum(new_height * FREE_ASPECT, W2), new_width),
            np.where(portrait, new_height, np.minimum(new_width * FREE_ASPECT, H2)),
        )
    else:
        new_height, new_width = (np.full_like(width, side) for side in forced_resolution)
    if (new_width.astype(int) > W2).any() or (new_height.astype(int) > H2).any():
        raise InputError(f"windows of {forced_resolution} (height, width) do not fit into {(H2, W2)}")
    left, right = _resized_interval(left, right, new_width, W2)
    top, bottom = _resized_interval(top, bottom, new_height, H2)
    return np.stack([left, top, right, bottom], axis=1)


def _resized_interval(
    start: np.ndarray, stop: np.ndarray, length: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Integer intervals of the given lengths about the same centres, shifted into [0, limit)."""
    half_change = (stop - start - length) / 2
    whole_length = length.astype(int)
    stops = np.floor(stop - half_change).astype(int)
    starts = stops - whole_length  # of the two floored ends it is the start that gives way
    starts = np.maximum(starts, 0)
    starts = np.minimum(starts, limit - whole_length)
    return starts, starts + whole_length
