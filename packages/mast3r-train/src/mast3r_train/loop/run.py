"""The order of training, evaluations, checkpoints and log lines (spec 40 section 9.6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mast3r_train.loop.epoch import EpochPosition

Stats = Mapping[str, float]


@dataclass(frozen=True)
class EpochPlan:
    """When to do what, in epochs.

    Attributes:
        epochs: length of the training.
        eval_freq: evaluate after so many epochs; 0 = never.
        save_freq: write ``last`` after so many; 0 = at the end only.
        keep_freq: keep a numbered checkpoint after so many; 0 = none.
        best_on: ``any`` (the best of all test sets), ``mean`` of them, or one's name.
    """

    epochs: int
    eval_freq: int = 1
    save_freq: int = 1
    keep_freq: int = 20
    best_on: str = "any"


class RunActions(Protocol):
    """What the run asks for; the order is the run's."""

    test_names: Sequence[str]

    def train(self, epoch: int, start: EpochPosition | None) -> Stats | None:
        """Train an epoch; None = stopped before its end (with a checkpoint)."""
        ...

    def evaluate(self, name: str, epoch: int) -> Stats:
        """Evaluate one test set; the result has ``loss_med``."""
        ...

    def save(self, name: str, epoch: int, best_so_far: float) -> None:
        """Write ``checkpoint-<name>.pth``; ``epoch`` is the last one that is trained."""

    def save_final(self, epoch: int, best_so_far: float) -> None:
        """Write ``checkpoint-final.pth``."""

    def log(self, epoch: int, train: Stats | None, tests: Mapping[str, Stats], best_so_far: float) -> None:
        """Write the log line of an epoch index: the epoch just trained and the evaluations after it."""


class Walk(Protocol):
    """A whole training as a sequence of actions, as :func:`run_epochs` with its plan."""

    def __call__(
        self,
        actions: RunActions,
        *,
        start_epoch: int,
        best_so_far: float,
        position: EpochPosition | None,
    ) -> bool: ...


def run_epochs(
    plan: EpochPlan,
    actions: RunActions,
    *,
    start_epoch: int = 0,
    best_so_far: float = math.inf,
    position: EpochPosition | None = None,
) -> bool:
    """Train from ``start_epoch`` to the end.

    Args:
        start_epoch: first epoch to train.
        best_so_far: smallest test loss of the epochs before.
        position: a place inside the start epoch to go on from. What the loop does before that epoch was done
            before the checkpoint was written, and is not done again.

    Returns:
        Whether the training came to its end.
    """
    trained: Stats | None = None
    for epoch in range(start_epoch, plan.epochs + 1):
        if epoch > start_epoch or position is None:
            first = epoch == start_epoch
            due = plan.save_freq > 0 and epoch % plan.save_freq == 0
            if not first and (due or epoch == plan.epochs):
                actions.save("last", epoch - 1, best_so_far)
            tests: dict[str, Stats] = {}
            if epoch > 0 and plan.eval_freq > 0 and epoch % plan.eval_freq == 0:
                tests = {name: actions.evaluate(name, epoch) for name in actions.test_names}
            score = _score(tests, plan.best_on)
            is_best = score < best_so_far
            best_so_far = min(best_so_far, score)
            actions.log(epoch, trained, tests, best_so_far)
            if not first and plan.keep_freq > 0 and epoch % plan.keep_freq == 0:
                actions.save(str(epoch), epoch - 1, best_so_far)
            if not first and is_best:
                actions.save("best", epoch - 1, best_so_far)
        if epoch >= plan.epochs:
            break
        trained = actions.train(epoch, position if epoch == start_epoch else None)
        if trained is None:
            return False
    actions.save_final(plan.epochs, best_so_far)
    return True


def _score(tests: Mapping[str, Stats], best_on: str) -> float:
    """The number that the best checkpoint is chosen by; smaller is better, infinity for none."""
    medians = {name: stats["loss_med"] for name, stats in tests.items()}
    finite = [value for value in medians.values() if not math.isnan(value)]
    if best_on == "any":
        return min(finite, default=math.inf)
    if best_on == "mean":
        return sum(finite) / len(finite) if finite and len(finite) == len(medians) else math.inf
    value = medians.get(best_on, math.inf)
    return math.inf if math.isnan(value) else value
