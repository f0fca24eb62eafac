"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class NearestNeighbors:
    """Best partner of every query (row) and, where asked, of every database entry (column).

    Attributes:
        row_index: (queries,) int64, index into the database; -1 where a query has no match.
        row_score: (queries,) float32, dot product, or minus the Euclidean distance; -inf where no match.
        column_index: (database,) int64, index into the queries, or None when only rows were asked for.
        column_score: (database,) float32, or None.
    """

    row_index: Int[Tensor, " queries"]
    row_score: Float[Tensor, " queries"]
    column_index: Int[Tensor, " database"] | None = None
    column_score: Float[Tensor, " database"] | None = None
