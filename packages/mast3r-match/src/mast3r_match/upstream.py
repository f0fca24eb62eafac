"""Upstream's function names, signatures and returns, over our own routines (spec 20)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mast3r_model import InputError, resolve_device

from .correspondences import DescriptorMaps, match_maps, match_symmetric
from .merge import XYOutput, merge_corres
from .nearest import BackendName, Metric, nearest_neighbors, neighbor_tables
from .options import MatchOptions
from .reciprocal import GRID_ROUND_TRIPS, grid_seeds, point_seeds, reciprocal_walk

Array = Tensor | np.ndarray


def _tensor(values: Array, device: str | torch.device) -> Tensor:
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
    return tensor.detach().to(resolve_device(device))


def bruteforce_reciprocal_nns(
    A: Array,
    B: Array,
    device: str | torch.device = "cuda",
    block_size: int | None = None,
    dist: Metric = "l2",
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]:
    """Nearest neighbours both ways.

    Args:
        A: (n, dim) descriptors.
        B: (m, dim) descriptors.
        device: where to compute.
        block_size: accepted; our blocks are sized for the caches, which changes no result.
        dist: ``dot`` or ``l2``.

    Returns:
        For every row of A the best row of B, and for every row of B the best row of A, int64; -1 for NaN.

    Raises:
        ValueError: an unknown metric.
    """
    if dist not in ("dot", "l2"):
        raise ValueError(f"unknown dist {dist!r}: expected 'dot' or 'l2'")
    found = nearest_neighbors(_tensor(A, device), _tensor(B, device), metric=dist, both_directions=True)
    assert found.column_index is not None
    return found.row_index.cpu().numpy(), found.column_index.cpu().numpy()


class cdistMatcher:  # noqa: N801 - upstream's name
    """A database to find nearest neighbours in.

    Args:
        db_pts: (m, dim) descriptors.
        device: where to compute.
    """

    def __init__(self, db_pts: Array, device: str | torch.device = "cuda") -> None:
        self.db_pts = _tensor(db_pts, device)
        self.device = device

    def query(
        self, queries: Array, k: int = 1, *, dist: Metric = "l2", block_size: int | None = None
    ) -> tuple[None, np.ndarray | list[int]]:
        """Best database row of every query: ``(None, index)``, or ``(None, [])`` without queries."""
        if k != 1:
            raise InputError(f"cdistMatcher finds one neighbour, got k={k}")
        if len(queries) == 0:
            return None, []
        found = nearest_neighbors(_tensor(queries, self.device), self.db_pts, metric=dist)
        return None, found.row_index.cpu().numpy()


def fast_reciprocal_NNs(  # noqa: N802 - upstream's name
    pts1: Array,
    pts2: Array,
    subsample_or_initxy1: int | Sequence[Array] | Array = 8,
    ret_xy: XYOutput = True,
    pixel_tol: float = 0,
    ret_basin: bool = False,
    device: str | torch.device = "cuda",
    *,
    dist: Metric | None = None,
    block_size: int | None = None,
    workers: int | None = None,
) -> tuple[object, ...]:
    """Reciprocal matches between two maps by walking from seeds (spec 20 section 3).

    Prefer `reciprocal_nearest_neighbors`: here the metric depends on device and keywords, as upstream: on
    the CPU without `dist` and `block_size` a k-d tree (Euclidean), else ``l2`` unless `dist` is given.

    Args:
        pts1: (h1, w1, dim) descriptors or points of image 1.
        pts2: (h2, w2, dim) of image 2.
        subsample_or_initxy1: step of the grid of seeds, or the seeds (x, y).
        ret_xy: True for arrays (n, 2) of (x, y), ``"y_x"`` for tuples (y, x), False for flat int32 indices.
        pixel_tol: above 0, one round trip, and seeds that come back strictly closer than this are kept.
        ret_basin: also return where each visited pixel led, int32 (h1 * w1 + 1,).
        device: where to compute.
        dist: ``dot`` or ``l2``.
        block_size: accepted; see `bruteforce_reciprocal_nns`.
        workers: threads of the k-d tree.

    Returns:
        Pixels of image 1, of image 2, sorted by the first and then the second; and the basins where asked.

    Raises:
        InputError: maps or seeds that do not fit.
    """
    maps = _tensor(pts1, device), _tensor(pts2, device)
    dense = dist is not None or block_size is not None or maps[0].device.type == "cuda"
    backend: BackendName = "auto" if dense else "kdtree"
    shape1 = (maps[0].shape[0], maps[0].shape[1])
    grid = isinstance(subsample_or_initxy1, (int, np.integer))
    if isinstance(subsample_or_initxy1, (int, np.integer)):
        seeds = grid_seeds(shape1, int(subsample_or_initxy1), maps[0].device)
    else:
        x, y = subsample_or_initxy1
        seeds = point_seeds(x, y, shape1, maps[0].device)
    tables = neighbor_tables(*maps, seeds=len(seeds), metric=dist or "l2", backend=backend, threads=workers)
    walk = reciprocal_walk(
        tables,
        seeds,
        max_round_trips=GRID_ROUND_TRIPS if grid and pixel_tol == 0 else 1,
        pixel_tol=pixel_tol,
        with_basin=ret_basin,
    )
    flat1, flat2 = (pixels.cpu().numpy().astype(np.int32) for pixels in (walk.pixels1, walk.pixels2))
    matches = merge_corres(flat1, flat2, tables.shape1, tables.shape2, ret_xy)
    if walk.basin is None:
        return matches
    return (*matches, walk.basin.cpu().numpy())


def extract_correspondences(
    feats: Sequence[Tensor],
    qonfs: Sequence[Tensor],
    subsample: int = 8,
    device: str | torch.device | None = None,
    ptmap_key: str = "pred_desc",
) -> tuple[Tensor, Tensor, Tensor]:
    """Correspondences of a pair decoded both ways (spec 20 section 5.1).

    Args:
        feats: maps (d11, d21, d22, d12): dab = map of image a by the decoding whose reference is image b.
        qonfs: their confidences, in the same order.
        subsample: step of the grids of seeds.
        device: where to compute; None for the maps' own.
        ptmap_key: with ``3d`` in it the maps are points: Euclidean, through a k-d tree.

    Returns:
        Pixels (x, y) of image 1 and of image 2, int64 (n, 2), and confidences, float32 (n,).
    """
    device = feats[0].device if device is None else device
    d11, d21, d22, d12 = (_tensor(values, device) for values in feats)
    q11, q21, q22, q12 = (_tensor(values, device) for values in qonfs)
    passes = [DescriptorMaps(d11, d21, q11, q21), DescriptorMaps(d12, d22, q12, q22)]
    found = match_symmetric(passes, options=_options(subsample, 0, ptmap_key))
    return found.xy0, found.xy1, found.confidence


def extract_correspondences_nonsym(
    A: Tensor,
    B: Tensor,
    confA: Tensor,
    confB: Tensor,
    subsample: int = 8,
    device: str | torch.device | None = None,
    ptmap_key: str = "pred_desc",
    pixel_tol: float = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Correspondences of a pair decoded once (spec 20 section 5.2); see `extract_correspondences`."""
    device = A.device if device is None else device
    maps = DescriptorMaps(*(_tensor(values, device) for values in (A, B, confA, confB)))
    found = match_maps(maps, options=_options(subsample, pixel_tol, ptmap_key))
    return found.xy0, found.xy1, found.confidence


def _options(subsample: int, pixel_tol: float, ptmap_key: str) -> MatchOptions:
    if "3d" in ptmap_key:
        return MatchOptions(subsample, pixel_tol, metric="l2", backend="kdtree")
    return MatchOptions(subsample, pixel_tol)
