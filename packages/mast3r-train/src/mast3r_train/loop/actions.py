"""What a run does when its plan asks for it: train, evaluate, save, log (spec 40 section 9)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mast3r_train.config import TrainConfig
from mast3r_train.loop.checkpointing import Resumed, checkpoint_path, save_checkpoint, save_final
from mast3r_train.loop.epoch import (
    EpochPosition,
    EvaluationReport,
    ProgressReport,
    StepReport,
    evaluate_one_epoch,
    train_one_epoch,
)
from mast3r_train.loop.interruption import StopRequest
from mast3r_train.loop.logs import RunLog
from mast3r_train.loop.parts import TrainingParts
from mast3r_train.loop.ranks import Ranks
from mast3r_train.loop.run import Stats
from mast3r_train.loop.schedule import CosineSchedule

LOGGER = logging.getLogger("mast3r.train")


@dataclass
class TrainingActions:
    """Carries out what ``run_epochs`` asks for, and is told about each step.

    Every process has one and does the same at the same time; only rank 0 writes.

    Attributes:
        run_log: rank 0's log; None elsewhere.
    """

    config: TrainConfig
    parts: TrainingParts
    folder: Path
    run_log: RunLog | None
    stop: StopRequest
    ranks: Ranks
    resumed: Resumed
    on_step: Callable[[ProgressReport], None] | None = None
    pairs_seen: int = 0
    best_so_far: float = math.inf
    final_checkpoint: Path | None = None
    test_names: Sequence[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pairs_seen = self.resumed.pairs_seen
        self.best_so_far = self.resumed.best_so_far
        self.test_names = list(self.parts.test_loaders)
        self._args = self.config.to_dict() if self.parts.args is None else self.parts.args
        self.schedule = CosineSchedule(
            self.config.peak_lr(self.ranks.world_size),
            self.config.min_lr,
            self.config.warmup_epochs,
            self.config.epochs,
        )
        self._began = time.monotonic()
        self._last_saved = self._began

    @property
    def seconds(self) -> float:
        """Time spent, over all parts of the run."""
        return self.resumed.seconds + time.monotonic() - self._began

    def usable_position(self) -> EpochPosition | None:
        """Where in an epoch to go on, unless the epoch's length has changed since."""
        position, steps = self.resumed.position, len(self.parts.train_loader)
        if position is not None and position.steps != steps:
            LOGGER.warning(
                "an epoch has %d micro-batches now and had %d before: starting epoch %d again",
                steps,
                position.steps,
                position.epoch,
            )
            return None
        return position

    def train(self, epoch: int, start: EpochPosition | None) -> Stats | None:
        skips = self.parts.train_loader.skips
        skips.begin(epoch, already=start.skipped if start else 0)
        stats = train_one_epoch(
            self.parts.learner,
            self.parts.train_criterion,
            self.parts.train_loader,
            epoch=epoch,
            schedule=self.schedule,
            ranks=self.ranks,
            start=start,
            observer=self,
            step_loss=self.parts.step_loss,
        )
        return None if stats is None else {**stats, "skipped": skips.total(self.ranks)}

    def evaluate(self, name: str, epoch: int) -> Stats:
        skips = self.parts.test_loaders[name].skips
        skips.begin(epoch)
        stats = evaluate_one_epoch(
            self.parts.learner,
            self.parts.test_criterion,
            self.parts.test_loaders[name],
            epoch=epoch,
            ranks=self.ranks,
            on_batch=lambda step, steps: self._show(EvaluationReport(name, step, steps)),
        )
        return {**stats, "skipped": skips.total(self.ranks)}

    def save(self, name: str, epoch: int, best_so_far: float, position: EpochPosition | None = None) -> None:
        self.best_so_far = best_so_far
        save_checkpoint(
            checkpoint_path(self.folder, name),
            self.parts.learner,
            args=self._args,
            epoch=epoch,
            best_so_far=best_so_far,
            pairs_seen=self.pairs_seen,
            seconds=self.seconds,
            position=position,
            ranks=self.ranks,
        )
        self._last_saved = time.monotonic()

    def save_final(self, epoch: int, best_so_far: float) -> None:
        self.final_checkpoint = save_final(
            self.folder,
            self.parts.learner,
            args=self._args,
            epochs=epoch,
            best_so_far=best_so_far,
            ranks=self.ranks,
        )

    def log(self, epoch: int, train: Stats | None, tests: Mapping[str, Stats], best_so_far: float) -> None:
        self.best_so_far = best_so_far
        extra: dict[str, Any] = {"pairs_seen": self.pairs_seen, "hours": round(self.seconds / 3600, 4)}
        if self.run_log is not None:
            self.run_log.epoch(epoch, train, tests, extra)

    def micro_step(self, report: StepReport) -> None:
        world_size = self.ranks.world_size
        self.pairs_seen += report.pairs * world_size
        if self._is_logged(report):
            loss = self.ranks.mean(report.loss)
            report = replace(report, loss=loss, pairs=report.pairs * world_size)
        elif world_size > 1:
            report = replace(report, pairs=report.pairs * world_size)
        if self.run_log is not None:
            self.run_log.step(report)
        self._show(report)

    def _show(self, report: ProgressReport) -> None:
        if self.on_step is not None and self.ranks.is_main:
            self.on_step(report)

    def _is_logged(self, report: StepReport) -> bool:
        """Whether rank 0 writes this step's loss down."""
        return (report.step + 1) % self.config.print_freq == 0 or report.step + 1 == report.steps

    def after_update(self, position: EpochPosition) -> bool:
        minutes = (time.monotonic() - self._last_saved) / 60
        saving = 0 < self.config.save_minutes <= minutes
        orphaned = self.ranks.is_orphan
        stopping, saving = self._agreed(stopping=self.stop.is_due or orphaned, saving=saving)
        if orphaned:
            LOGGER.warning("the program that started this process has died: stopping")
        if stopping or saving:
            position = replace(position, skipped=self.parts.train_loader.skips.count)
            self.save("last", position.epoch - 1, self.best_so_far, position)
        return stopping

    def _agreed(self, *, stopping: bool, saving: bool) -> tuple[bool, bool]:
        """What one process wants, all do: clocks differ, and a signal may reach one of them only."""
        number = self.stop.signal_number
        wishes = self.ranks.largest([float(stopping), float(saving), float(number or 0)])
        if number is None and wishes[2]:
            self.stop.signal_number = int(wishes[2])
        return bool(wishes[0]), bool(wishes[1])
