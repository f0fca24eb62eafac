"""Contrastive loss between matching descriptors (spec 40 section 8.6)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_model import ConfigError, InputError
from mast3r_train.losses.base import MatchingCriterion, unknown_choice


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
        scores = self._scores(desc1.to(self.fp), desc2.to(self.fp), euclidean=euclidean).float()
        positive = scores.diagonal(dim1=1, dim2=2)
        match self.mode:
            case "all":
                log_p = positive - scores.flatten(1).logsumexp(dim=1)[:, None]
                losses = self._clipped(log_p)
            case "proper":
                losses = self._clipped(positive - scores.logsumexp(dim=1))
                losses = losses + self._clipped(positive - scores.logsumexp(dim=2))
            case "dual":
                losses = self._clipped(2 * positive - scores.logsumexp(dim=1) - scores.logsumexp(dim=2))
        return losses[valid]

    def _clipped(self, log_probability: Tensor) -> Tensor:
        """-log max(p, eps)."""
        return -log_probability.clamp(min=math.log(self.eps))

    def _scores(self, desc1: Tensor, desc2: Tensor, *, euclidean: bool) -> Tensor:
        """Similarity over temperature (batch, matches, candidates); a NaN counts as infinitely unlike."""
        if euclidean:
            distance = torch.cdist(desc1, desc2, compute_mode="donot_use_mm_for_euclid_dist")
            scores = 1 / (1 + distance) / self.temperature
        else:
            scores = torch.bmm(desc1 / self.temperature, desc2.transpose(1, 2))
        finite = torch.isfinite(desc1.sum()) & torch.isfinite(desc2.sum())
        return scores if bool(finite) else scores.masked_fill(scores.isnan(), -torch.inf)
