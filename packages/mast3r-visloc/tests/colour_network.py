"""A network for the painted wall: a pixel's descriptor codes its red and green, blue takes confidence away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from mast3r_model import EncodedImage, PairDescriptors, PairPrediction


class ColourNetwork(nn.Module):
    """Photos are to come at their own size: nothing is interpolated then.

    Args:
        long_side: of its inputs, as upstream's pipeline asks for it.

    Attributes:
        encoded: images that it was given.
        decoded: pairs that it was given.
    """

    patch_size = 16

    def __init__(self, long_side: int = 512) -> None:
        super().__init__()
        self.patch_embed = SimpleNamespace(img_size=(long_side, long_side))
        self.config = SimpleNamespace(
            desc_dim=4, img_size=(long_side, long_side), to_expression=lambda: "ColourNetwork()"
        )
        self.fingerprint = "colours of the painted wall"
        self.precision = None
        self.device_of_it = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.encoded = self.decoded = 0

    def encode(self, images: Sequence[Tensor], *, batch_size: int = 8) -> list[EncodedImage]:
        self.encoded += len(images)
        return [self._encoded((image * 127.5 + 127.5).round()) for image in images]

    @staticmethod
    def _encoded(pixels: Tensor) -> EncodedImage:
        """Tokens say how much of each of 8x8 colours an image has in each of its patches."""
        height, width = pixels.shape[-2:]
        red, green = (nn.functional.avg_pool2d(pixels[None, :2] / 255, 16)[0]).flatten(1)
        centres = (torch.arange(8) + 0.5) / 8
        near = [torch.exp(-(((value[:, None] - centres) * 8) ** 2)) for value in (red, green)]
        tokens = (near[0][:, :, None] * near[1][:, None, :]).flatten(1)
        positions = torch.cartesian_prod(torch.arange(height // 16), torch.arange(width // 16))
        return EncodedImage(tokens, positions, (pixels,), (height, width))

    def describe_pairs(
        self, features: Sequence[EncodedImage], pairs: Sequence[tuple[int, int]], *, batch_size: int = 8
    ) -> Iterator[PairDescriptors]:
        self.decoded += len(pairs)
        for first, second in pairs:
            one, other = (self._maps(features[number].local[0]) for number in (first, second))
            yield PairDescriptors(one["desc"], one["desc_conf"], other["desc"], other["desc_conf"])

    def decode_pairs(
        self, features: Sequence[EncodedImage], pairs: Sequence[tuple[int, int]], *, batch_size: int = 8
    ) -> Iterator[PairPrediction]:
        for first, second in pairs:
            one, other = (self._maps(features[number].local[0]) for number in (first, second))
            yield PairPrediction(*one.values(), *other.values())

    def forward(
        self, view1: Mapping[str, Any], view2: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Upstream's contract."""
        found = []
        for view in (view1, view2):
            maps = [self._maps(image * 127.5 + 127.5) for image in view["img"]]
            found.append({name: torch.stack([each[name] for each in maps]) for name in maps[0]})
        found[1]["pts3d_in_other_view"] = found[1].pop("pts3d")
        return found[0], found[1]

    @staticmethod
    def _maps(pixels: Tensor) -> dict[str, Tensor]:
        red, green, blue = (pixels / 255).unbind(0)
        waves = [wave(2.6 * channel) for channel in (red, green) for wave in (torch.sin, torch.cos)]
        confidence = 1 + 4 * (0.6 - blue)
        return {
            "pts3d": torch.stack([5 * red - 2.5, 5 * green - 2.5, torch.full_like(red, 4.0)], -1),
            "conf": confidence,
            "desc": torch.stack(waves, -1) / 2**0.5,
            "desc_conf": confidence,
        }
