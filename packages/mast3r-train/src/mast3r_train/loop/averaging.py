"""An exponential moving average of the weights, kept beside the model (``--ema``)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class AveragedWeights:
    """A copy of the model whose weights follow the trained ones: ``a <- d a + (1 - d) w`` at each update.

    In the first updates the decay is ``(1 + n) / (10 + n)``, if that is smaller, so that the random initial
    weights are soon forgotten.

    Args:
        model: the model that is trained.
        decay: ``d``, between 0 and 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages: list[Tensor] = [
            average for average in self.model.parameters() if average.is_floating_point()
        ]
        weights: list[Tensor] = [
            weight.detach() for weight in model.parameters() if weight.is_floating_point()
        ]
        torch._foreach_lerp_(averages, weights, 1.0 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self.model.load_state_dict(state["model"])
        self.updates = int(state["updates"])
