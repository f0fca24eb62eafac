"""The scale and the centre of a pair of point clouds (spec 40 sections 8.3 and 8.4).

Everything here is per sample and joint over the two views: only valid pixels of both count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_train.losses.base import unknown_choice

Points = Float[Tensor, "batch height width 3"]
Mask = Bool[Tensor, "batch height width"]
Factor = Float[Tensor, "batch 1 1 1"]

Statistic = Literal["avg", "median", "sqrt"]
DistanceMode = Literal["dis", "log1p", "warp-log1p"]

_SMALLEST = 1e-8


@dataclass(frozen=True)
class PointNormalization:
    """How a pair of clouds is brought to unit scale.

    Attributes:
        statistic: Mean, lower median (no gradient) or squared mean root of the distances to the origin.
        distance: For ``avg``: the distance, its log(1 + d), or the same on points warped to that length.
    """

    statistic: Statistic
    distance: DistanceMode = "dis"

    @classmethod
    def from_mode(cls, mode: str) -> Self | None:
        """Read upstream's ``norm_mode`` without its leading ``?``; ``""`` means no normalisation.

        Raises:
            ConfigError: The mode is not one of the table in spec 40 section 8.3.
        """
        if not mode:
            return None
        statistic, _, distance = mode.partition("_")
        if statistic in ("median", "sqrt"):
            return cls(statistic)  # type: ignore[arg-type]
        if statistic == "avg" and distance in get_args(DistanceMode):
            return cls("avg", distance)  # type: ignore[arg-type]
        known = ("avg_dis", "avg_log1p", "avg_warp-log1p", "median_dis", "sqrt_dis", "")
        raise unknown_choice("norm_mode", mode, known)

    def __call__(
        self, points1: Points, points2: Points, valid1: Mask, valid2: Mask
    ) -> tuple[tuple[Points, Points], Factor]:
        """The clouds at unit scale (warped first, if the mode warps), and the factor they were divided by."""
        factor = self.factor(points1, points2, valid1, valid2)
        return (self.warp(points1, valid1) / factor, self.warp(points2, valid2) / factor), factor

    def warp(self, points: Points, valid: Mask) -> Points:
        """The points as they are divided by the factor: moved to the length log(1 + d) if the mode warps."""
        if self.distance != "warp-log1p":
            return points
        return log_scaled(torch.where(valid[..., None], points, 0.0))

    def factor(self, points1: Points, points2: Points, valid1: Mask, valid2: Mask) -> Factor:
        """The scale of the unwarped clouds, at least 1e-8; 1 for medians and roots of nothing."""
        distance, valid = _joint_distances(points1, points2, valid1, valid2)
        count = valid.sum(dim=1)
        match self.statistic:
            case "avg":
                measure = torch.log1p(distance) if "log1p" in self.distance else distance
                factor = measure.sum(dim=1) / (count + _SMALLEST)
            case "median":
                medians = lower_median(distance.detach(), valid, dim=1)
                factor = torch.where(count > 0, medians, 1.0)
            case "sqrt":
                # The root has no gradient at 0, and masked pixels are 0: both are kept away from it.
                roots = torch.where(valid, distance.clamp(min=1e-12).sqrt(), 0.0)
                factor = torch.where(count > 0, (roots.sum(dim=1) / count.clamp(min=1)) ** 2, 1.0)
        return factor.clamp(min=_SMALLEST)[:, None, None, None]


def log_scaled(points: Float[Tensor, "*any 3"]) -> Float[Tensor, "*any 3"]:
    """Points moved along their ray from length d to length log(1 + d)."""
    length = points.norm(dim=-1, keepdim=True)
    return points * (torch.log1p(length) / length.clamp(min=_SMALLEST))


def joint_depth(
    points1: Points, points2: Points, valid1: Mask, valid2: Mask, *, quantile: float = 0.5
) -> Float[Tensor, " batch"]:
    """Quantile of z: the lower median for 0.5, else interpolated linearly; 0 for nothing; no gradient."""
    depth = _joint(points1[..., 2].detach(), points2[..., 2].detach())
    valid = _joint(valid1, valid2)
    if quantile == 0.5:
        value = lower_median(depth, valid, dim=1)
    else:
        value = torch.nanquantile(depth.masked_fill(~valid, torch.nan), quantile, dim=1)
    return torch.where(valid.any(dim=1), value, 0.0)


def joint_center(
    points1: Points, points2: Points, valid1: Mask, valid2: Mask
) -> Float[Tensor, "batch 1 1 3"]:
    """Lower median of each coordinate; 0 for nothing; no gradient."""
    points = _joint(points1.detach(), points2.detach())
    valid = _joint(valid1, valid2)
    center = lower_median(points, valid[..., None], dim=1)
    return torch.where(valid.any(dim=1)[:, None], center, 0.0)[:, None, None, :]


def joint_scale(points1: Points, points2: Points, valid1: Mask, valid2: Mask) -> Factor:
    """Lower median of the distance to `joint_center`; 1 where that is 0 or undefined; no gradient."""
    center = joint_center(points1, points2, valid1, valid2)
    distance, valid = _joint_distances(points1.detach() - center, points2.detach() - center, valid1, valid2)
    scale = lower_median(distance, valid, dim=1)
    return torch.where(scale > 0, scale, 1.0)[:, None, None, None]  # NaN > 0 is false


def lower_median(values: Tensor, valid: Bool[Tensor, ...], *, dim: int) -> Tensor:
    """The smaller of the two middle values for even counts; NaN for nothing."""
    return values.masked_fill(~valid, torch.nan).nanmedian(dim=dim).values


def _joint(map1: Tensor, map2: Tensor) -> Tensor:
    """Two maps (batch, height, width, ...) as one row of pixels per sample."""
    return torch.cat((map1.flatten(1, 2), map2.flatten(1, 2)), dim=1)


def _joint_distances(
    points1: Points, points2: Points, valid1: Mask, valid2: Mask
) -> tuple[Float[Tensor, "batch pixels"], Bool[Tensor, "batch pixels"]]:
    """Distances to the origin, 0 (and without gradient) at invalid pixels."""
    valid = _joint(valid1, valid2)
    points = torch.where(valid[..., None], _joint(points1, points2), 0.0)
    return points.norm(dim=-1), valid
