"""The model and what trains it: forward and loss of a batch, and the update (spec 40 sections 9.3, 9.5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mast3r_model import CheckpointError, Precision, view_to_device
from mast3r_train.batches import symmetrize_batch
from mast3r_train.loop.averaging import AveragedWeights
from mast3r_train.loop.loading import Batch
from mast3r_train.loop.lora import LoraAdapters
from mast3r_train.loop.sharing import Sharing

Criterion = Callable[..., tuple[Tensor, Mapping[str, Any]]]
"""``criterion(gt1, gt2, pred1, pred2) -> (scalar, details)`` (spec 40 section 7)."""


@dataclass(frozen=True)
class BatchLoss:
    """Loss of one micro-batch.

    Attributes:
        loss: scalar, attached to the graph.
        value: the same as a number.
        details: the criterion's parts by name.
    """

    loss: Tensor
    value: float
    details: dict[str, float]


@dataclass
class Learner:
    """A model under training.

    Attributes:
        model: the network, on the precision's device.
        optimizer: over the model's parameters.
        scaler: enabled for fp16 only.
        precision: device and dtype of the forward pass.
        accum_iter: micro-batches per update.
        clip_grad: largest gradient norm, or None.
        average: moving average of the weights, or None.
        sharing: how the processes that train together share the model.
        adapters: the model's LoRA adapters, or None.
        frozen: modules of the model that are not trained, and stay in eval mode.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    precision: Precision
    accum_iter: int = 1
    clip_grad: float | None = None
    average: AveragedWeights | None = None
    sharing: Sharing = field(default_factory=Sharing)
    adapters: LoraAdapters | None = None
    frozen: tuple[nn.Module, ...] = ()

    @property
    def trained_model(self) -> nn.Module:
        """What the forward pass of training calls: the model, or what shares its gradients with others."""
        return self.sharing.trained(self.model)

    @property
    def evaluated_model(self) -> nn.Module:
        """The model that is evaluated: the average if there is one."""
        return self.model if self.average is None else self.average.model

    def train_mode(self) -> None:
        """Put the model into train mode, but for what is frozen."""
        self.model.train()
        for module in self.frozen:
            module.eval()

    def usable_weights(self, state: dict[str, Any]) -> dict[str, Any]:
        """Whole weights of the model in upstream's layout: with the adapters added to what they adapt."""
        return state if self.adapters is None or not state else self.adapters.merged(state)

    def own_weights(self, content: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """The inverse of :meth:`usable_weights`, from what a checkpoint holds.

        Raises:
            CheckpointError: it was written with other adapters than this model has.
        """
        kept = content.get("lora")
        if self.adapters is not None:
            return self.adapters.restored(content["model"], kept, path)
        if kept is not None:
            raise CheckpointError(
                f"{path} is of a run with --lora {kept['rank']}, and this one has no --lora",
                hint=f"give it again, or another --output_dir with --pretrained {path}",
            )
        return content["model"]

    def micro_step(self, *, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward of a micro-batch; ``last``: :meth:`update` follows."""
        return self.sharing.micro_step(self.model, last=last)

    def backward(self, batch_loss: BatchLoss) -> None:
        """Add the micro-batch's share to the gradients."""
        self.scaler.scale(batch_loss.loss / self.accum_iter).backward()  # type: ignore[no-untyped-call]

    def update(self) -> float:
        """Step on the accumulated gradients and clear them; returns their norm before clipping.

        With a norm that is not finite the weights stay as they are: fp16's scaler skips such a step, and in
        other precisions the caller must stop.
        """
        self.scaler.unscale_(self.optimizer)
        limit = math.inf if self.clip_grad is None else self.clip_grad
        norm = self.sharing.clip_gradients(self.model, limit)
        if math.isfinite(norm) or self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
            if self.average is not None and math.isfinite(norm):
                self.average.update(self.model)
        return norm


def batch_loss(model: nn.Module, criterion: Criterion, batch: Batch, precision: Precision) -> BatchLoss:
    """Forward pass in the given precision and loss in float32 on a batch with each pair in both orders."""
    view1, view2 = symmetrize_batch(*(view_to_device(view, precision.device) for view in batch))
    with precision.autocast():
        pred1, pred2 = model(view1, view2)
    return measured(*criterion(view1, view2, pred1, pred2))


StepLoss = Callable[[nn.Module, Criterion, Batch, Precision], BatchLoss]
"""What a micro-step computes: :func:`batch_loss`, or another task's own."""


def measured(loss: Tensor, details: Mapping[str, Any]) -> BatchLoss:
    """The scalar loss and its parts with their values; waits for the device once."""
    numbers = _numbers({"loss": loss, **details})
    value = numbers.pop("loss")
    return BatchLoss(loss, value, numbers)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Tensors and numbers as numbers; all tensors of a device wait for it once."""
    tensors = {name: value.detach().double() for name, value in values.items() if isinstance(value, Tensor)}
    known = dict(zip(tensors, torch.stack(list(tensors.values())).tolist(), strict=True)) if tensors else {}
    return {name: known[name] if name in known else float(value) for name, value in values.items()}
