"""Upstream's ``make_pairs`` (spec 30 section 2.1)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from .edges import filter_pairs_seq
from .selection import both_ways, graph_pairs, parse_prefilter

_LOGGER = logging.getLogger(__name__)

View = TypeVar("View", bound=Mapping[str, Any])


def make_pairs(
    imgs: Sequence[View],
    scene_graph: str = "complete",
    prefilter: str | None = None,
    symmetrize: bool = True,
    sim_mat: np.ndarray | Tensor | None = None,
) -> list[tuple[View, View]]:
    """Pairs of views, by a scene graph; upstream's signature.

    Unlike upstream: an image is never paired with itself, no pair comes twice, ``retrieval`` starts at the
    medoid and does not count an image as its own neighbour, and an unknown graph is an error. See
    `graph_pairs` for indices, and `retrieval_pairs` for upstream's own retrieval.

    Args:
        imgs: views as `mast3r_model.load_images` returns them.
        scene_graph: see `graph_pairs`.
        prefilter: ``"seqD"`` or ``"cycD"``, on the views' ``idx``; anything else is ignored, with a warning.
        symmetrize: append all pairs turned round, after the whole list.
        sim_mat: (n, n) how alike the images are, for ``retrieval``.

    Returns:
        Pairs of the given views (not copied).

    Raises:
        InputError: an unknown graph, or no `sim_mat` where it needs one.
    """
    similarity = sim_mat.detach().cpu().numpy() if isinstance(sim_mat, Tensor) else sim_mat
    indices = graph_pairs(scene_graph, len(imgs), similarity=similarity)
    if symmetrize:
        indices = both_ways(indices)
    pairs = [(imgs[first], imgs[second]) for first, second in indices]
    if prefilter is None:
        return pairs
    parsed = parse_prefilter(prefilter)
    if parsed is None:
        _LOGGER.warning("ignored the unknown prefilter %r: expected seqD or cycD", prefilter)
        return pairs
    distance, cyclic = parsed
    return filter_pairs_seq(pairs, distance, cyclic)
