"""The network that the end-to-end goldens were made with: a function of each pixel's colour (goldens' README)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class PatchEmbed:
    img_size: tuple[int, int]


class AnalyticNetwork:
    """Pixels of one colour show one point of the goldens' world, so colour is all that it needs.

    Args:
        maxdim: size of its inputs.

    Attributes:
        calls: how often it was asked.
    """

    patch_size = 16

    def __init__(self, maxdim: int) -> None:
        self.patch_embed = PatchEmbed((maxdim, maxdim))
        self.calls = 0

    def __call__(
        self, view1: Mapping[str, Any], view2: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        self.calls += 1
        found1, found2 = self._maps(view1["img"]), self._maps(view2["img"])
        found2["pts3d_in_other_view"] = found2.pop("pts3d")
        return found1, found2

    @staticmethod
    def _maps(image: Tensor) -> dict[str, Tensor]:
        red, green, blue = ((image + 1) / 2).unbind(dim=1)
        waves = [wave(2.6 * channel) for channel in (red, green, blue) for wave in (torch.sin, torch.cos)]
        return {
            "desc": torch.stack(waves, dim=-1) / 3**0.5,
            "desc_conf": 0.2 + 2 * blue,
            "conf": 1 + 6 * blue,
            "pts3d": torch.stack([8 * red - 4, 8 * green - 4, blue], dim=-1),
        }
