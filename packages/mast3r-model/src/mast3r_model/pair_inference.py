"""The network over a list of image pairs, upstream's signature and result (spec 10 S10.3, S10.4)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mast3r_model.errors import InputError
from mast3r_model.view_dicts import View, view_to_device

StereoModel: TypeAlias = Callable[
    [dict[str, Any], dict[str, Any]], tuple[dict[str, Tensor], dict[str, Tensor]]
]
"""Upstream's contract: (view1, view2) -> (pred1, pred2), dictionaries as in spec 10 S6."""


def inference(
    pairs: Sequence[tuple[View, View]],
    model: StereoModel,
    device: str | torch.device,
    batch_size: int = 8,
    verbose: bool = True,
) -> dict[str, Any]:
    """Run the model over pairs of views.

    The views are not modified. The whole result is kept in CPU memory: some 46 MB for a pair at 384x512
    with 24-D descriptors; to work pair by pair use `model.encode` and `model.decode_pairs`.

    Args:
        pairs: of view dictionaries, as made by `make_pairs(load_images(...))`.
        model: a network, on `device` already.
        device: where it computes.
        batch_size: pairs computed together; only pairs of equal image sizes are.
        verbose: show a progress bar if stderr is a terminal.

    Returns:
        `{"view1", "view2", "pred1", "pred2", "loss"}`, with `loss` None. If all first images have one size
        and all second images have one size, tensors have the pairs as first axis: `img` (P, 3, H, W),
        `true_shape` (P, 2), `pts3d` (P, H, W, 3), ...; else every tensor is a list of P tensors without
        that axis. `idx` and `instance` (and `transform`, if the views have it) are lists of P.

    Raises:
        InputError: no pairs.
    """
    if not pairs:
        raise InputError("inference got no pairs", hint="give at least two images")
    groups = _group_by_shape(pairs)
    uniform = len(groups) == 1
    batches = [group[at : at + batch_size] for group in groups for at in range(0, len(group), batch_size)]
    results = []
    for indices in _progress(batches, verbose):
        batch = _infer_batch([pairs[i] for i in indices], model, torch.device(device))
        results.append(_map_tensors(batch, lambda t: t.cpu()))
    merged: dict[str, Any] = collate_with_cat(results, lists=not uniform)
    if not uniform:
        order = list(itertools.chain.from_iterable(batches))
        merged = _in_order(merged, np.argsort(order).tolist())
    return merged


def collate_with_cat(items: Sequence[Any], lists: bool = False) -> Any:
    """Merge a list of like items into one, recursively by the type of the first (spec 10 S10.3).

    Args:
        items: tuples (transposed), dicts, tensors and arrays (concatenated on axis 0, as tensors), None,
            lists (chained), anything else (kept as a list).
        lists: split tensors and arrays along their first axis into one flat list instead of concatenating.
    """
    first = items[0]
    if isinstance(first, tuple):
        return tuple(collate_with_cat(part, lists) for part in zip(*items, strict=True))
    if isinstance(first, Mapping):
        return {key: collate_with_cat([item[key] for item in items], lists) for key in first}
    if isinstance(first, list):
        return list(itertools.chain.from_iterable(items))
    if first is None:
        return None
    if isinstance(first, np.ndarray):
        items = [torch.from_numpy(np.array(item)) for item in items]
    if isinstance(items[0], Tensor):
        return [row for item in items for row in item] if lists else torch.cat(list(items))
    return list(items)


def _infer_batch(pairs: list[tuple[View, View]], model: StereoModel, device: torch.device) -> dict[str, Any]:
    view1, view2 = (view_to_device(view, device) for view in collate_with_cat(pairs))
    with torch.no_grad():
        pred1, pred2 = model(view1, view2)
    return {"view1": view1, "view2": view2, "pred1": pred1, "pred2": pred2, "loss": None}


def _group_by_shape(pairs: Sequence[tuple[View, View]]) -> list[list[int]]:
    """Indices of pairs whose two images have the same sizes, groups in order of first appearance."""
    groups: dict[tuple[torch.Size, torch.Size], list[int]] = {}
    for index, (first, second) in enumerate(pairs):
        groups.setdefault((first["img"].shape[-2:], second["img"].shape[-2:]), []).append(index)
    return list(groups.values())


def _progress(batches: list[list[int]], verbose: bool) -> Iterator[list[int]]:
    console = Console(stderr=True)
    hidden = not (verbose and console.is_terminal)
    yield from track(batches, "network", console=console, transient=True, disable=hidden)


def _map_tensors(tree: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Mapping):
        return {key: _map_tensors(value, function) for key, value in tree.items()}
    return function(tree) if isinstance(tree, Tensor) else tree


def _in_order(tree: Any, order: list[int]) -> Any:
    """Reorder every list in nested dictionaries."""
    if isinstance(tree, Mapping):
        return {key: _in_order(value, order) for key, value in tree.items()}
    return [tree[i] for i in order] if isinstance(tree, list) else tree
