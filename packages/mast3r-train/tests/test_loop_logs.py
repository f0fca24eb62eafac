"""What a run writes down: log.txt, steps.jsonl, TensorBoard, and when its curves are drawn (spec 40 9.5, 9.6)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mast3r_train import TrainConfig, train
from mast3r_train.loop import logs
from mast3r_train.loop.epoch import StepReport
from mast3r_train.loop.logs import RunLog


class Clock:
    """Time in seconds, and when the curves were drawn, which takes two of them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.drawn: list[float] = []

    def draw(self, *files: Path) -> None:
        self.drawn.append(self.now)
        self.now += 2.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logs, "plot_curves", clock.draw)
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def run_log(folder: Path, **options: Any) -> RunLog:
    return RunLog(folder, **{"print_freq": 1, "accum_iter": 1, **options})


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_without_test_sets_curves_are_drawn_after_epochs_cheaply_and_at_the_end(
    tmp_path: Path, clock: Clock
) -> None:
    with run_log(tmp_path) as log:
        log.epoch(0, None, {}, {})
        assert clock.drawn == []  # nothing is trained yet
        for epoch in range(1, 9):
            clock.now += 20.0
            log.epoch(epoch, {"loss": 1.0}, {}, {})
        assert clock.drawn == [120.0, 182.0, 244.0]  # two seconds each time, so once a minute
    assert clock.drawn[3:] == [266.0]  # the last epochs too


def test_each_evaluation_is_drawn(tmp_path: Path, clock: Clock) -> None:
    with run_log(tmp_path) as log:
        for epoch in range(3):
            log.epoch(epoch, {"loss": 1.0}, {"X": {"loss_avg": 1.0, "loss_med": 1.0}}, {})
    assert len(clock.drawn) == 3


def test_an_error_is_not_held_up_by_a_drawing(tmp_path: Path, clock: Clock) -> None:
    log = run_log(tmp_path)
    with pytest.raises(ValueError, match="mine"), log:
        _write_two_epochs_and_fail(log)
    assert len(clock.drawn) == 1


def _write_two_epochs_and_fail(log: RunLog) -> None:
    for epoch in (1, 2):
        log.epoch(epoch, {"loss": 1.0}, {}, {})
    raise ValueError("mine")


def report(step: int, **changes: Any) -> StepReport:
    values: dict[str, Any] = {
        "epoch": 2, "step": step, "steps": 8, "pairs": 3, "lr": 1e-3, "loss": 0.5, "details": {"part": 0.25},
        "grad_norm": 1.5,
    }  # fmt: skip
    return StepReport(**{**values, **changes})


def test_what_is_not_finite_is_null(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mast3r.train")
    with run_log(tmp_path) as log:
        log.step(report(0, details={"part": math.nan}, grad_norm=None))
        log.epoch(3, {"loss": math.inf}, {"1 @ X": {"loss_avg": math.nan, "loss_med": 1.0}}, {"hours": 0.1})
    assert "NaN" not in (tmp_path / "log.txt").read_text() + (tmp_path / "steps.jsonl").read_text()
    assert lines(tmp_path, "log.txt") == [
        {"epoch": 3, "train_loss": None, "1 @ X_loss_avg": None, "1 @ X_loss_med": 1.0, "hours": 0.1}
    ]
    (step,) = lines(tmp_path, "steps.jsonl")
    assert (step["part"], step["grad_norm"], step["loss"], step["step"]) == (None, None, 0.5, 0)
    assert "epoch 2 step 1/8 lr 0.001 loss 0.5000 part nan" in caplog.text


def test_lines_come_every_print_freq_micro_steps_and_at_the_last(tmp_path: Path) -> None:
    with run_log(tmp_path, print_freq=3) as log:
        for step in range(8):
            log.step(report(step))
    assert [line["step"] for line in lines(tmp_path, "steps.jsonl")] == [2, 5, 7]


def test_tensorboard_has_upstreams_names_and_steps(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with run_log(tmp_path, print_freq=2, accum_iter=2) as log:
        for step in range(8):
            log.step(report(step, loss=float(step)))
        log.epoch(3, {"loss": 1.0}, {"X": {"loss_avg": 2.0, "loss_med": 3.0}}, {})
    board = EventAccumulator(str(tmp_path)).Reload()
    assert set(board.Tags()["scalars"]) == {
        "train_loss", "train_lr", "train_iter", "train_part", "X_loss_avg", "X_loss_med"
    }  # fmt: skip
    # Every accum_iter * print_freq micro-steps, at int(1000 * epoch).
    assert [(event.step, event.value) for event in board.Scalars("train_loss")] == [(2375, 3.0), (2875, 7.0)]
    assert [event.value for event in board.Scalars("train_iter")] == [2375.0, 2875.0]
    assert [(event.step, event.value) for event in board.Scalars("X_loss_med")] == [(3000, 3.0)]


def test_a_run_without_test_sets_leaves_a_picture(
    toy_settings: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mast3r_train.loop.curves import plot_curves

    monkeypatch.setattr(logs, "plot_curves", plot_curves)
    assert train(toy_settings(tmp_path)).completed
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    log = lines(tmp_path, "log.txt")
    assert [line["epoch"] for line in log] == [0, 1, 2]
    assert "train_loss" not in log[0]
    assert {"train_lr", "train_epoch", "train_loss", "train_grad_norm", "train_MatchingLoss"} <= set(log[1])
