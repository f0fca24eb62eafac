"""A pretraining run: the training loop with another task (spec 40 section 11)."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

from mast3r_model import resolve_device
from mast3r_train.config import TrainConfig
from mast3r_train.croco.completion import CompletionLoss, build_croco, check_image_size, completion_step
from mast3r_train.croco.config import PretrainConfig
from mast3r_train.croco.dataset import CompletionPairs
from mast3r_train.croco.schedule import PretrainPlan
from mast3r_train.croco.sources import find_sources
from mast3r_train.croco.transforms import parse_transforms
from mast3r_train.loop.checkpointing import checkpoint_path
from mast3r_train.loop.epoch import ProgressReport
from mast3r_train.loop.interruption import StopRequest
from mast3r_train.loop.parts import TrainingParts
from mast3r_train.loop.ranks import Ranks
from mast3r_train.loop.training import (
    TrainingResult,
    make_learner,
    make_loader,
    prepare_torch,
    train,
)

LOGGER = logging.getLogger("mast3r.train")

_BOARD_NAMES = {"train_lr": "lr"}


def pretrain(
    config: PretrainConfig,
    *,
    stop: StopRequest | None = None,
    on_step: Callable[[ProgressReport], None] | None = None,
) -> TrainingResult:
    """Pretrain a CroCo network, or go on if the output folder holds ``checkpoint-last.pth``.

    Args:
        stop: asks for an early stop; default: after ``config.max_minutes``.
        on_step: called after each micro-step, for a progress display.

    Returns:
        How it ended. The checkpoint of a completed run is ``checkpoint-<max_epoch - 1>.pth``; it loads with
        :func:`mast3r_model.load_croco`, and other models start from it.

    Raises:
        Mast3rError: the data or the model cannot be made, a file cannot be read or written.
        NotFiniteError: the loss became NaN or infinite; the evidence is in the output folder.
    """

    def build(settings: TrainConfig, ranks: Ranks) -> TrainingParts:
        return build_pretraining(config, settings, ranks)

    result = train(loop_settings(config), stop=stop, on_step=on_step, build=build)
    if not result.completed:
        return result
    last = checkpoint_path(Path(config.output_dir), str(config.max_epoch - 1))
    return dataclasses.replace(result, checkpoint=last)


def build_pretraining(config: PretrainConfig, settings: TrainConfig, ranks: Ranks) -> TrainingParts:
    """Build data, model, loss and optimizer.

    Args:
        config: the settings of the pretraining.
        settings: those of the loop, see :func:`loop_settings`.
        ranks: the processes that train together.
    """
    precision = prepare_torch(settings, ranks)
    transform = parse_transforms(config.transforms)
    dataset = CompletionPairs(find_sources(config.dataset, Path(config.data_dir)), transform)
    train_loader = make_loader(settings, dataset, precision, ranks)
    model = build_croco(config.model)
    check_image_size(model, transform.size, config.transforms)
    criterion = CompletionLoss(norm_pix_loss=config.norm_pix_loss == 1)
    return TrainingParts(
        learner=make_learner(settings, model, precision, ranks),
        train_loader=train_loader,
        test_loaders={},
        train_criterion=criterion,
        test_criterion=criterion,
        step_loss=completion_step,
        walk=PretrainPlan(config.max_epoch, config.save_freq, config.keep_freq),
        args=config.to_dict(),
        board_names=_BOARD_NAMES,
    )


def loop_settings(config: PretrainConfig) -> TrainConfig:
    """The loop's settings: on a CPU fp16, upstream's default, means float32 (as it does there)."""
    settings = config.loop_settings()
    device = resolve_device(config.device)
    if settings.amp == "1" and device.type == "cpu":
        LOGGER.info("computing in float32: --amp 1 is for GPUs (--amp bf16 works on a CPU)")
        return dataclasses.replace(settings, amp="0")
    return settings
