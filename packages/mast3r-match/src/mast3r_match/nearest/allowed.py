"""Descriptors that take part in a search; the others neither match nor stand in the way."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .refine import BestRows


@dataclass(frozen=True)
class AllowedRows:
    """The rows of a descriptor matrix that may match, in their order.

    Attributes:
        rows: (kept, dim) descriptors.
        index: (kept,) their positions in the whole matrix, or None when all were kept.
        count: rows of the whole matrix.
    """

    rows: Float[Tensor, "kept dim"]
    index: Int[Tensor, " kept"] | None
    count: int

    @classmethod
    def of(
        cls, descriptors: Float[Tensor, "count dim"], allowed: Bool[Tensor, " count"] | None
    ) -> AllowedRows:
        """Keep rows that are allowed and finite."""
        kept = torch.isfinite(descriptors).all(1)
        if allowed is not None:
            kept &= allowed.to(kept.device)
        if kept.all():
            return cls(descriptors, None, len(descriptors))
        index = kept.nonzero()[:, 0]
        return cls(descriptors[index], index, len(descriptors))

    def positions(self, kept_index: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Positions in the whole matrix of rows of `rows`."""
        return kept_index if self.index is None else self.index[kept_index]

    def spread(self, best: BestRows | None, partner: AllowedRows) -> BestRows:
        """A table over the whole matrix from one over `rows`: -1 and -inf for those left out, or for None."""
        if best is not None and self.index is None:
            return BestRows(partner.positions(best.index), best.score)
        index = self.rows.new_full((self.count,), -1, dtype=torch.int64)
        score = self.rows.new_full((self.count,), -math.inf)
        if best is not None:
            index[self.index] = partner.positions(best.index)
            score[self.index] = best.score
        return BestRows(index, score)
