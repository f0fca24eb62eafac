"""What the network and the matcher say about two images: the input of every alignment (spec 30 section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_match import Correspondences


@dataclass(frozen=True, eq=False)
class TwoViewPrediction:
    """Both passes of the network over the images (image0, image1), and their matches.

    All in network pixels, float32. ``pts3d_ab`` are the points of image a's pixels in the camera frame of
    image b (x right, y down, z forward), ``conf_ab`` their confidences. In upstream's words
    X11 = pts3d_00, X21 = pts3d_10, X22 = pts3d_11, X12 = pts3d_01.

    Attributes:
        image0: number of image 0.
        image1: number of image 1.
        pts3d_00: (h0, w0, 3), from the pass with image 0 as reference view.
        conf_00: (h0, w0).
        pts3d_10: (h1, w1, 3), from the same pass.
        conf_10: (h1, w1).
        pts3d_11: (h1, w1, 3), from the pass with image 1 as reference view.
        conf_11: (h1, w1).
        pts3d_01: (h0, w0, 3), from the same pass.
        conf_01: (h0, w0).
        matches: pixels of image 0 and image 1 that see the same point, each pair once.
    """

    image0: int
    image1: int
    pts3d_00: Float[Tensor, "h0 w0 3"]
    conf_00: Float[Tensor, "h0 w0"]
    pts3d_10: Float[Tensor, "h1 w1 3"]
    conf_10: Float[Tensor, "h1 w1"]
    pts3d_11: Float[Tensor, "h1 w1 3"]
    conf_11: Float[Tensor, "h1 w1"]
    pts3d_01: Float[Tensor, "h0 w0 3"]
    conf_01: Float[Tensor, "h0 w0"]
    matches: Correspondences

    @classmethod
    def from_maps(
        cls, images: tuple[int, int], maps: Mapping[str, Tensor], matches: Correspondences
    ) -> TwoViewPrediction:
        """From the eight maps by name, and more names that do not count."""
        fields: dict[str, Any] = {name: maps[name] for name in MAPS}
        return cls(image0=images[0], image1=images[1], **fields, matches=matches)

    @property
    def score(self) -> float:
        """Geometric mean of the four maps' mean confidences (spec 30 section 3.2, ``score_conf``)."""
        confidences = self.conf_00, self.conf_01, self.conf_10, self.conf_11
        return float(torch.stack([conf.mean() for conf in confidences]).log().mean().exp())

    def to(self, device: torch.device | str) -> TwoViewPrediction:
        """The same on another device."""
        matches = self.matches
        moved = Correspondences(matches.xy0.to(device), matches.xy1.to(device), matches.confidence.to(device))
        maps = {name: getattr(self, name).to(device) for name in MAPS}
        return TwoViewPrediction.from_maps((self.image0, self.image1), maps, moved)

    def swapped(self) -> TwoViewPrediction:
        """The same pair with the images' roles exchanged."""
        return TwoViewPrediction(
            image0=self.image1,
            image1=self.image0,
            pts3d_00=self.pts3d_11,
            conf_00=self.conf_11,
            pts3d_10=self.pts3d_01,
            conf_10=self.conf_01,
            pts3d_11=self.pts3d_00,
            conf_11=self.conf_00,
            pts3d_01=self.pts3d_10,
            conf_01=self.conf_10,
            matches=matches_swapped(self.matches),
        )


MAPS = ("pts3d_00", "conf_00", "pts3d_10", "conf_10", "pts3d_11", "conf_11", "pts3d_01", "conf_01")
"""The eight maps of a `TwoViewPrediction`, in the order of its fields."""


def matches_swapped(matches: Correspondences) -> Correspondences:
    """The same matches with the images' roles exchanged, sorted by pixel of the new image 0, then 1."""
    (x0, y0), (x1, y1) = matches.xy1.T, matches.xy0.T
    order = torch.arange(len(matches.xy0), device=matches.xy0.device)
    for values in (x1, y1, x0, y0):  # the last sort decides first
        order = order[values[order].argsort(stable=True)]
    return Correspondences(matches.xy1[order], matches.xy0[order], matches.confidence[order])
