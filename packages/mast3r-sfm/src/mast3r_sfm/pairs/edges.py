"""Keeping pairs that are close in a sequence, upstream's functions (spec 30 section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from mast3r_model import InputError

Images = TypeVar("Images", bound=tuple[Mapping[str, object], Mapping[str, object]])
Collated = TypeVar("Collated")


def kept_pairs(
    first: Sequence[int], second: Sequence[int], max_distance: int, *, cyclic: bool = False
) -> list[int]:
    """Rows whose two numbers are at most so far apart.

    Args:
        first: number of each pair's first image.
        second: number of each pair's second image.
        max_distance: in images.
        cyclic: the largest number present is followed by 0.
    """
    left, right = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    apart = np.abs(left - right)
    if cyclic and len(left):
        length = 1 + max(left.max(), right.max())
        apart = np.minimum(apart, np.minimum(np.abs(left + length - right), np.abs(left - length - right)))
    return np.flatnonzero(apart <= max_distance).tolist()


def filter_pairs_seq(pairs: Sequence[Images], seq_dis_thr: int, cyclic: bool = False) -> list[Images]:
    """Keep pairs of views whose ``idx`` are at most `seq_dis_thr` apart; upstream's signature."""
    first, second = ([int(cast(int, pair[side]["idx"])) for pair in pairs] for side in (0, 1))
    return [pairs[row] for row in kept_pairs(first, second, seq_dis_thr, cyclic=cyclic)]


def filter_edges_seq(
    view1: Mapping[str, object],
    view2: Mapping[str, object],
    pred1: Mapping[str, object],
    pred2: Mapping[str, object],
    seq_dis_thr: int,
    cyclic: bool = False,
) -> tuple[object, object, object, object]:
    """Keep the rows of what `mast3r_model.inference` returns whose images are close; upstream's signature.

    Args:
        view1: first images, collated: one row per pair; its ``idx`` are the images' numbers.
        view2: second images.
        pred1: their predictions.
        pred2: their predictions.
        seq_dis_thr: largest distance kept, in images.
        cyclic: the largest number present is followed by 0.

    Returns:
        The four, with the kept rows only.

    Raises:
        InputError: something among them has another number of rows.
    """
    first, second = (_numbers(view) for view in (view1, view2))
    if len(first) != len(second):
        raise InputError(f"view1 holds {len(first)} images and view2 {len(second)}: expected as many")
    rows = kept_pairs(first, second, seq_dis_thr, cyclic=cyclic)
    if len(rows) == len(first):
        return view1, view2, pred1, pred2
    selected = tuple(_rows_of(given, rows, len(first)) for given in (view1, view2, pred1, pred2))
    return cast(tuple[object, object, object, object], selected)


def _numbers(view: Mapping[str, object]) -> list[int]:
    return [int(number) for number in cast(Sequence[int], view["idx"])]


def _rows_of(value: Collated, rows: list[int], count: int) -> Collated:
    """Rows of a collated value: of arrays, tensors and lists, and of all that a dictionary holds."""
    if isinstance(value, Mapping):
        return cast(Collated, {key: _rows_of(inner, rows, count) for key, inner in value.items()})
    if not isinstance(value, (Tensor, np.ndarray, list, tuple)):
        return value
    if len(value) != count:
        raise InputError(f"cannot select among {count} pairs: a value holds {len(value)} rows")
    if isinstance(value, Tensor):
        return cast(Collated, value[torch.tensor(rows, dtype=torch.int64, device=value.device)])
    if isinstance(value, np.ndarray):
        return cast(Collated, value[np.array(rows, dtype=np.int64)])
    return cast(Collated, type(value)([value[row] for row in rows]))
