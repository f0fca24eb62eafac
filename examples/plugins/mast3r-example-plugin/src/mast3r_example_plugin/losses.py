"""A pixel criterion: like the euclidean distance for far points, gentler for near ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, where

from mast3r_train.losses import PixelCriterion


@dataclass(frozen=True, repr=False)
class Huber(PixelCriterion):
    """Huber's distance, usable wherever an expression says ``L21``: ``Regr3D(Huber(delta=0.2))``.

    Args:
        delta: distance, in the unit of the points, beyond which it grows linearly.
    """

    delta: float = 0.1

    def distance(self, predicted: Tensor, true: Tensor) -> Tensor:
        """One number per point: predicted and true (n, 3) to (n,)."""
        length = (predicted - true).norm(dim=-1)
        return where(length < self.delta, length.square() / (2 * self.delta), length - self.delta / 2)
