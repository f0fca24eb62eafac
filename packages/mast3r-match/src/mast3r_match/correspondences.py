"""Correspondences of a pair, as reconstruction and mapping need them (spec 20 section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mast3r_model import InputError

from .merge import unique_pairs
from .nearest import Metric, NeighborTables, nearest_neighbors, neighbor_tables
from .options import MatchOptions
from .reciprocal import GRID_ROUND_TRIPS, grid_seeds, reciprocal_walk


@dataclass(frozen=True)
class DescriptorMaps:
    """Descriptors of both images of a pair from one decoding of it.

    Attributes:
        descriptors0: (h0, w0, dim) of image 0.
        descriptors1: (h1, w1, dim) of image 1.
        confidence0: (h0, w0), above 0.
        confidence1: (h1, w1).
    """

    descriptors0: Float[Tensor, "h0 w0 dim"]
    descriptors1: Float[Tensor, "h1 w1 dim"]
    confidence0: Float[Tensor, "h0 w0"]
    confidence1: Float[Tensor, "h1 w1"]


@dataclass(frozen=True)
class Correspondences:
    """Pairs of matching pixels, each once, sorted by pixel of image 0, then of image 1.

    Attributes:
        xy0: (n, 2) int64 pixels (x, y) of image 0's map.
        xy1: (n, 2) int64 pixels of image 1's map.
        confidence: (n,) float32.
    """

    xy0: Int[Tensor, "n 2"]
    xy1: Int[Tensor, "n 2"]
    confidence: Float[Tensor, " n"]


@dataclass(frozen=True)
class _Walked:
    """Flat pixels and confidences found by the walks of one head pair, not yet merged."""

    pixels0: Int[Tensor, " n"]
    pixels1: Int[Tensor, " n"]
    confidence0: Float[Tensor, " n"]
    confidence1: Float[Tensor, " n"]


def _walk_both_ways(
    maps: DescriptorMaps,
    options: MatchOptions,
    allowed0: Bool[Tensor, "h0 w0"] | None,
    allowed1: Bool[Tensor, "h1 w1"] | None,
) -> _Walked:
    """Grid walks from image 0 and from image 1 over one pair of tables."""
    step = max(options.subsample, 1)
    shape0, shape1 = maps.confidence0.shape, maps.confidence1.shape
    device = maps.descriptors0.device
    seeds0 = grid_seeds((shape0[0], shape0[1]), step, device)
    seeds1 = grid_seeds((shape1[0], shape1[1]), step, device)
    tables = neighbor_tables(
        maps.descriptors0,
        maps.descriptors1,
        seeds=max(len(seeds0), len(seeds1)),
        metric=options.metric,
        allowed1=allowed0,
        allowed2=allowed1,
        precision=options.precision,
        backend=options.backend,
        threads=options.threads,
    )
    pixels0, pixels1 = _both_walks(tables, seeds0, seeds1, options.pixel_tol)
    return _Walked(
        pixels0,
        pixels1,
        maps.confidence0.flatten()[pixels0].float(),
        maps.confidence1.flatten()[pixels1].float(),
    )


def _both_walks(
    tables: NeighborTables, seeds0: Tensor, seeds1: Tensor, pixel_tol: float
) -> tuple[Tensor, Tensor]:
    trips = 1 if pixel_tol > 0 else GRID_ROUND_TRIPS
    there = reciprocal_walk(tables, seeds0, max_round_trips=trips, pixel_tol=pixel_tol)
    back = reciprocal_walk(tables.swapped(), seeds1, max_round_trips=trips, pixel_tol=pixel_tol)
    return torch.cat([there.pixels1, back.pixels2]), torch.cat([there.pixels2, back.pixels1])


def _merge(walked: Sequence[_Walked], widths: tuple[int, int], *, symmetric: bool) -> Correspondences:
    """Merge lists; a pair found twice keeps the confidence of its first occurrence."""
    pixels0 = torch.cat([part.pixels0 for part in walked]).cpu().numpy()
    pixels1 = torch.cat([part.pixels1 for part in walked]).cpu().numpy()
    confidence0 = torch.cat([part.confidence0 for part in walked])
    confidence1 = torch.cat([part.confidence1 for part in walked])
    flat0, flat1, first = unique_pairs(pixels0, pixels1)
    kept = torch.from_numpy(first).to(confidence0.device)
    confidence0, confidence1 = confidence0[kept], confidence1[kept]
    confidence = (confidence0 * confidence1).sqrt() if symmetric else torch.minimum(confidence0, confidence1)
    return Correspondences(_xy(flat0, widths[0], kept), _xy(flat1, widths[1], kept), confidence)


def _xy(flat: Int[np.ndarray, " n"], width: int, like: Tensor) -> Int[Tensor, "n 2"]:
    index = torch.from_numpy(flat.astype(np.int64)).to(like.device)
    return torch.stack([index % width, index // width], dim=1)


@torch.no_grad()
def match_maps(
    maps: DescriptorMaps,
    *,
    options: MatchOptions | None = None,
    allowed0: Bool[Tensor, "h0 w0"] | None = None,
    allowed1: Bool[Tensor, "h1 w1"] | None = None,
) -> Correspondences:
    """Match the maps of one decoding, from both images (spec 20 section 5.2).

    A match's confidence is the smaller one of its two pixels.

    Args:
        maps: descriptors and confidences.
        options: how to match.
        allowed0: False where a pixel of image 0 may not match.
        allowed1: the same for image 1.
    """
    walked = _walk_both_ways(maps, options or MatchOptions(), allowed0, allowed1)
    return _merge([walked], _widths(maps), symmetric=False)


@torch.no_grad()
def match_symmetric(
    passes: Sequence[DescriptorMaps],
    *,
    options: MatchOptions | None = None,
    allowed0: Bool[Tensor, "h0 w0"] | None = None,
    allowed1: Bool[Tensor, "h1 w1"] | None = None,
) -> Correspondences:
    """Match the maps of both decodings of a pair, each from both images (spec 20 section 5.1).

    A match's confidence is the geometric mean over its two pixels, in the decoding that found it first.

    Args:
        passes: the decodings with image 0 and with image 1 as reference view, image 0's maps first in both.
        options: how to match.
        allowed0: False where a pixel of image 0 may not match.
        allowed1: the same for image 1.
    """
    if not passes:
        raise InputError("match_symmetric needs at least one decoding")
    options = options or MatchOptions()
    walked = [_walk_both_ways(maps, options, allowed0, allowed1) for maps in passes]
    return _merge(walked, _widths(passes[0]), symmetric=True)


def _widths(maps: DescriptorMaps) -> tuple[int, int]:
    return maps.confidence0.shape[1], maps.confidence1.shape[1]


@torch.no_grad()
def match_confident_pixels(
    maps: DescriptorMaps, *, min_confidence: float, metric: Metric = "dot"
) -> Correspondences:
    """All mutual nearest neighbours among the pixels that are confident enough (spec 20 section 5.3).

    Args:
        maps: descriptors, or points with metric ``l2``, and confidences.
        min_confidence: pixels below it neither match nor stand in the way.
        metric: ``dot`` for descriptors.
    """
    found = nearest_neighbors(
        maps.descriptors0.flatten(0, 1),
        maps.descriptors1.flatten(0, 1),
        metric=metric,
        both_directions=True,
        queries_allowed=(maps.confidence0 >= min_confidence).flatten(),
        database_allowed=(maps.confidence1 >= min_confidence).flatten(),
        backend="kdtree" if metric == "l2" else "auto",
    )
    assert found.column_index is not None
    partner = found.row_index
    pixels0 = torch.arange(len(partner), device=partner.device)
    mutual = partner >= 0
    mutual[mutual.clone()] = found.column_index[partner[mutual]] == pixels0[mutual]
    walked = _Walked(
        pixels0[mutual],
        partner[mutual],
        maps.confidence0.flatten()[pixels0[mutual]].float(),
        maps.confidence1.flatten()[partner[mutual]].float(),
    )
    return _merge([walked], _widths(maps), symmetric=False)
