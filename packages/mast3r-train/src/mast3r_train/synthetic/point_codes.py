"""Descriptors that code where a point is: waves of several lengths along evenly spread directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

_GOLDEN = (1 + 5**0.5) / 2
_AXES = np.array([[0, 1, _GOLDEN], [0, 1, -_GOLDEN]])
ICOSAHEDRON = np.concatenate([np.roll(_AXES, shift, axis=1) for shift in range(3)]) / np.hypot(1, _GOLDEN)
"""(6, 3) the axes through an icosahedron's corners: waves along them measure all directions alike."""


@dataclass(frozen=True, eq=False)
class PointCodes:
    """Unit vectors for points; the nearer two points, the larger the product of their codes.

    Attributes:
        origin: (3,) the middle of all points, for precision.
        frequencies: (f, 3) radians per metre; codes have 2 f channels.
    """

    origin: Float[Tensor, " 3"]
    frequencies: Float[Tensor, "f 3"]

    @classmethod
    def spanning(
        cls, origin: Float[Tensor, " 3"], shortest: float, *, octaves: int, ratio: float = 4.0
    ) -> PointCodes:
        """Waves from the shortest length (metres) up, each `ratio` times as long as the one before.

        The shortest tells neighbours apart; the longer ones tell which of its many equal waves a point is on.
        """
        turns = Rotation.random(octaves, rng=np.random.default_rng(0)).as_matrix()
        waves = [ICOSAHEDRON @ turn.T * 2 * np.pi / (shortest * ratio**k) for k, turn in enumerate(turns)]
        return cls(origin, torch.from_numpy(np.concatenate(waves)).float())

    @property
    def channels(self) -> int:
        """Length of a code."""
        return 2 * len(self.frequencies)

    def __call__(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch channels"]:
        """Codes of world points."""
        phase = (points - self.origin) @ self.frequencies.T
        return torch.cat([phase.cos(), phase.sin()], -1) / len(self.frequencies) ** 0.5
