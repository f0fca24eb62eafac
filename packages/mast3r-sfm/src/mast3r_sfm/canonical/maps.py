"""Streaming sums behind a canonical view (spec 30 section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .anchors import anchor_grid_shape

CanonicalMode = Literal["avg-angle", "avg-reldepth"]

#: Confidences start at 1; this makes their weights start just above 0, as upstream does.
CONFIDENCE_FLOOR = 0.999


@dataclass(frozen=True)
class CanonicalMaps:
    """The canonical maps of one image.

    Attributes:
        pts3d: (h, w, 3) points in the image's own camera frame, confidence-weighted mean.
        relative_depth: (h, w) depth of each pixel divided by that of its block's centre; 1 at the centres.
        conf: (h, w) mean confidence above the floor, so about 1 less than the network's.
    """

    pts3d: Float[Tensor, "h w 3"]
    relative_depth: Float[Tensor, "h w"]
    conf: Float[Tensor, "h w"]


def _of_block_centers(values: Float[Tensor, "m h w c"], subsample: int) -> Float[Tensor, "m h w c"]:
    """The value at the centre of each pixel's block."""
    half = subsample // 2
    centers = values[:, half::subsample, half::subsample]
    return centers.repeat_interleave(subsample, 1).repeat_interleave(subsample, 2)


class CanonicalSums:
    """Sums over predictions from which the canonical maps follow; memory does not grow with their number."""

    def __init__(self, shape: tuple[int, int], subsample: int, mode: CanonicalMode) -> None:
        anchor_grid_shape(shape, subsample)
        self.shape, self.subsample, self.mode = shape, subsample, mode
        self.count = 0
        self._sums: Float[Tensor, "h w 7"] | None = None

    def add(self, pts3d: Float[Tensor, "m h w 3"], conf: Float[Tensor, "m h w"]) -> None:
        """Add predictions of the image as its own reference."""
        weight = (conf - CONFIDENCE_FLOOR)[..., None]
        center = _of_block_centers(pts3d, self.subsample)
        center_depth = center[..., 2:].clamp_min(torch.finfo(pts3d.dtype).eps)
        if self.mode == "avg-angle":
            radius = (pts3d - center)[..., :2].norm(dim=-1, keepdim=True).clamp_min(1e-8)
            slope = torch.atan((pts3d[..., 2:] - center_depth) / radius)
        else:
            radius = torch.zeros_like(weight)
            slope = pts3d[..., 2:] / center_depth
        terms = torch.cat((weight * pts3d, weight, weight * weight, weight * slope, radius), -1).sum(0)
        self._sums = terms if self._sums is None else self._sums + terms
        self.count += len(pts3d)

    def maps(self) -> CanonicalMaps:
        """The maps of everything added so far."""
        if self._sums is None:
            raise RuntimeError("no prediction was added")
        points, weight, square, slope, radius = torch.split(self._sums, [3, 1, 1, 1, 1], -1)
        canonical = points / weight
        mean_slope = (slope / weight)[..., 0]
        if self.mode == "avg-angle":
            center_depth = _of_block_centers(canonical[None, ..., 2:], self.subsample)[0, ..., 0]
            relative = 1 + (radius[..., 0] / self.count) * torch.tan(mean_slope) / center_depth
        else:
            relative = mean_slope
        return CanonicalMaps(pts3d=canonical, relative_depth=relative, conf=(square / weight)[..., 0])
