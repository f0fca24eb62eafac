"""Pixel losses weighed by the predicted confidence (spec 40 section 8.5)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mast3r_model import ConfigError
from mast3r_train.losses.base import (
    Batch,
    Details,
    Loss,
    PixelLoss,
    float_detail,
    pixels_of,
    reduce_losses,
    select,
)


@dataclass(frozen=True, repr=False)
class ConfLoss(Loss):
    """Mean of ``loss * conf - alpha * log(conf)`` over the pixels of each view, summed over the views.

    Attributes:
        pixel_loss: The loss per pixel, such as `Regr3D`.
        alpha: How much confidence is worth.
        loss_in_log: If neither ``False`` nor ``None``: set on the pixel loss (upstream's published commands
            give it here).
    """

    pixel_loss: PixelLoss
    alpha: float = 1.0
    loss_in_log: bool | str | None = False

    def __post_init__(self) -> None:
        if not isinstance(self.pixel_loss, PixelLoss):
            raise ConfigError(
                f"ConfLoss needs a loss per pixel such as Regr3D(L21), got {self.pixel_loss!r}",
                hint="weigh the ConfLoss and not what is inside: 2 * ConfLoss(Regr3D(L21))",
            )
        if self.alpha <= 0:
            raise ConfigError(f"ConfLoss needs alpha > 0, got {self.alpha}")
        self._unreduced()

    def _unreduced(self) -> PixelLoss:
        loss = self.pixel_loss.with_reduction("none")
        if self.loss_in_log is False or self.loss_in_log is None:
            return loss
        if "loss_in_log" not in {field.name for field in dataclasses.fields(loss)}:  # type: ignore[arg-type]
            raise ConfigError(f"{loss!r} has no option loss_in_log")
        return dataclasses.replace(loss, loss_in_log=self.loss_in_log)  # type: ignore[type-var]

    def compute_loss(
        self, gt1: Batch, gt2: Batch, pred1: Batch, pred2: Batch, **options: Any
    ) -> tuple[Tensor, Details]:
        """Compute the loss; predictions carry ``conf`` (batch, height, width) > 0."""
        ((losses1, mask1), (losses2, mask2)), details = self._unreduced()(gt1, gt2, pred1, pred2, **options)
        value1 = confidence_weighted(losses1, select(pred1["conf"].float(), pixels_of(mask1)), self.alpha)
        value2 = confidence_weighted(losses2, select(pred2["conf"].float(), pixels_of(mask2)), self.alpha)
        # The second key lacks an underscore upstream; logs stay comparable.
        return value1 + value2, {
            "conf_loss_1": float_detail(value1),
            "conf_loss2": float_detail(value2),
            **details,
        }


def confidence_weighted(losses: Tensor, confidence: Tensor, alpha: float) -> Tensor:
    """Mean of ``loss * conf - alpha * log(conf)``; of nothing: 0, attached to the graph."""
    return reduce_losses(losses * confidence - alpha * confidence.log(), "mean")
