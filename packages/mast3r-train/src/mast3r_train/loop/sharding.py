"""FSDP2 (``--fsdp``): each process keeps a part of the weights, gradients and optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mast3r_model import ConfigError
from mast3r_train.loop.blocks import BLOCK_LISTS, transformer_blocks
from mast3r_train.loop.ranks import Ranks
from mast3r_train.loop.sharing import Sharing


class Sharded(Sharing):
    """The blocks of encoder and decoders, and the rest of the model, each split among the processes.

    The weights of rank 0 are the start of all. Checkpoints are those of one process: whole states, the
    optimizer's by position.

    Args:
        model: on the CPU; only its parts reach the device.

    Raises:
        ConfigError: the model has no transformer blocks.
    """

    def __init__(self, model: nn.Module, device: torch.device, ranks: Ranks) -> None:
        # Each block is gathered by itself, right before it is needed.
        blocks = list(transformer_blocks(model).values())
        if not blocks:
            raise ConfigError(
                f"--fsdp splits transformer blocks, and {type(model).__name__} has none of "
                f"{', '.join(BLOCK_LISTS)}",
                hint="leave --fsdp out",
            )
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.data, 0)
        mesh = init_device_mesh(device.type, (ranks.world_size,))
        for module in (*blocks, model):
            fully_shard(module, mesh=mesh)
        self._is_main = ranks.is_main

    @contextmanager
    def micro_step(self, model: nn.Module, *, last: bool) -> Iterator[None]:
        # Gradients are split after each micro-batch: whole ones of several would not fit either. A block of
        # the decoder returns its other input as it got it; nothing is done to that in place.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
            yield

    def clip_gradients(self, model: nn.Module, limit: float) -> float:
        norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def model_state(self, model: nn.Module) -> dict[str, Any]:
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return dict(get_model_state_dict(model, options=options))

    def optimizer_state(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        own = optimizer.state_dict()
        whole: dict[int, dict[str, Any]] = {}
        for position, values in own["state"].items():
            gathered = {name: self._whole(value) for name, value in values.items()}
            if self._is_main:  # elsewhere the whole would only take memory
                whole[position] = gathered
        return {**own, "state": whole}

    def load(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        model_state: Mapping[str, Any],
        optimizer_state: Mapping[str, Any],
    ) -> None:
        set_model_state_dict(model, dict(model_state), options=StateDictOptions(full_state_dict=True))
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        states = {
            position: {name: _like(parameters[position], value) for name, value in values.items()}
            for position, values in optimizer_state["state"].items()
            if position < len(parameters)
        }
        optimizer.load_state_dict({**optimizer_state, "state": states})

    def _whole(self, value: Any) -> Any:
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        return whole.cpu() if isinstance(whole, Tensor) else whole


def _like(parameter: Tensor, value: Any) -> Any:
    """A moment of the optimizer split as its weights are; numbers such as the step stay whole."""
    if isinstance(value, Tensor) and isinstance(parameter, DTensor) and value.shape == parameter.shape:
        return distribute_tensor(
            value.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
        )
    return value
