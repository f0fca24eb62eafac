"""From known points of a map image to their places in the query (spec 50 D3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mast3r_match import DescriptorIndex


@dataclass(frozen=True)
class ImageDescriptors:
    """What the network says of one image of a pair, pixel by pixel.

    Attributes:
        values: unit descriptors; or 3D points, of networks without descriptors.
        confidence: of each.
        metric: by which values are compared.
    """

    values: Float[Tensor, "h w d"]
    confidence: Float[Tensor, "h w"]
    metric: Literal["dot", "l2"] = "dot"

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.values.shape[0], self.values.shape[1]

    def at(self, xy: Float[Tensor, "n 2"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
        """Values, of unit length again, and confidences, interpolated between pixels.

        Args:
            xy: pixels (x, y); outside the outer pixels' centres those are continued.
        """
        height, width = self.shape
        x, y = xy[:, 0].clamp(0, width - 1), xy[:, 1].clamp(0, height - 1)
        left, top = x.floor().clamp(max=max(width - 2, 0)), y.floor().clamp(max=max(height - 2, 0))
        values, confidence = self.values.flatten(0, 1), self.confidence.flatten()
        mixed, mixed_confidence = torch.zeros(()), torch.zeros(())
        for step_x, step_y in ((0, 0), (1, 0), (0, 1), (1, 1)):
            weight = (1 - (x - left - step_x).abs()) * (1 - (y - top - step_y).abs())
            column = (left + step_x).clamp(max=width - 1)
            pixel = ((top + step_y).clamp(max=height - 1) * width + column).long()
            mixed = mixed + weight[:, None] * values[pixel]
            mixed_confidence = mixed_confidence + weight * confidence[pixel]
        return normalize(mixed, dim=-1) if self.metric == "dot" else mixed, mixed_confidence


@dataclass(frozen=True, eq=False)
class PointMatches:
    """Points of a map image that were found in the query.

    Attributes:
        rows: which of the points.
        query_xy: (n, 2) float64 network pixels of the query.
        confidence: (n,) the lower one of both sides.
    """

    rows: Int[np.ndarray, " n"]
    query_xy: Float[np.ndarray, "n 2"]
    confidence: Float[np.ndarray, " n"]


@torch.no_grad()
def match_points(
    query: ImageDescriptors,
    map_image: ImageDescriptors,
    map_xy: Float[np.ndarray, "n 2"],
    *,
    pixel_tolerance: float,
    subpixel: bool = True,
) -> PointMatches:
    """Find points of a map image in the query: the nearest descriptor there, kept if the way back leads home.

    Only the points are looked for, and only the pixels that they lead to look back: no table of all pixels
    against all.

    Args:
        query: of the query.
        map_image: of the map image.
        map_xy: (n, 2) the points' network pixels in the map image, at any fraction of a pixel.
        pixel_tolerance: largest distance between a point and where the way back ends, exclusive, in pixels.
        subpixel: place the match at the top of a parabola through the similarities about it.
    """
    places = torch.as_tensor(map_xy, dtype=torch.float32, device=query.values.device)
    if not len(places):
        return PointMatches(np.empty(0, np.int64), np.empty((0, 2)), np.empty(0))
    descriptors, map_confidence = map_image.at(places)
    flat = query.values.flatten(0, 1)
    there = DescriptorIndex(flat, metric=query.metric).query(descriptors).index
    pixels, which = torch.unique(there.clamp_min(0), return_inverse=True)
    back = DescriptorIndex(map_image.values.flatten(0, 1), metric=query.metric).query(flat[pixels]).index
    home = torch.stack([back % map_image.shape[1], back // map_image.shape[1]], dim=1)[which]
    missed = (home.float() - places).norm(dim=1)
    kept = ((missed < pixel_tolerance) & (there >= 0)).nonzero().flatten()
    found = there[kept]
    width = query.shape[1]
    xy = torch.stack([found % width, found // width], dim=1).double()
    if subpixel:
        xy = xy + _to_the_top(query, descriptors[kept], found).double()
    confidence = torch.minimum(map_confidence[kept], query.confidence.flatten()[found])
    return PointMatches(kept.cpu().numpy(), xy.cpu().numpy(), confidence.double().cpu().numpy())


def _to_the_top(
    query: ImageDescriptors, descriptors: Float[Tensor, "n d"], pixels: Int[Tensor, " n"]
) -> Float[Tensor, "n 2"]:
    """From each best pixel to the top of the parabolas through it and its neighbours: at most by half."""
    height, width = query.shape
    x, y = pixels % width, pixels // width
    flat = query.values.flatten(0, 1)

    def similarity(step_x: int, step_y: int) -> Tensor:
        neighbour = (y + step_y).clamp(0, height - 1) * width + (x + step_x).clamp(0, width - 1)
        if query.metric == "dot":
            return (flat[neighbour] * descriptors).sum(-1)
        return -(flat[neighbour] - descriptors).square().sum(-1)

    middle = similarity(0, 0)
    left, right = similarity(-1, 0), similarity(1, 0)
    above, below = similarity(0, -1), similarity(0, 1)
    along_x = _top(left, middle, right, inner=(x > 0) & (x < width - 1))
    along_y = _top(above, middle, below, inner=(y > 0) & (y < height - 1))
    return torch.stack([along_x, along_y], dim=1)


def _top(before: Tensor, middle: Tensor, after: Tensor, *, inner: Tensor) -> Tensor:
    curvature = before - 2 * middle + after
    step = 0.5 * (before - after) / curvature
    usable = inner & (curvature < 0) & step.isfinite()
    return torch.where(usable, step.clamp(-0.5, 0.5), torch.zeros_like(step))
