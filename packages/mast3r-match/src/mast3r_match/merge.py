"""Merging lists of correspondences (spec 20 section 4)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Int, Int32

from mast3r_model import InputError

XYOutput = bool | Literal["y_x"]


def unique_pairs(
    idx1: Int[np.ndarray, " n"], idx2: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Sort pairs by (idx1, idx2) and drop repeated ones.

    Args:
        idx1: non-negative indices below 2**31.
        idx2: the same, same length.

    Returns:
        idx1 and idx2 of the unique pairs (int32), and where each came first in the input (int64).
    """
    keys = (idx1.astype(np.int64) << 32) | idx2.astype(np.int64)
    unique, first = np.unique(keys, return_index=True)
    return (unique >> 32).astype(np.int32), (unique & 0xFFFFFFFF).astype(np.int32), first


def flat_to_xy(
    flat: Int[np.ndarray, " n"], shape: tuple[int, int], ret_xy: XYOutput = True
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Flat indices ``x + width * y`` as pixel coordinates.

    Args:
        flat: (n,) flat indices.
        shape: (height, width) of the image.
        ret_xy: True for an int64 array (n, 2) of (x, y), ``"y_x"`` for the tuple (y, x), False for `flat`.
    """
    if ret_xy is False:
        return flat
    y, x = np.divmod(flat.astype(np.int64), shape[1])
    return (y, x) if ret_xy == "y_x" else np.stack([x, y], axis=1)


def merge_corres(
    idx1: Int32[np.ndarray, " n"],
    idx2: Int32[np.ndarray, " n"],
    shape1: tuple[int, int] | None = None,
    shape2: tuple[int, int] | None = None,
    ret_xy: XYOutput = True,
    ret_index: bool = False,
) -> tuple[object, ...]:
    """Unique pairs sorted by image-1 index, then image-2 index, with upstream's signature and return.

    Args:
        idx1: (n,) int32 flat indices in image 1.
        idx2: (n,) int32 flat indices in image 2.
        shape1: (height, width) of image 1, needed unless `ret_xy` is False.
        shape2: (height, width) of image 2, likewise.
        ret_xy: see `flat_to_xy`.
        ret_index: add the int64 position of each pair's first occurrence.

    Returns:
        Image 1's pixels, image 2's pixels, and the positions where asked.

    Raises:
        InputError: arrays of different lengths or not int32, or a shape that is missing.
    """
    idx1, idx2 = np.asarray(idx1), np.asarray(idx2)
    if idx1.shape != idx2.shape or idx1.ndim != 1 or {idx1.dtype, idx2.dtype} != {np.dtype(np.int32)}:
        raise InputError(
            "merge_corres needs two int32 arrays of one length, "
            f"got {idx1.dtype} {idx1.shape} and {idx2.dtype} {idx2.shape}"
        )
    if ret_xy is not False and (shape1 is None or shape2 is None):
        raise InputError("merge_corres needs shape1 and shape2 to return coordinates")
    flat1, flat2, first = unique_pairs(idx1, idx2)
    pixels: tuple[object, ...] = (flat1, flat2)
    if shape1 is not None and shape2 is not None:
        pixels = (flat_to_xy(flat1, shape1, ret_xy), flat_to_xy(flat2, shape2, ret_xy))
    return (*pixels, first) if ret_index else pixels
