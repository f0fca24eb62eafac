"""The one routine that finds nearest neighbours (spec 20 sections 2 and 8)."""

from __future__ import annotations

from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_model import InputError

from .allowed import AllowedRows
from .backends import BackendName, SearchOptions, choose_backend
from .metric import Metric, Precision, round_to
from .refine import BestRows
from .result import NearestNeighbors


class DescriptorIndex:
    """A database that is prepared once and asked many times.

    Args:
        database: (rows, dim) descriptors.
        allowed: (rows,) False where a row may not be found; rows that are not finite never are.
        metric: see `nearest_neighbors`, as are the other options.
        precision: values are rounded to it.
        backend: who computes.
        threads: CPU threads; None for torch's own number.
    """

    def __init__(
        self,
        database: Float[Tensor, "rows dim"],
        *,
        allowed: Bool[Tensor, " rows"] | None = None,
        metric: Metric = "dot",
        precision: Precision = "fp32",
        backend: BackendName = "auto",
        threads: int | None = None,
    ) -> None:
        self._precision = precision
        self._database = AllowedRows.of(round_to(database, precision), allowed)
        options = search_options(metric, precision, threads)
        self._search = choose_backend(backend, database.device).rows(self._database.rows, options)

    @torch.no_grad()
    def query(
        self, queries: Float[Tensor, "queries dim"], *, allowed: Bool[Tensor, " queries"] | None = None
    ) -> BestRows:
        """Best database row of every query; -1 and -inf where there is none."""
        kept = AllowedRows.of(round_to(queries, self._precision), allowed)
        found = self._search(kept.rows) if len(kept.rows) and len(self._database.rows) else None
        return kept.spread(found, self._database)


@torch.no_grad()
def nearest_neighbors(
    queries: Float[Tensor, "queries dim"],
    database: Float[Tensor, "database dim"],
    *,
    metric: Metric = "dot",
    both_directions: bool = False,
    queries_allowed: Bool[Tensor, " queries"] | None = None,
    database_allowed: Bool[Tensor, " database"] | None = None,
    precision: Precision = "fp32",
    backend: BackendName = "auto",
    threads: int | None = None,
) -> NearestNeighbors:
    """Exact nearest neighbours of every query, and of every database entry where asked.

    The similarity matrix never exists as a whole: memory grows with queries + database. The lowest index wins
    ties. A descriptor that is not finite, or not allowed, neither matches nor stands in the way of others.

    Args:
        queries: (queries, dim) descriptors, any floating dtype and device.
        database: (database, dim), same device.
        metric: ``dot`` (largest dot product, no normalisation) or ``l2`` (smallest Euclidean distance).
        both_directions: fill the column table too, in the same pass; leave off where it is not used.
        queries_allowed: False where a query may not match.
        database_allowed: the same for the database.
        precision: ``bf16`` rounds the descriptors to bfloat16; sums are always float32.
        backend: ``auto`` takes ``fused`` on CUDA, else ``dense``; ``kdtree`` is for ``l2`` in low dimensions.
        threads: CPU threads; None for torch's own number.

    Raises:
        InputError: shapes, metric or backend that do not fit.
    """
    check_descriptors(queries, database)
    if not both_directions:
        index = DescriptorIndex(
            database,
            allowed=database_allowed,
            metric=metric,
            precision=precision,
            backend=backend,
            threads=threads,
        )
        best = index.query(queries, allowed=queries_allowed)
        return NearestNeighbors(best.index, best.score)
    options = search_options(metric, precision, threads)
    rows = AllowedRows.of(round_to(queries, precision), queries_allowed)
    columns = AllowedRows.of(round_to(database, precision), database_allowed)
    for_rows, for_columns = None, None
    if len(rows.rows) and len(columns.rows):
        both = choose_backend(backend, queries.device).both
        for_rows, for_columns = both(rows.rows, columns.rows, options)
    row_table, column_table = rows.spread(for_rows, columns), columns.spread(for_columns, rows)
    return NearestNeighbors(row_table.index, row_table.score, column_table.index, column_table.score)


def search_options(metric: Metric, precision: Precision, threads: int | None) -> SearchOptions:
    """Check the options and put torch's number of threads in place of None.

    Raises:
        InputError: an unknown metric or precision.
    """
    if metric not in get_args(Metric):
        raise InputError(f"unknown metric {metric!r}", hint="use 'dot' or 'l2'")
    if precision not in get_args(Precision):
        raise InputError(f"unknown precision {precision!r}", hint="use 'fp32' or 'bf16'")
    return SearchOptions(metric, precision, threads or torch.get_num_threads())


def check_descriptors(queries: Tensor, database: Tensor) -> None:
    """Descriptors must be two matrices of one width on one device.

    Raises:
        InputError: they are not.
    """
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise InputError(
            "descriptors must be two matrices (count, dim) with the same dim, "
            f"got shapes {tuple(queries.shape)} and {tuple(database.shape)}"
        )
    if queries.device != database.device:
        raise InputError(f"descriptors must be on one device, got {queries.device} and {database.device}")
