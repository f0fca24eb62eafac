"""A training run from its settings to the final checkpoint: the whole way on one page (spec 40 section 9)."""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mast3r_model import ConfigError, OutputError, Precision, cpu_threads, resolve_precision
from mast3r_train.config import TrainConfig
from mast3r_train.datasets.roots import named_roots, parse_named_root
from mast3r_train.loop.actions import TrainingActions
from mast3r_train.loop.averaging import AveragedWeights
from mast3r_train.loop.building import (
    build_criterion,
    build_dataset,
    build_model,
    build_test_sets,
)
from mast3r_train.loop.checkpointing import (
    Resumed,
    checkpoint_path,
    checkpoint_to_go_on_from,
    load_checkpoint,
)
from mast3r_train.loop.distributed import joined_ranks
from mast3r_train.loop.epoch import EpochPosition, ProgressReport
from mast3r_train.loop.failures import dead_workers_told
from mast3r_train.loop.finetuning import prepare_model
from mast3r_train.loop.interruption import StopRequest
from mast3r_train.loop.launching import process_count
from mast3r_train.loop.learner import Learner, batch_loss
from mast3r_train.loop.loading import PairLoader
from mast3r_train.loop.logs import RunLog
from mast3r_train.loop.nan_guard import NotFiniteError, keep_evidence
from mast3r_train.loop.optimizer import make_optimizer
from mast3r_train.loop.parts import TrainingParts
from mast3r_train.loop.ranks import Ranks
from mast3r_train.loop.run import EpochPlan, run_epochs
from mast3r_train.loop.sharing import share_model
from mast3r_train.loop.skipping import SKIPPED_NAME, SkipLog

LOGGER = logging.getLogger("mast3r.train")

_AMP_DTYPES = {"0": "fp32", "1": "fp16", "bf16": "bf16"}


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        completed: whether it came to its last epoch; else the same settings go on from where it stopped.
        checkpoint: the file to use: the final one, or the one to go on from; None after a dry run.
        pairs_seen: training pairs, over all its parts.
        hours: time spent, over all its parts.
    """

    completed: bool
    checkpoint: Path | None
    pairs_seen: int
    hours: float


def train(
    config: TrainConfig,
    *,
    stop: StopRequest | None = None,
    on_step: Callable[[ProgressReport], None] | None = None,
    build: Callable[[TrainConfig, Ranks], TrainingParts] | None = None,
) -> TrainingResult:
    """Train a model, or go on with training it if the output folder holds ``checkpoint-last.pth``.

    Args:
        stop: asks for an early stop; default: after ``config.max_minutes``.
        on_step: called after each micro-step and each test batch, for a progress display.
        build: makes what the run consists of; default: :func:`build_parts`.

    Raises:
        Mast3rError: an expression cannot be built, a file cannot be read or written.
        NotFiniteError: the loss became NaN or infinite; the evidence is in the output folder.
    """
    if process_count(config.nproc_per_node) > 1:
        raise ConfigError(
            f"nproc_per_node is {config.nproc_per_node}, but only the command starts processes",
            hint="mast3r train --nproc-per-node N; or start this program by torchrun",
        )
    stop = stop or StopRequest.after_minutes(config.max_minutes)
    with cpu_threads(config.threads), joined_ranks(config.device) as ranks, dead_workers_told(ranks):
        if not config.dry_run:
            _check_folder(Path(config.output_dir))
        with named_roots(dict(map(parse_named_root, config.data_root))):
            parts = (build or build_parts)(config, ranks)
        if config.dry_run:
            return dry_run(parts)
        return run_training(config, parts, stop=stop, ranks=ranks, on_step=on_step)


def build_parts(config: TrainConfig, ranks: Ranks) -> TrainingParts:
    """Build data, model, losses and optimizer from the settings, in upstream's order (spec 40 9.1)."""
    precision = prepare_torch(config, ranks)
    train_loader = make_loader(config, build_dataset(config.train_dataset), precision, ranks)
    test_loaders = {
        name: make_loader(config, dataset, precision, ranks, test_name=name)
        for name, dataset in build_test_sets(config.test_dataset).items()
    }
    if config.best_on not in ("any", "mean", *test_loaders):
        known = ", ".join(["any", "mean", *test_loaders])
        raise ConfigError(f"--best_on {config.best_on!r} is no test set", hint=f"choose from: {known}")
    resuming = checkpoint_to_go_on_from(Path(config.output_dir), ranks) is not None
    starts_here = ranks.is_main and not resuming  # the other ranks get rank 0's weights
    model = build_model(config.model, pretrained=config.pretrained if starts_here else None)
    train_criterion = build_criterion(config.train_criterion)
    return TrainingParts(
        learner=make_learner(config, model, precision, ranks),
        train_loader=train_loader,
        test_loaders=test_loaders,
        train_criterion=train_criterion,
        test_criterion=build_criterion(config.test_criterion) if config.test_criterion else train_criterion,
    )


def prepare_torch(config: TrainConfig, ranks: Ranks) -> Precision:
    """Set the seeds and torch's switches, before anything is built; returns device and dtype."""
    precision = resolve_precision(ranks.device_name(config.device), _AMP_DTYPES[config.amp])  # type: ignore[arg-type]
    random.seed(config.seed + ranks.rank)
    torch.manual_seed(config.seed + ranks.rank)
    np.random.seed(config.seed + ranks.rank)
    torch.backends.cudnn.benchmark = not config.disable_cudnn_benchmark
    torch.set_float32_matmul_precision("high")
    return precision


def make_loader(
    config: TrainConfig, dataset: Any, precision: Precision, ranks: Ranks, *, test_name: str | None = None
) -> PairLoader:
    """The loader of the training set, or of the test set of that name.

    Raises:
        ConfigError: the dataset has too few pairs for a batch or, to train on, for an update.
    """
    skip_file = None if config.dry_run else Path(config.output_dir) / SKIPPED_NAME
    loader = PairLoader(
        dataset,
        batch_size=config.batch_size,
        num_workers=ranks.share_of_cpus(config.num_workers),
        seed=config.seed,
        shuffle=test_name is None,
        ranks=ranks,
        pin_memory=precision.device.type == "cuda",
        fixed_epoch=0 if test_name is not None and config.fixed_test_subset else None,
        skips=SkipLog(test_name or "train", limit=config.max_skipped, file=skip_file, rank=ranks.rank),
    )
    if test_name is None and len(loader) < config.accum_iter:
        raise ConfigError(
            f"an epoch has {len(loader)} batches, and --accum_iter {config.accum_iter} of them make an "
            "update: nothing would be trained",
            hint="use a smaller --accum_iter or --batch_size, or more data",
        )
    return loader


def make_learner(
    config: TrainConfig, model: torch.nn.Module, precision: Precision, ranks: Ranks | None = None
) -> Learner:
    """The model on its device with optimizer, scaler and, if asked for, moving average."""
    ranks = ranks or Ranks()
    adapters, frozen = prepare_model(model, config, precision.device)
    sharing = share_model(model, precision.device, ranks, shard=config.fsdp)
    lr = config.peak_lr(ranks.world_size)
    return Learner(
        model=model,
        optimizer=make_optimizer(model, lr=lr, weight_decay=config.weight_decay),
        scaler=torch.amp.GradScaler(precision.device.type, enabled=precision.dtype == torch.float16),
        precision=precision,
        accum_iter=config.accum_iter,
        clip_grad=config.clip_grad,
        average=AveragedWeights(model, config.ema) if config.ema is not None else None,
        sharing=sharing,
        adapters=adapters,
        frozen=frozen,
    )


def run_training(
    config: TrainConfig,
    parts: TrainingParts,
    *,
    stop: StopRequest | None = None,
    ranks: Ranks | None = None,
    on_step: Callable[[ProgressReport], None] | None = None,
) -> TrainingResult:
    """Train the given parts to the end, or until ``stop`` asks to leave; every rank calls this."""
    ranks = ranks or Ranks()
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    resumed = Resumed(0, math.inf, None, 0, 0.0)
    last = checkpoint_path(folder, "last")
    if checkpoint_to_go_on_from(folder, ranks) is not None:
        resumed = load_checkpoint(last, parts.learner, ranks)
        LOGGER.info("going on from %s: epoch %d%s", last, resumed.start_epoch, _place(resumed.position))
    plan = EpochPlan(config.epochs, config.eval_freq, config.save_freq, config.keep_freq, config.best_on)
    walk = parts.walk or partial(run_epochs, plan)
    run_log = RunLog(
        folder,
        print_freq=config.print_freq,
        accum_iter=config.accum_iter,
        board_names=parts.board_names,
    )
    with run_log if ranks.is_main else nullcontext() as log:
        run = TrainingActions(config, parts, folder, log, stop or StopRequest(), ranks, resumed, on_step)
        try:
            completed = walk(
                run,
                start_epoch=resumed.start_epoch,
                best_so_far=resumed.best_so_far,
                position=run.usable_position(),
            )
        except NotFiniteError as error:
            raise keep_evidence(error, folder, ranks) from None
    return TrainingResult(
        completed, run.final_checkpoint if completed else last, run.pairs_seen, run.seconds / 3600
    )


def _check_folder(folder: Path) -> None:
    """The output folder must be there, or somebody must be able to make it.

    Raises:
        OutputError: neither.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        reason = "it may not be written to" if nearest.is_dir() else "it is no folder"
        raise OutputError(f"cannot write to {nearest}: {reason}", "give another --output_dir")


def dry_run(parts: TrainingParts) -> TrainingResult:
    """One training step and one batch of each test set; nothing is written."""
    began = time.monotonic()
    learner = parts.learner
    learner.train_mode()
    learner.optimizer.zero_grad(set_to_none=True)
    pairs = 0
    for batch in islice(parts.train_loader.epoch(0), learner.accum_iter):
        with learner.micro_step(last=True):
            result = parts.step_loss(learner.trained_model, parts.train_criterion, batch, learner.precision)
            learner.backward(result)
        pairs += len(batch[0]["img"])
        LOGGER.info("train: loss %.4f, image %s", result.value, tuple(batch[0]["img"].shape))
    LOGGER.info("gradient norm %.4f", learner.update())
    for name, loader in parts.test_loaders.items():
        with torch.no_grad():
            batch = next(loader.epoch(0))
            result = batch_loss(learner.model.eval(), parts.test_criterion, batch, learner.precision)
        LOGGER.info("%s: loss %.4f, image %s", name, result.value, tuple(batch[0]["img"].shape))
    return TrainingResult(False, None, pairs, (time.monotonic() - began) / 3600)


def _place(position: EpochPosition | None) -> str:
    return f", step {position.step} of {position.steps}" if position else ""
