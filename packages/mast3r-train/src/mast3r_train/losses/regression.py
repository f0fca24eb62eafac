"""Regression of 3D points, with or without invariance to shift and scale (spec 40 sections 8.2 to 8.4)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mast3r_model import ConfigError
from mast3r_train.losses.base import (
    Batch,
    Details,
    PixelLoss,
    PixelLosses,
    Reduction,
    float_detail,
    pixels_of,
    select,
)
from mast3r_train.losses.normalization import (
    Mask,
    PointNormalization,
    Points,
    joint_depth,
    joint_scale,
    log_scaled,
)
from mast3r_train.losses.pixel import PixelCriterion

_DEFAULT_SKY_LOSS = 2.0


@dataclass(frozen=True)
class PointPairs:
    """True and predicted points of both views in the frame of camera 1, float32.

    Attributes:
        true: ``pts3d`` of view 1 and of view 2, 0 where invalid.
        predicted: The network's points for them.
        valid: Pixels with a true point.
        sky: Pixels known to be sky, without a true point.
        metric: Samples whose unit is the metre, bool (batch,).
    """

    true: tuple[Points, Points]
    predicted: tuple[Points, Points]
    valid: tuple[Mask, Mask]
    sky: tuple[Mask, Mask]
    metric: Tensor

    @classmethod
    def from_batch(
        cls, gt1: Batch, gt2: Batch, pred1: Batch, pred2: Batch, *, dist_clip: float | None = None
    ) -> PointPairs:
        """Bring the ground truth into camera 1; pixels farther than ``dist_clip`` from it are invalid."""
        world2cam = torch.linalg.inv_ex(gt1["camera_pose"].float()).inverse
        true, valid, sky = [], [], []
        for view in (gt1, gt2):
            mask = view["valid_mask"]
            points = _transform(world2cam, view["pts3d"].float())
            if dist_clip is not None:
                mask = mask & (points.norm(dim=-1) <= dist_clip)
            true.append(torch.where(mask[..., None], points, 0.0))
            valid.append(mask)
            sky.append(view["sky_mask"] & ~mask if "sky_mask" in view else torch.zeros_like(mask))
        metric = gt1.get("is_metric_scale")
        if metric is None:
            metric = torch.zeros(len(valid[0]), dtype=torch.bool)
        return cls(
            true=(true[0], true[1]),
            predicted=(pred1["pts3d"].float(), pred2["pts3d_in_other_view"].float()),
            valid=(valid[0], valid[1]),
            sky=(sky[0], sky[1]),
            metric=torch.as_tensor(metric, dtype=torch.bool, device=valid[0].device),
        )

    def with_points(self, *, true: tuple[Points, Points], predicted: tuple[Points, Points]) -> PointPairs:
        """A copy with other points."""
        return dataclasses.replace(self, true=true, predicted=predicted)


@dataclass(frozen=True, repr=False)
class Regr3D(PixelLoss):
    """Distance between predicted and true points of both views, in the frame of camera 1.

    Attributes:
        criterion: Distance of two points and its reduction.
        norm_mode: Scale normalisation (`PointNormalization`); a leading ``?`` leaves metric samples alone.
        gt_scale: Keep the ground truth's scale (only predictions are normalised).
        opt_fit_gt: Accepted for upstream's expressions, without effect.
        sky_loss_value: Constant loss at sky pixels, which lowers the confidence there. ``None`` is 2 inside a
            `ConfLoss` and 0 elsewhere; a positive number outside a `ConfLoss` is an error.
        max_metric_scale: With ``?``: samples reaching this far (metres) are not metric. ``False``: no limit.
        loss_in_log: Compare log-scaled points; ``"before"``: only the truth, ahead of normalisation.
    """

    criterion: PixelCriterion
    norm_mode: str = "avg_dis"
    gt_scale: bool = False
    opt_fit_gt: bool = False
    sky_loss_value: float | None = None
    max_metric_scale: float | Literal[False] = False
    loss_in_log: bool | str | None = False

    def __post_init__(self) -> None:
        if not isinstance(self.criterion, PixelCriterion):
            raise ConfigError(
                f"{type(self).__name__} needs a pixel criterion such as L21, got {self.criterion!r}"
            )
        PointNormalization.from_mode(self._mode)

    @property
    def _mode(self) -> str:
        return self.norm_mode.removeprefix("?")

    def with_reduction(self, reduction: Reduction) -> Regr3D:
        return dataclasses.replace(self, criterion=self.criterion.with_reduction(reduction))

    def compute_loss(
        self,
        gt1: Batch,
        gt2: Batch,
        pred1: Batch,
        pred2: Batch,
        *,
        dist_clip: float | None = None,
        **_: Any,
    ) -> tuple[Tensor | PixelLosses, Details]:
        """Compute the loss; ``dist_clip`` (in the ground truth's unit) drops true points farther than it."""
        pairs = PointPairs.from_batch(gt1, gt2, pred1, pred2, dist_clip=dist_clip)
        if self.loss_in_log == "before":
            true = (log_scaled(pairs.true[0]), log_scaled(pairs.true[1]))
            pairs = pairs.with_points(true=true, predicted=pairs.predicted)
        pairs = self.align(self._normalize(pairs))
        sky_loss = self._sky_loss()
        (loss1, mask1), (loss2, mask2) = (self._view_loss(pairs, view, sky_loss) for view in (0, 1))
        name = type(self).__name__
        details: Details = {
            f"{name}_pts3d_1": float_detail(loss1.mean()),
            f"{name}_pts3d_2": float_detail(loss2.mean()),
        }
        if self.criterion.reduction == "none":
            return ((loss1, mask1), (loss2, mask2)), details
        return loss1 + loss2, details

    def align(self, pairs: PointPairs) -> PointPairs:
        """What an invariant variant does to the normalised points; here nothing."""
        return pairs

    def _normalize(self, pairs: PointPairs) -> PointPairs:
        normalization = PointNormalization.from_mode(self._mode)
        if normalization is None:
            return pairs
        true, predicted = pairs.true, pairs.predicted
        if not self.gt_scale:
            true, true_factor = normalization(*pairs.true, *pairs.valid)
            predicted = (predicted[0] / true_factor, predicted[1] / true_factor)
        keeps_metric = self._keeps_metric(pairs)
        if not bool(keeps_metric.all()):
            normalized, _ = normalization(*pairs.predicted, *pairs.valid)
            kept = keeps_metric[:, None, None, None]
            predicted = (
                torch.where(kept, predicted[0], normalized[0]),
                torch.where(kept, predicted[1], normalized[1]),
            )
        return pairs.with_points(true=true, predicted=predicted)

    def _keeps_metric(self, pairs: PointPairs) -> Tensor:
        """Samples (batch,) whose predictions are compared in metres."""
        if not self.norm_mode.startswith("?"):
            return torch.zeros_like(pairs.metric)
        if not self.max_metric_scale:
            return pairs.metric
        # Invalid points are 0, so they never are the farthest.
        farthest = torch.maximum(*(points.norm(dim=-1).amax(dim=(1, 2)) for points in pairs.true))
        return pairs.metric & (farthest < self.max_metric_scale)

    def _sky_loss(self) -> float:
        wrapped = self.criterion.reduction == "none"
        if self.sky_loss_value is None:
            return _DEFAULT_SKY_LOSS if wrapped else 0.0
        if self.sky_loss_value > 0 and not wrapped:
            raise ConfigError(
                f"{type(self).__name__}(sky_loss_value={self.sky_loss_value:g}) stands outside a ConfLoss",
                hint="a constant loss at sky pixels only acts on confidence: "
                "wrap it, ConfLoss(...), or give sky_loss_value=0",
            )
        return self.sky_loss_value

    def _view_loss(self, pairs: PointPairs, view: int, sky_loss: float) -> tuple[Tensor, Mask]:
        mask = pairs.valid[view] | pairs.sky[view] if sky_loss > 0 else pairs.valid[view]
        pixels = pixels_of(mask)
        predicted, true = select(pairs.predicted[view], pixels), select(pairs.true[view], pixels)
        if self.loss_in_log and self.loss_in_log != "before":
            predicted, true = log_scaled(predicted), log_scaled(true)
        losses = self.criterion(predicted, true)
        if sky_loss > 0:
            losses = losses.masked_fill(select(pairs.sky[view], pixels), sky_loss)
        return losses, mask


class _InvariantRegr3D(Regr3D):
    """Common to the invariant variants: the points are aligned after normalisation."""

    def compute_loss(
        self, gt1: Batch, gt2: Batch, pred1: Batch, pred2: Batch, **options: Any
    ) -> tuple[Tensor | PixelLosses, Details]:
        if options.get("dist_clip") is not None:
            raise ConfigError(f"{type(self).__name__} takes no dist_clip", hint="only Regr3D clips distances")
        return super().compute_loss(gt1, gt2, pred1, pred2, **options)


@dataclass(frozen=True, repr=False)
class Regr3D_ShiftInv(_InvariantRegr3D):  # noqa: N801 - the published expressions' name
    """`Regr3D` after subtracting the joint median depth from the ground truth and from the prediction."""

    def align(self, pairs: PointPairs) -> PointPairs:
        return _without_depth_shift(pairs)


@dataclass(frozen=True, repr=False)
class Regr3D_ScaleInv(_InvariantRegr3D):  # noqa: N801
    """`Regr3D` after dividing out the median distance to the median point; with ``gt_scale``, fitting it."""

    def align(self, pairs: PointPairs) -> PointPairs:
        return _without_scale(pairs, gt_scale=self.gt_scale)


@dataclass(frozen=True, repr=False)
class Regr3D_ScaleShiftInv(_InvariantRegr3D):  # noqa: N801
    """`Regr3D` without the shift of `Regr3D_ShiftInv`, then without the scale of `Regr3D_ScaleInv`."""

    def align(self, pairs: PointPairs) -> PointPairs:
        return _without_scale(_without_depth_shift(pairs), gt_scale=self.gt_scale)


def _transform(matrix: Tensor, points: Points) -> Points:
    rotated = torch.einsum("bij,bhwj->bhwi", matrix[:, :3, :3], points)
    return rotated + matrix[:, None, None, :3, 3]


def _without_depth_shift(pairs: PointPairs) -> PointPairs:
    def shifted(points: tuple[Points, Points]) -> tuple[Points, Points]:
        depth = joint_depth(*points, *pairs.valid)
        shift = torch.nn.functional.pad(depth[:, None], (2, 0))[:, None, None, :]
        return points[0] - shift, points[1] - shift

    return pairs.with_points(true=shifted(pairs.true), predicted=shifted(pairs.predicted))


def _without_scale(pairs: PointPairs, *, gt_scale: bool) -> PointPairs:
    true_scale = joint_scale(*pairs.true, *pairs.valid)
    predicted_scale = joint_scale(*pairs.predicted, *pairs.valid).clamp(1e-3, 1e3)
    (true1, true2), (predicted1, predicted2) = pairs.true, pairs.predicted
    if gt_scale:
        fit = true_scale / predicted_scale
        return pairs.with_points(true=pairs.true, predicted=(predicted1 * fit, predicted2 * fit))
    return pairs.with_points(
        true=(true1 / true_scale, true2 / true_scale),
        predicted=(predicted1 / predicted_scale, predicted2 / predicted_scale),
    )
