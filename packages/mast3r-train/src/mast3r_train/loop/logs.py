"""Where a run's numbers go: ``log.txt``, ``steps.jsonl``, TensorBoard and ``curves.png``."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mast3r_train.loop.curves import plot_curves
from mast3r_train.loop.epoch import StepReport
from mast3r_train.loop.nan_guard import plain

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOGGER = logging.getLogger("mast3r.train")

LOG_NAME = "log.txt"
STEPS_NAME = "steps.jsonl"
CURVES_NAME = "curves.png"

_DRAWING_SHARE = 1 / 30
"""Drawing after every epoch takes at most this share of the time."""


class RunLog:
    """Writes the numbers of a run into its folder; only rank 0 has one.

    - ``log.txt``: one JSON object per epoch index, upstream's (spec 40 section 9.6); numbers that are not
      finite are null.
    - ``steps.jsonl``: one JSON object per ``print_freq`` micro-steps.
    - TensorBoard events, every ``accum_iter * print_freq`` micro-steps at step ``1000 * epoch``.
    - ``curves.png``: both files drawn, at each evaluation; without evaluations after each epoch, unless
      epochs are so short that this would cost time, and at the end.

    Args:
        folder: the run's output folder.
        print_freq: micro-steps between lines.
        accum_iter: micro-steps per update.
        board_names: other names of quantities in TensorBoard, such as ``{"train_lr": "lr"}``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        print_freq: int,
        accum_iter: int,
        board_names: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.print_freq = print_freq
        self.accum_iter = accum_iter
        self._board_names = board_names or {}
        self._board: SummaryWriter | None = None
        self._since = time.monotonic()
        self._pairs = 0
        self._next_drawing = 0.0
        self._undrawn = False

    def __enter__(self) -> Self:
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(log_dir=str(self.folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._undrawn and error is None:
            self._draw()
        if self._board is not None:
            self._board.close()

    def step(self, report: StepReport) -> None:
        """Note one micro-step."""
        self._pairs += report.pairs
        if (report.step + 1) % self.print_freq == 0 or report.step + 1 == report.steps:
            rate = self._pairs / max(time.monotonic() - self._since, 1e-9)
            self._since, self._pairs = time.monotonic(), 0
            line = {
                "epoch": report.epoch,
                "step": report.step,
                "lr": report.lr,
                "loss": report.loss,
                "grad_norm": report.grad_norm,
                "pairs_per_second": round(rate, 2),
                **report.details,
            }
            self._append(STEPS_NAME, line)
            LOGGER.info("%s", _console_line(report, rate))
        if (report.step + 1) % (self.print_freq * self.accum_iter) == 0:
            self._tensorboard(
                int(1000 * report.fractional_epoch),
                {
                    "train_loss": report.loss,
                    "train_lr": report.lr,
                    "train_iter": int(1000 * report.fractional_epoch),
                    **{f"train_{name}": value for name, value in report.details.items()},
                },
            )

    def epoch(
        self,
        epoch: int,
        train: Mapping[str, float] | None,
        tests: Mapping[str, Mapping[str, float]],
        extra: Mapping[str, Any],
    ) -> None:
        """Note an epoch index: the averages of the epoch before it and the evaluations after that."""
        results = {f"{name}_{key}": value for name, stats in tests.items() for key, value in stats.items()}
        trained = {f"train_{name}": value for name, value in (train or {}).items()}
        self._append(LOG_NAME, {"epoch": epoch, **trained, **results, **extra})
        self._tensorboard(1000 * epoch, results)
        for name, stats in tests.items():
            LOGGER.info("after epoch %d, %s: %s", epoch, name, _numbers(stats, suffix="_avg"))
        self._undrawn = self._undrawn or bool(train)
        if tests or (self._undrawn and time.monotonic() >= self._next_drawing):
            self._draw()
        self._since, self._pairs = time.monotonic(), 0

    def _draw(self) -> None:
        began = time.monotonic()
        plot_curves(self.folder / STEPS_NAME, self.folder / LOG_NAME, self.folder / CURVES_NAME)
        ended = time.monotonic()
        self._next_drawing = ended + (ended - began) / _DRAWING_SHARE
        self._undrawn = False

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        with open(self.folder / name, "a", encoding="utf-8") as file:
            file.write(json.dumps(plain(line)) + "\n")

    def _tensorboard(self, step: int, values: Mapping[str, float]) -> None:
        if self._board is None:
            return
        for name, value in values.items():
            self._board.add_scalar(self._board_names.get(name, name), value, step)
        self._board.flush()


def _console_line(report: StepReport, rate: float) -> str:
    remaining = (report.steps - report.step - 1) * report.pairs / rate
    norm = "" if report.grad_norm is None else f" grad {report.grad_norm:.3g}"
    return (
        f"epoch {report.epoch} step {report.step + 1}/{report.steps} lr {report.lr:.3g}"
        f" loss {report.loss:.4f}{norm} {_numbers(report.details)}"
        f" | {rate:.1f} pairs/s, {remaining / 60:.1f} min to the epoch's end"
    )


def _numbers(values: Mapping[str, float], *, suffix: str = "") -> str:
    return " ".join(
        f"{name.removesuffix(suffix)} {value:.4f}" for name, value in values.items() if name.endswith(suffix)
    )
