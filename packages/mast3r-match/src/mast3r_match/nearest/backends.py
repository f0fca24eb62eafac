"""Who computes a search. Every backend gives the lowest index where scores are equal to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import InputError

from .dense import DenseTables, dense_search
from .fused import fused_search, why_not_fused
from .kdtree import KDTreeIndex
from .metric import Metric, Precision, fold_metric, metric_score
from .refine import BestRows

BackendName = Literal["auto", "dense", "fused", "kdtree"]
FUSED_DIMENSIONS = 126
"""Widest descriptors whose tiles fit the kernel's shared memory (two columns may be added for ``l2``)."""

RowSearch = Callable[[Float[Tensor, "queries dim"]], BestRows]


@dataclass(frozen=True)
class SearchOptions:
    """What a backend is told beside the descriptors.

    Attributes:
        metric: what is best.
        precision: ``bf16`` when the values are exact in bfloat16.
        threads: CPU threads.
    """

    metric: Metric
    precision: Precision
    threads: int


@dataclass(frozen=True)
class Backend:
    """Two functions over finite float32 descriptors with at least one row a side.

    Attributes:
        rows: prepare a database (rows, dim) once and return the function that finds the best of its rows for
            queries (queries, dim); scores in the metric's own unit.
        both: tables of the queries and of the database in one pass.
    """

    rows: Callable[[Tensor, SearchOptions], RowSearch]
    both: Callable[[Tensor, Tensor, SearchOptions], tuple[BestRows, BestRows]]


def _dense(queries: Tensor, database: Tensor, options: SearchOptions, *, both: bool) -> DenseTables:
    return dense_search(
        *fold_metric(queries, database, options.metric), both_directions=both, threads=options.threads
    )


def _fused(queries: Tensor, database: Tensor, options: SearchOptions, *, both: bool) -> DenseTables:
    if (reason := why_not_fused(queries.device)) is not None:
        raise InputError(f"the fused search cannot be used: {reason}", hint="use backend='dense' or 'auto'")
    if queries.shape[1] > FUSED_DIMENSIONS:
        return _dense(queries, database, options, both=both)
    half = options.precision == "bf16" and options.metric == "dot"
    return fused_search(*fold_metric(queries, database, options.metric), both_directions=both, half=half)


def _product_backend(search: Callable[..., DenseTables]) -> Backend:
    """A backend that maximises dot products."""

    def rows(database: Tensor, options: SearchOptions) -> RowSearch:
        def query(queries: Tensor) -> BestRows:
            found = search(queries, database, options, both=False).rows
            return BestRows(found.index, metric_score(found.score, options.metric))

        return query

    def both(queries: Tensor, database: Tensor, options: SearchOptions) -> tuple[BestRows, BestRows]:
        found = search(queries, database, options, both=True)
        assert found.columns is not None
        return (
            BestRows(found.rows.index, metric_score(found.rows.score, options.metric)),
            BestRows(found.columns.index, metric_score(found.columns.score, options.metric)),
        )

    return Backend(rows, both)


def _kdtree_rows(database: Tensor, options: SearchOptions) -> RowSearch:
    if options.metric != "l2":
        raise InputError(f"a k-d tree knows metric 'l2' only, got {options.metric!r}")
    return KDTreeIndex(database, workers=options.threads).query


def _kdtree_both(queries: Tensor, database: Tensor, options: SearchOptions) -> tuple[BestRows, BestRows]:
    return _kdtree_rows(database, options)(queries), _kdtree_rows(queries, options)(database)


BACKENDS: dict[str, Backend] = {
    "dense": _product_backend(_dense),
    "fused": _product_backend(_fused),
    "kdtree": Backend(_kdtree_rows, _kdtree_both),
}


def choose_backend(name: BackendName, device: torch.device) -> Backend:
    """The backend of that name; ``auto`` is ``fused`` on CUDA where its kernel runs, else ``dense``.

    Raises:
        InputError: an unknown name.
    """
    if name == "auto":
        name = "fused" if device.type == "cuda" and why_not_fused(device) is None else "dense"
    if name not in BACKENDS:
        raise InputError(f"unknown backend {name!r}", hint=f"use one of auto, {', '.join(BACKENDS)}")
    return BACKENDS[name]
