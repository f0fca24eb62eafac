"""Robust losses of distances (spec 30 section 6.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class GammaLoss:
    """rho(d) = (mul min(d, clip) + b)^gamma - b^gamma, with unit slope at 0 for the default b.

    Attributes:
        gamma: below 1 robust, 1 the distance itself, above 1 between distance and square.
        mul: factor of the distance.
        offset: b; None chooses the one of unit slope.
        clip: distances above this count as this.
    """

    gamma: float
    mul: float = 1.0
    offset: float | None = None
    clip: float = math.inf

    @property
    def b(self) -> float:
        """The offset in use."""
        if self.offset is not None:
            return self.offset
        return 0.0 if self.gamma == 1 else (1 / self.gamma) ** (1 / (self.gamma - 1))

    def of_distance(self, distance: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The loss of distances."""
        if self.gamma == 1 and self.offset is None and self.clip == math.inf:
            return distance if self.mul == 1 else self.mul * distance
        clipped = distance if self.clip == math.inf else distance.clamp_max(self.clip)
        return (self.mul * clipped + self.b) ** self.gamma - self.b**self.gamma

    def __call__(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """The loss between points; its gradient where they coincide is 0."""
        return self.of_distance((x - y).norm(dim=-1))

    def slope(self, distance: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Derivative of the loss by the distance."""
        if self.gamma == 1 and self.clip == math.inf:
            return torch.full_like(distance, self.mul)
        clipped = distance.clamp_max(self.clip)
        slope = self.gamma * self.mul * (self.mul * clipped + self.b) ** (self.gamma - 1)
        return torch.where(distance < self.clip, slope, torch.zeros_like(slope))
