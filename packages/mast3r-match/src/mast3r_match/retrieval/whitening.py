"""Whitening: features whose directions all have the same variance (spec 30 section 10.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import InputError

LEAST_VARIANCE = 1e-14


@dataclass(frozen=True, eq=False)
class Whitening:
    """``(x - mean) @ projection``, computed in float64 whatever the features' dtype.

    Attributes:
        mean: (1, channels) float64.
        projection: (channels, outputs) float64.
    """

    mean: Float[Tensor, "1 channels"]
    projection: Float[Tensor, "channels outputs"]

    @classmethod
    def fit(
        cls,
        features: Float[Tensor, "features channels"],
        *,
        shrinkage: float = 1.0,
        variance: float = 1.0,
    ) -> Whitening:
        """Principal axes of the features, the strongest first.

        Args:
            features: what to fit to, of any floating dtype, on any device.
            shrinkage: 1 for unit variance along every axis, 0 for a mere rotation, in between for in between.
            variance: keep the strongest axes that together hold this share of the features' variance; 1: all.

        Raises:
            InputError: no features.
        """
        if features.ndim != 2 or not len(features):
            raise InputError(f"whitening needs features (features, channels), got {tuple(features.shape)}")
        exact = features.double()
        mean = exact.mean(dim=0, keepdim=True)
        centred = exact - mean
        variances, axes = torch.linalg.eigh(centred.T @ centred / len(exact))
        variances, axes = variances.flip(0).clamp_min(LEAST_VARIANCE), axes.flip(1)
        kept = len(variances)
        if variance < 1:
            kept = 1 + int((variances.cumsum(0) < variance * variances.sum()).sum())
        return cls(mean, axes[:, :kept] * variances[:kept] ** (-shrinkage / 2))

    def __call__(
        self, features: Float[Tensor, "*batch channels"], *, normalize: bool = False
    ) -> Float[Tensor, "*batch outputs"]:
        """Whiten features; the result has their dtype and device.

        Args:
            features: any number of them.
            normalize: to unit length afterwards.
        """
        mean, projection = self.mean.to(features.device), self.projection.to(features.device)
        whitened = (features.double() - mean) @ projection
        if normalize:
            whitened = torch.nn.functional.normalize(whitened, dim=-1)
        return whitened.to(features.dtype)
