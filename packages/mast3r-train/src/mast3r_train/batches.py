"""From samples to what the model and the criterion get (spec 40 section 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from mast3r_model import InputError

View = Mapping[str, Any]


def collate(samples: Sequence[Sequence[View]]) -> list[dict[str, Any]]:
    """Stack samples, each a list of 2 views, to batched views.

    Arrays, tensors and numbers become tensors with the batch on dimension 0, strings become lists, ``idx``
    becomes a list of 3 tensors. Keys that some sample lacks (extras of one dataset in a sum) are left out.

    Raises:
        InputError: There are no samples, or a key cannot be stacked; the message names it and the shapes.
    """
    if not samples:
        raise InputError("a batch needs at least one sample, got none")
    return [_collate_views(views) for views in zip(*samples, strict=True)]


def symmetrize_batch(view1: View, view2: View) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put each pair into the batch in both orders.

    Args:
        view1: Views ``a`` of the pairs, batched.
        view2: Views ``b``.

    Returns:
        ``[a0, b0, a1, b1, ...]`` and ``[b0, a0, b1, a1, ...]``, key by key.
    """
    return _interleave(view1, view2), _interleave(view2, view1)


def _collate_views(views: Sequence[View]) -> dict[str, Any]:
    batch = {}
    for key in views[0]:
        if not all(key in view for view in views):
            continue
        values = [view[key] for view in views]
        try:
            batch[key] = default_collate(values)
        except (RuntimeError, TypeError) as error:
            shapes = sorted({str(tuple(getattr(v, "shape", ())) or type(v).__name__) for v in values})
            raise InputError(f"view key {key!r} cannot be stacked to a batch: {', '.join(shapes)}") from error
    return batch


def _interleave(first: View, second: View) -> dict[str, Any]:
    return {key: _interleave_values(first[key], second[key]) for key in first if key in second}


def _interleave_values(first: Any, second: Any) -> Any:
    if isinstance(first, Tensor):
        return torch.stack((first, second), dim=1).flatten(0, 1)
    if first and isinstance(first[0], Tensor):  # idx: three tensors, one number of each sample in every one
        return [_interleave_values(a, b) for a, b in zip(first, second, strict=True)]
    return [value for pair in zip(first, second, strict=True) for value in pair]
