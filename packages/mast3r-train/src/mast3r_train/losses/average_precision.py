"""Average precision of the true match in the ranking by similarity (spec 40 section 8.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_train.losses.base import MatchingCriterion, reduce_losses, unknown_choice
from mast3r_train.losses.chunking import row_slices


@dataclass(frozen=True, repr=False)
class APLoss(MatchingCriterion):
    """Average precision per query. It has no gradient: a measure for tests, best at 1.

    A query has one true match, so its average precision is 1 / rank of that match.

    Attributes:
        nq: ``"torch"``: a tie does not worsen the rank. ``"sklearn"`` or 0: candidates of equal similarity
            share the precision of their group, as scikit-learn's ``average_precision_score`` counts them.
        min: Accepted for upstream's expressions, without effect; so are ``max`` and ``euc``.
        reduction: ``"mean"``, ``"sum"``, ``"none"``, or ``"1-mean"`` = 1 - mean (1 for no match at all).
        fp: Type in which similarities are computed.
    """

    nq: Literal["torch", "sklearn", 0] = "torch"
    min: float = 0
    max: float = 1
    euc: bool = False
    fp: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.nq not in ("torch", "sklearn", 0):
            raise unknown_choice("APLoss nq", self.nq, ("torch", "sklearn"))
        if self.reduction not in ("none", "mean", "sum", "1-mean"):
            raise unknown_choice("reduction", self.reduction, ("none", "mean", "sum", "1-mean"))

    @torch.no_grad()
    def losses(
        self,
        desc1: Float[Tensor, "batch matches dim"],
        desc2: Float[Tensor, "batch candidates dim"],
        valid: Bool[Tensor, "batch matches"],
        *,
        euclidean: bool = False,
    ) -> Float[Tensor, " valid_matches"]:
        """Average precision per valid match; see `MatchingCriterion.losses` (``euclidean`` is ignored)."""
        queries, candidates = desc1.to(self.fp), desc2.to(self.fp)
        slices = row_slices(queries.shape[1], len(candidates) * candidates.shape[1])
        ranks = [self._ranks(queries[:, rows], candidates, rows.start) for rows in slices]
        return 1 / torch.cat(ranks, dim=1)[valid].float()

    def _ranks(self, queries: Tensor, candidates: Tensor, first: int) -> Tensor:
        """Rank of the true match, for the matches from number ``first`` on (batch, queries)."""
        scores = queries @ candidates.transpose(1, 2)
        positive = scores.diagonal(offset=first, dim1=1, dim2=2)[..., None]
        if self.nq == "torch":
            return 1 + (scores > positive).sum(dim=2)
        return (scores >= positive).sum(dim=2).clamp(min=1)

    def reduce(self, losses: Float[Tensor, " valid_matches"]) -> Tensor:
        if self.reduction == "1-mean":
            return 1 - reduce_losses(losses, "mean")
        return reduce_losses(losses, self.reduction)
