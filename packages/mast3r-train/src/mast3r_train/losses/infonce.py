"""Contrastive loss between matching descriptors (spec 40 section 8.6)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mast3r_model import ConfigError, InputError
from mast3r_train.losses.base import MatchingCriterion, unknown_choice
from mast3r_train.losses.chunking import row_slices

_SAFE_SCORE = 40.0
"""Sums of exp(score) neither overflow nor vanish in float32 while no score is larger in size."""


@dataclass(frozen=True, repr=False)
class InfoNCE(MatchingCriterion):
    """Cross entropy of the true match among all candidates, by similarity over temperature.

    Attributes:
        temperature: Divides the similarity.
        eps: Probabilities are not taken below it: the loss saturates there, without gradient.
        mode: ``"all"``: probability among all pairs of the image; ``"proper"``: among rows plus among
            columns; ``"dual"``: product of the two. ``"proper"`` and ``"dual"`` take no extra negatives.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        fp: Type in which similarities are computed; below float32 needs a temperature well above 0.05.
    """

    temperature: float = 0.07
    eps: float = 1e-8
    mode: Literal["all", "proper", "dual"] = "all"
    fp: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.mode not in ("all", "proper", "dual"):
            raise unknown_choice("InfoNCE mode", self.mode, ("all", "proper", "dual"))
        if self.reduction not in ("none", "mean", "sum"):
            raise unknown_choice("reduction", self.reduction, ("none", "mean", "sum"))
        if not (self.temperature > 0 and self.eps > 0):
            raise ConfigError(
                f"InfoNCE needs temperature > 0 and eps > 0, got {self.temperature} and {self.eps}"
            )

    def losses(
        self,
        desc1: Float[Tensor, "batch matches dim"],
        desc2: Float[Tensor, "batch candidates dim"],
        valid: Bool[Tensor, "batch matches"],
        *,
        euclidean: bool = False,
    ) -> Float[Tensor, " valid_matches"]:
        """Loss per valid match; see `MatchingCriterion.losses`.

        Raises:
            InputError: Fewer candidates than matches, or extra negatives in a mode that takes none.
        """
        matches, candidates = desc1.shape[1], desc2.shape[1]
        if candidates < matches or (self.mode != "all" and candidates != matches):
            need = "at least" if self.mode == "all" else "exactly"
            raise InputError(
                f"InfoNCE(mode={self.mode!r}) got {matches} matches and {candidates} candidates; "
                f"it takes {need} as many candidates as matches",
                hint="negatives_padding works with mode='all' only",
            )
        bounded = _largest_similarity(desc1, desc2, euclidean=euclidean) <= _SAFE_SCORE * self.temperature
        positive, rows, columns = self._log_sums(
            desc1.to(self.fp), desc2.to(self.fp), euclidean=euclidean, bounded=bounded
        )
        match self.mode:
            case "all":
                losses = self._clipped(positive - rows.logsumexp(dim=1, keepdim=True))
            case "proper":
                losses = self._clipped(positive - columns) + self._clipped(positive - rows)
            case "dual":
                losses = self._clipped(2 * positive - columns - rows)
        return losses[valid]

    def _log_sums(
        self, desc1: Tensor, desc2: Tensor, *, euclidean: bool, bounded: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The true matches' scores, and log-sums over rows and over columns, each (batch, matches).

        Of many scores only some rows exist at a time; the backward pass computes them again. That gives the
        same numbers as all at once. (Mode "all" reads no columns and gets none.)
        """
        of_rows = partial(self._log_sums_of_rows, euclidean=euclidean, bounded=bounded)
        slices = row_slices(desc1.shape[1], len(desc2) * desc2.shape[1])
        if len(slices) == 1:
            return of_rows(desc1, desc2, 0)
        parts = [
            checkpoint(
                of_rows, desc1[:, rows], desc2, rows.start, use_reentrant=False, preserve_rng_state=False
            )
            for rows in slices
        ]
        positive, rows, columns = zip(*parts, strict=True)
        return torch.cat(positive, dim=1), torch.cat(rows, dim=1), torch.stack(columns).logsumexp(dim=0)

    def _log_sums_of_rows(
        self, desc1: Tensor, desc2: Tensor, first: int, *, euclidean: bool, bounded: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`_log_sums` of the matches from number ``first`` on, the columns' sums over these only."""
        scores = self._scores(desc1, desc2, euclidean=euclidean).float()
        if not bounded:  # something is not finite, or large
            scores = scores.masked_fill(scores.isnan(), -torch.inf)
        positive = scores.diagonal(offset=first, dim1=1, dim2=2).clone()  # a view would keep all scores
        rows, *columns = log_sums(scores, (2,) if self.mode == "all" else (2, 1), bounded=bounded)
        return positive, rows, columns[0] if columns else rows[:, :0]

    def _clipped(self, log_probability: Tensor) -> Tensor:
        """-log max(p, eps)."""
        return -log_probability.clamp(min=math.log(self.eps))

    def _scores(self, desc1: Tensor, desc2: Tensor, *, euclidean: bool) -> Tensor:
        """Similarity over temperature (batch, matches, candidates)."""
        if euclidean:
            distance = torch.cdist(desc1, desc2, compute_mode="donot_use_mm_for_euclid_dist")
            return 1 / (1 + distance) / self.temperature
        return torch.bmm(desc1 / self.temperature, desc2.transpose(1, 2))


def log_sums(
    scores: Float[Tensor, "batch matches candidates"], dims: tuple[int, ...], *, bounded: bool
) -> list[Tensor]:
    """log Σ exp(scores) along each of ``dims``.

    Args:
        scores: The scores.
        dims: Dimensions to sum over, one result each.
        bounded: No score is larger than `_SAFE_SCORE` in size: one exponential then serves all the sums, and
            halves the time. Otherwise the sums are taken relative to their maxima.
    """
    if not bounded:
        return [scores.logsumexp(dim=dim) for dim in dims]
    exponentials = scores.exp()
    return [exponentials.sum(dim=dim).log() for dim in dims]


@torch.no_grad()
def _largest_similarity(desc1: Tensor, desc2: Tensor, *, euclidean: bool) -> float:
    """A bound on the size of all similarities; NaN or infinite if an input is."""
    bound = float(desc1.norm(dim=-1).amax() * desc2.norm(dim=-1).amax())
    return 1.0 if euclidean and math.isfinite(bound) else bound
