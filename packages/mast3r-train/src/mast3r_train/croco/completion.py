"""The pretraining task: hide most of image 1 and predict it (spec 40 section 11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from croco_backbone import CroCoNet, CroCoOutput, MaskedMSE
from mast3r_model import ConfigError, Precision, parse_expression
from mast3r_train.loop.learner import BatchLoss, Criterion, measured
from mast3r_train.loop.loading import Batch

_MODEL_NAME = "CroCoNet"


def build_croco(text: str) -> CroCoNet:
    """Build the network of an expression such as ``CroCoNet(pos_embed='RoPE100')``.

    Raises:
        ExpressionError: no call with literal keywords.
        ConfigError: another network, or keywords that it does not have or cannot be built with.
    """
    name, keywords = parse_expression(text).call()
    if name != _MODEL_NAME:
        raise ConfigError(
            f"--model {name}(...) cannot be pretrained by completion",
            hint=f"give {_MODEL_NAME}(...); mast3r train --pretrained then starts other models from it",
        )
    try:
        return CroCoNet(**keywords)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"--model {text.strip()}: {error}") from error


def check_image_size(model: CroCoNet, size: int | None, transforms: str) -> None:
    """The transformed images must be those that the model is for.

    Raises:
        ConfigError: they are not.
    """
    wanted = tuple(model.patch_embed.img_size)
    if wanted != (size, size):
        got = "no crop, so images of any size" if size is None else f"images of {size}x{size}"
        raise ConfigError(
            f"--transforms {transforms!r} gives {got}, the model takes {wanted[0]}x{wanted[1]}",
            hint=f"use a crop{wanted[0]}, or CroCoNet(img_size=...)",
        )


class CompletionLoss:
    """`MaskedMSE` on the network's output, in the form of the loop's criteria.

    Args:
        norm_pix_loss: whether the true patches are normalised first.
    """

    def __init__(self, norm_pix_loss: bool) -> None:
        self.loss = MaskedMSE(norm_pix_loss=norm_pix_loss, masked=True)

    def __call__(self, output: CroCoOutput) -> tuple[Tensor, Mapping[str, Any]]:
        return self.loss(*output), {}


def completion_step(model: nn.Module, criterion: Criterion, batch: Batch, precision: Precision) -> BatchLoss:
    """Forward pass AND loss in the given precision; the mask is drawn by the model.

    The mask's noise is ``torch.rand(batch, tokens)`` from the global generator of the device.
    """
    image1, image2 = (_on_device(view["img"], precision.device) for view in batch)
    with precision.autocast():
        loss, details = criterion(model(image1, image2))
    return measured(loss, details)


def _on_device(image: Tensor, device: torch.device) -> Tensor:
    return image.to(device, non_blocking=True)
