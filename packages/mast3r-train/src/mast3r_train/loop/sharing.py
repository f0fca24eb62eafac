"""How processes share the model that they train: alone, a copy each (DDP), or a part each (FSDP2)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mast3r_train.loop.ranks import Ranks

LOGGER = logging.getLogger("mast3r.train")


class Sharing:
    """One process has the model for itself; the base of the other two ways.

    The model stays what it is and goes by its own names; only the forward pass of training and what touches
    all weights at once come through here.
    """

    def trained(self, model: nn.Module) -> nn.Module:
        """What the forward pass of training calls in place of the model."""
        return model

    def micro_step(self, model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward of a micro-batch; ``last``: the update follows."""
        return nullcontext()

    def clip_gradients(self, model: nn.Module, limit: float) -> float:
        """Scale the gradients down to a norm of ``limit``; returns the norm before, the same on all ranks."""
        return float(nn.utils.clip_grad_norm_(model.parameters(), limit))

    def model_state(self, model: nn.Module) -> dict[str, Any]:
        """Whole weights by name, on rank 0 at least."""
        return model.state_dict()

    def optimizer_state(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The whole optimizer's state by position, as torch's ``state_dict``, on rank 0 at least."""
        return optimizer.state_dict()

    def load(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        model_state: Mapping[str, Any],
        optimizer_state: Mapping[str, Any],
    ) -> None:
        """The inverse of :meth:`model_state` and :meth:`optimizer_state`; every rank gives whole states.

        Raises:
            RuntimeError, ValueError: the states do not fit.
        """
        model.load_state_dict(model_state, strict=True)
        optimizer.load_state_dict(dict(optimizer_state))


class Replicated(Sharing):
    """Each process has the whole model; the gradients are averaged in the backward pass.

    The weights of rank 0 are the start of all. ``mask_token`` is never used, hence
    ``find_unused_parameters`` (spec 40 section 9.1).
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._wrapped = DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )

    def trained(self, model: nn.Module) -> nn.Module:
        return self._wrapped

    def micro_step(self, model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        return nullcontext() if last else self._only_adding_up()

    @contextmanager
    def _only_adding_up(self) -> Iterator[None]:
        with self._wrapped.no_sync():
            yield


def share_model(model: nn.Module, device: torch.device, ranks: Ranks, *, shard: bool = False) -> Sharing:
    """Bring the model to this process' device and set up how the processes share it.

    Call it before the optimizer and any copy of the model is made: from here on all ranks have the weights
    of rank 0, and sharded weights are other tensors than those before.

    Args:
        shard: split weights, gradients and optimizer among the processes (``--fsdp``).
    """
    if ranks.world_size == 1:
        if shard:
            LOGGER.warning("--fsdp splits nothing: there is only one process")
        model.to(device)
        return Sharing()
    if shard:
        from mast3r_train.loop.sharding import Sharded

        return Sharded(model, device, ranks)
    model.to(device)
    return Replicated(model, device)
