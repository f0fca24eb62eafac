"""What is trained of a network, and how its blocks compute: the options of fine-tuning in one place."""

from __future__ import annotations

import torch
from torch import nn

from croco_backbone import CroCoTrunk
from mast3r_model import ConfigError
from mast3r_train.config import TrainConfig
from mast3r_train.loop.compiling import compile_blocks
from mast3r_train.loop.freezing import freeze_parameters, frozen_modules, log_trained
from mast3r_train.loop.lora import LoraAdapters, add_adapters


def prepare_model(
    model: nn.Module, config: TrainConfig, device: torch.device
) -> tuple[LoraAdapters | None, tuple[nn.Module, ...]]:
    """Freeze, adapt and compile a network as the settings say, in place, before its optimizer is made.

    Args:
        device: where it will be trained.

    Returns:
        Its adapters if it got some, and the modules that stay in eval mode because they are frozen.

    Raises:
        ConfigError: a setting that this network, or this machine, cannot serve.
    """
    freeze_parameters(model, config.freeze)
    frozen = frozen_modules(model)
    adapters = None
    if config.lora is not None:
        adapters = add_adapters(
            model,
            config.lora,
            alpha=config.lora_alpha,
            targets=config.lora_targets,
            train_heads=config.lora_train_heads,
            base=config.pretrained,
        )
    log_trained(model)
    if config.gradient_checkpointing:
        if not isinstance(model, CroCoTrunk):
            raise ConfigError(
                f"--gradient_checkpointing: {type(model).__name__} cannot compute its blocks again",
                hint="leave --gradient_checkpointing out",
            )
        model.gradient_checkpointing = True
    if config.compile:
        compile_blocks(model, device)
    return adapters, frozen
