"""Fewer points that still show everything: of each photo a share, spread over it, the most certain first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from mast3r_model import InputError


def thinned(
    masks: Sequence[Bool[np.ndarray, "h w"]], confidences: Sequence[Float[np.ndarray, "h w"]], count: int
) -> list[Bool[np.ndarray, "h w"]]:
    """Keep at most ``count`` pixels (spec 60 D9).

    Every image keeps the same share of its pixels. In an image the most certain pixel of every square cell is
    taken before the second of any, and of equal ranks the most certain, so that unsure regions get thinner
    and do not vanish.

    Args:
        masks: per image, the pixels to choose from.
        confidences: per image, larger is better.
        count: of all images together, at least 1.

    Returns:
        Masks of the pixels that are kept; the masks given, where there are not more than ``count``.

    Raises:
        InputError: a count below 1.
    """
    if count < 1:
        raise InputError(f"{count} points are asked for", "expected at least 1")
    sizes = np.array([int(mask.sum()) for mask in masks])
    total = int(sizes.sum())
    if total <= count:
        return list(masks)
    side = max(2, math.ceil(math.sqrt(total / count)))
    return [
        _best_of(mask, confidence, quota, side)
        for mask, confidence, quota in zip(masks, confidences, _quotas(sizes, count), strict=True)
    ]


def _quotas(sizes: Int[np.ndarray, " n"], count: int) -> list[int]:
    """Shares in proportion that add up to ``count``."""
    ends = np.cumsum(sizes) * count // sizes.sum()
    return [int(quota) for quota in np.diff(ends, prepend=0)]


def _best_of(
    mask: Bool[np.ndarray, "h w"], confidence: Float[np.ndarray, "h w"], quota: int, side: int
) -> Bool[np.ndarray, "h w"]:
    """The ``quota`` pixels of lowest rank in their cells of ``side`` x ``side``, among equals the surest."""
    height, width = mask.shape
    rank = _ranks(np.where(mask, confidence, -np.inf), side)[mask]
    order = np.lexsort((-confidence[mask], rank))
    kept = np.zeros(len(order), bool)
    kept[order[:quota]] = True
    chosen = np.zeros((height, width), bool)
    chosen[mask] = kept
    return chosen


def _ranks(values: Float[np.ndarray, "h w"], side: int) -> Int[np.ndarray, "h w"]:
    """How many pixels of the own cell have a larger value."""
    height, width = values.shape
    rows, columns = -(-height // side), -(-width // side)
    padded = np.full((rows * side, columns * side), -np.inf, np.float32)
    padded[:height, :width] = values
    cells = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side * side)
    ranks = np.empty(cells.shape, np.int32)
    order = np.argsort(-cells, axis=1, kind="stable")
    np.put_along_axis(ranks, order, np.arange(side * side, dtype=np.int32)[None], axis=1)
    whole = ranks.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(padded.shape)
    return whole[:height, :width]
