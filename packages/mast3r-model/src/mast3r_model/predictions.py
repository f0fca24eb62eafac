"""What the network says about one pair of images: all of it, or its descriptors alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class PairPrediction:
    """Maps of a pair, channel-last float32, in network pixels of each image's natural orientation.

    Both point maps are in the camera frame of view 1 (x right, y down, z forward), in metres only if the
    network was trained so. Confidences are at least their mode's lower bound; descriptors have unit length.
    """

    pts3d1: Float[Tensor, "h1 w1 3"]
    conf1: Float[Tensor, "h1 w1"] | None
    desc1: Float[Tensor, "h1 w1 d"] | None
    desc_conf1: Float[Tensor, "h1 w1"] | None
    pts3d2_in_view1: Float[Tensor, "h2 w2 3"]
    conf2: Float[Tensor, "h2 w2"] | None
    desc2: Float[Tensor, "h2 w2 d"] | None
    desc_conf2: Float[Tensor, "h2 w2"] | None

    @classmethod
    def from_outputs(
        cls, outputs1: dict[str, Tensor], outputs2: dict[str, Tensor], row: int
    ) -> PairPrediction:
        """Pick one row of the two heads' batched output dictionaries."""

        def pick(outputs: dict[str, Tensor], key: str) -> Tensor | None:
            return outputs[key][row] if key in outputs else None

        return cls(
            pts3d1=outputs1["pts3d"][row],
            conf1=pick(outputs1, "conf"),
            desc1=pick(outputs1, "desc"),
            desc_conf1=pick(outputs1, "desc_conf"),
            pts3d2_in_view1=outputs2["pts3d"][row],
            conf2=pick(outputs2, "conf"),
            desc2=pick(outputs2, "desc"),
            desc_conf2=pick(outputs2, "desc_conf"),
        )

    def to(self, device: torch.device | str) -> PairPrediction:
        """The same maps on another device."""
        maps = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        moved = {name: value.to(device) for name, value in maps.items() if value is not None}
        return dataclasses.replace(self, **moved)


@dataclass(frozen=True)
class PairDescriptors:
    """Descriptors of a pair, channel-last float32, in network pixels of each image's natural orientation.

    Attributes:
        desc1: unit vectors.
        desc_conf1: their confidence; None if the network has none.
        desc2: of view 2.
        desc_conf2: of view 2.
    """

    desc1: Float[Tensor, "h1 w1 d"]
    desc_conf1: Float[Tensor, "h1 w1"] | None
    desc2: Float[Tensor, "h2 w2 d"]
    desc_conf2: Float[Tensor, "h2 w2"] | None
