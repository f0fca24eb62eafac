"""One epoch of training and one of testing (spec 40 sections 9.5, 9.6)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from mast3r_train.loop.learner import BatchLoss, Criterion, Learner, StepLoss, batch_loss
from mast3r_train.loop.loading import Batch
from mast3r_train.loop.meters import Meters
from mast3r_train.loop.nan_guard import NotFinite, NotFiniteError
from mast3r_train.loop.ranks import Ranks
from mast3r_train.loop.schedule import CosineSchedule

LOGGER = logging.getLogger("mast3r.train")


class Batches(Protocol):
    """The batches of an epoch, as :class:`mast3r_train.loop.loading.PairLoader` gives them."""

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, *, first: int = 0) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class EpochPosition:
    """A place between two updates of an epoch, from which training can go on.

    Attributes:
        epoch: the epoch.
        step: micro-batches of it that are done.
        steps: micro-batches that it has.
        meters: sums and counts of the epoch's meters so far.
        skipped: samples that this process had to replace so far.
    """

    epoch: int
    step: int
    steps: int
    meters: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    skipped: int = 0


@dataclass(frozen=True)
class StepReport:
    """One micro-step, as loggers see it.

    Attributes:
        epoch: index of the epoch.
        step: index of the micro-step in it, from 0.
        steps: micro-steps of the epoch.
        pairs: pairs in the micro-batch, each seen in both orders.
        lr: learning rate.
        loss: undivided loss of the micro-batch.
        details: its parts.
        grad_norm: gradient norm of the update that ended with this micro-step, if one did.
    """

    epoch: int
    step: int
    steps: int
    pairs: int
    lr: float
    loss: float
    details: Mapping[str, float]
    grad_norm: float | None

    @property
    def fractional_epoch(self) -> float:
        return self.epoch + self.step / self.steps

    @property
    def title(self) -> str:
        """What it is a step of."""
        return f"epoch {self.epoch}"


@dataclass(frozen=True)
class EvaluationReport:
    """One batch of a test set is done.

    Attributes:
        name: of the test set.
        step: index of the batch, from 0.
        steps: batches of the test set.
    """

    name: str
    step: int
    steps: int

    @property
    def title(self) -> str:
        """What it is a step of."""
        return f"testing, {self.name}"


ProgressReport = StepReport | EvaluationReport
"""What a progress display is told."""


class TrainObserver(Protocol):
    """Who is told about the progress of an epoch."""

    def micro_step(self, report: StepReport) -> None:
        """A micro-batch was done."""

    def after_update(self, position: EpochPosition) -> bool:
        """The weights were updated, no gradient is pending: a checkpoint may be written. True stops."""
        ...


class Unobserved:
    """Nobody is told."""

    def micro_step(self, report: StepReport) -> None:
        """Nothing."""

    def after_update(self, position: EpochPosition) -> bool:
        """Go on."""
        return False


def train_one_epoch(
    learner: Learner,
    criterion: Criterion,
    batches: Batches,
    *,
    epoch: int,
    schedule: CosineSchedule,
    ranks: Ranks | None = None,
    start: EpochPosition | None = None,
    observer: TrainObserver | None = None,
    step_loss: StepLoss = batch_loss,
) -> dict[str, float] | None:
    """Train on every batch of an epoch once.

    A rest of micro-batches that does not fill an update at the end of the epoch is lost, as upstream's.

    Args:
        start: go on from here, not from the epoch's first batch.
        step_loss: forward pass and loss of a micro-batch.

    Returns:
        The epoch's averages by name, over all ranks; None if the observer stopped it.

    Raises:
        NotFiniteError: the loss, or in fp32 and bf16 a gradient, is not finite. The weights are not updated.
    """
    ranks = ranks or Ranks()
    observer = observer or Unobserved()
    first = start.step if start else 0
    meters = Meters.from_state(start.meters) if start else Meters()
    learner.train_mode()
    learner.optimizer.zero_grad(set_to_none=True)
    steps, lr = len(batches), 0.0
    for step, batch in enumerate(batches.epoch(epoch, first=first), start=first):
        if step % learner.accum_iter == 0:
            lr = schedule.apply(learner.optimizer, epoch + step / steps)
        last_of_update = (step + 1) % learner.accum_iter == 0
        with learner.micro_step(last=last_of_update):
            result = step_loss(learner.trained_model, criterion, batch, learner.precision)
            if not ranks.all_true(math.isfinite(result.value)):
                raise NotFiniteError(_what_happened("loss", epoch, step, lr, result), batch)
            learner.backward(result)
        grad_norm = learner.update() if last_of_update else None
        if grad_norm is not None and not math.isfinite(grad_norm) and not learner.scaler.is_enabled():
            raise NotFiniteError(_what_happened("gradient", epoch, step, lr, result), batch)
        meters.update({"lr": lr, "epoch": epoch + step / steps, "loss": result.value, **result.details})
        if grad_norm is not None and math.isfinite(grad_norm):
            meters.update({"grad_norm": grad_norm})
        pairs = len(batch[0]["img"])
        observer.micro_step(
            StepReport(epoch, step, steps, pairs, lr, result.value, result.details, grad_norm)
        )
        if last_of_update and observer.after_update(EpochPosition(epoch, step + 1, steps, meters.state())):
            return None
    if epoch == 0 and (rest := steps % learner.accum_iter):
        LOGGER.info("micro-batches at the end of every epoch that fill no update and are lost: %d", rest)
    return meters.averages(ranks)


@torch.no_grad()
def evaluate_one_epoch(
    learner: Learner,
    criterion: Criterion,
    batches: Batches,
    *,
    epoch: int,
    ranks: Ranks | None = None,
    model: nn.Module | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Evaluate on every batch of a test set.

    Args:
        model: what to evaluate; default: the learner's average, or its model.
        on_batch: called after each batch with its number and how many there are.

    Returns:
        ``<name>_avg`` (over all batches of all ranks) and ``<name>_med`` (their lower median).
    """
    ranks = ranks or Ranks()
    evaluated = model if model is not None else learner.evaluated_model
    was_training = evaluated.training
    evaluated.eval()
    meters = Meters(keep_values=True)
    try:
        for number, batch in enumerate(batches.epoch(epoch)):
            result = batch_loss(evaluated, criterion, batch, learner.precision)
            meters.update({"loss": result.value, **result.details})
            if on_batch is not None:
                on_batch(number, len(batches))
    finally:
        evaluated.train(was_training)
    averages, medians = meters.averages(ranks), meters.lower_medians(ranks)
    return {
        **{f"{name}_avg": value for name, value in averages.items()},
        **{f"{name}_med": value for name, value in medians.items()},
    }


def _what_happened(what: str, epoch: int, step: int, lr: float, result: BatchLoss) -> NotFinite:
    return NotFinite(what=what, epoch=epoch, step=step, lr=lr, loss=result.value, details=result.details)
