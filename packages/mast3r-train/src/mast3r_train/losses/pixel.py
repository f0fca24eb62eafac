"""Pixel criteria: the distance between a predicted and a true point (spec 40 section 8.1)."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

from jaxtyping import Float
from torch import Tensor

from mast3r_model import ConfigError
from mast3r_train.losses.base import Reduction, expression_text, reduce_losses, unknown_choice


@dataclass(frozen=True, repr=False)
class PixelCriterion(ABC):
    """A distance between points; a subclass writes :meth:`distance`.

    Attributes:
        reduction: ``"mean"`` (of an empty set: 0), ``"sum"`` or ``"none"``.
    """

    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        if self.reduction not in ("none", "mean", "sum"):
            raise unknown_choice("reduction", self.reduction, ("none", "mean", "sum"))

    @abstractmethod
    def distance(
        self, predicted: Float[Tensor, "pixels 3"], true: Float[Tensor, "pixels 3"]
    ) -> Float[Tensor, " pixels"]:
        """One non-negative number per point."""

    def with_reduction(self, reduction: Reduction) -> Self:
        """A copy with another reduction."""
        return dataclasses.replace(self, reduction=reduction)

    def __call__(self, predicted: Float[Tensor, "pixels 3"], true: Float[Tensor, "pixels 3"]) -> Tensor:
        """Distances reduced by ``reduction``.

        Raises:
            ConfigError: The two shapes differ or do not end in 3.
        """
        if predicted.shape != true.shape or predicted.shape[-1] != 3:
            raise ConfigError(
                f"{self!r} compares points of one shape (..., 3); "
                f"got {tuple(predicted.shape)} and {tuple(true.shape)}"
            )
        return reduce_losses(self.distance(predicted, true), self.reduction)

    def __repr__(self) -> str:
        return expression_text(self)


@dataclass(frozen=True, repr=False)
class L21Loss(PixelCriterion):
    """Euclidean distance; its gradient at 0 is 0."""

    def distance(
        self, predicted: Float[Tensor, "pixels 3"], true: Float[Tensor, "pixels 3"]
    ) -> Float[Tensor, " pixels"]:
        return (predicted - true).norm(dim=-1)

    def __repr__(self) -> str:
        return "L21" if self.reduction == "mean" else expression_text(self)


L21 = L21Loss()
"""The euclidean distance as the published expressions name it."""
