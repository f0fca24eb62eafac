"""The loop's parts by themselves: updates, averages, meters, batches, signals, curves."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mast3r_model import ConfigError, InputError, Precision
from mast3r_train.datasets.algebra import DatasetAlgebra
from mast3r_train.loop.averaging import AveragedWeights
from mast3r_train.loop.curves import plot_curves, read_lines
from mast3r_train.loop.interruption import StopRequest, stop_on_signals
from mast3r_train.loop.learner import BatchLoss, Learner
from mast3r_train.loop.loading import PairLoader, make_batch
from mast3r_train.loop.meters import Meters, lower_median
from mast3r_train.loop.ranks import Ranks
from mast3r_train.loop.run import EpochPlan, run_epochs


def learner_of(model: nn.Module, **options: Any) -> Learner:
    return Learner(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        scaler=options.pop("scaler", torch.amp.GradScaler("cpu", enabled=False)),
        precision=Precision(torch.device("cpu"), torch.float32),
        **options,
    )


def batch_loss_of(loss: Tensor) -> BatchLoss:
    return BatchLoss(loss, loss.item(), {})


def weight(value: list[float]) -> nn.Module:
    model = nn.Linear(len(value), 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([value]))
    return model


def test_gradients_are_clipped_and_their_norm_is_told() -> None:
    model = weight([0.0, 0.0])
    learner = learner_of(model, clip_grad=1.0)
    learner.backward(batch_loss_of((model.weight * torch.tensor([3.0, 4.0])).sum()))
    assert learner.update() == pytest.approx(5.0)
    assert model.weight.flatten().tolist() == pytest.approx([-0.6, -0.8], rel=1e-5)
    assert model.weight.grad is None


def test_micro_batches_are_averaged_into_one_update() -> None:
    model = weight([0.0])
    learner = learner_of(model, accum_iter=2)
    for slope in (1.0, 3.0):
        learner.backward(batch_loss_of(slope * model.weight.sum()))
    learner.update()
    assert model.weight.item() == pytest.approx(-2.0)


def test_fp16_skips_an_update_that_overflowed() -> None:
    model = weight([1.0])
    learner = learner_of(model, scaler=torch.amp.GradScaler("cpu", enabled=True, init_scale=4.0))
    learner.backward(batch_loss_of(model.weight.sum() * math.inf))
    assert not math.isfinite(learner.update())
    assert model.weight.item() == 1.0
    learner.backward(batch_loss_of(model.weight.sum()))
    assert learner.update() == pytest.approx(1.0)
    assert model.weight.item() == pytest.approx(0.0)


def test_average_follows_and_comes_back_from_its_state() -> None:
    model = weight([1.0])
    average = AveragedWeights(model, 0.5)
    with torch.no_grad():
        model.weight.fill_(3.0)
    average.update(model)  # the first decay is 2 / 11
    assert average.model.weight.item() == pytest.approx(1 * 2 / 11 + 3 * 9 / 11)
    for _ in range(60):
        average.update(model)
    assert average.model.weight.item() == pytest.approx(3.0)
    assert not average.model.weight.requires_grad
    other = AveragedWeights(weight([0.0]), 0.5)
    other.load_state(average.state())
    assert other.updates == 61
    assert torch.equal(other.model.weight, average.model.weight)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_lower_median_is_torchs(values: list[float]) -> None:
    assert lower_median(values) == torch.tensor(values, dtype=torch.float64).median().item()


def test_meters_weigh_by_count_and_continue_from_a_state() -> None:
    meters = Meters(keep_values=True)
    meters.update({"loss": 1.0})
    meters.update({"loss": 4.0, "rare": 2.0})
    again = Meters.from_state(meters.state())
    again.update({"loss": 7.0})
    assert again.averages(Ranks()) == {"loss": 4.0, "rare": 2.0}
    assert meters.lower_medians(Ranks()) == {"loss": 1.0, "rare": 2.0}
    assert math.isnan(lower_median([1.0, math.nan]))
    assert math.isnan(lower_median([]))


class Numbers(DatasetAlgebra):
    """Items that say where they come from; with ``at_once`` whole batches do."""

    def __init__(self, name: str, length: int, resolutions: int = 1) -> None:
        self.name = name
        self.length = length
        self.resolutions = [(16 * (k + 1), 16) for k in range(resolutions)]
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> list[dict[str, Any]]:
        number, resolution = index
        draw = torch.rand(1).item()
        view = {"img": torch.full((1,), float(number)), "instance": f"{self.name}{number}", "draw": draw}
        return [{**view, "idx": (number, resolution, place)} for place in range(2)]

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


class NumbersAtOnce(Numbers):
    def batch(self, items: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        view1, view2 = make_batch(Numbers(self.name.upper(), self.length), items)
        return view1, view2


def loader_of(dataset: Any, **options: Any) -> PairLoader:
    return PairLoader(dataset, **{"batch_size": 3, "num_workers": 0, "seed": 1, "shuffle": True, **options})


def instances(batches: Any) -> list[list[str]]:
    return [view1["instance"] for view1, _ in batches]


def test_an_epoch_covers_the_set_and_one_batch_has_one_resolution() -> None:
    loader = loader_of(Numbers("a", 12, resolutions=3))
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 4
    assert sorted(chain(*instances(batches))) == sorted(f"a{number}" for number in range(12))
    assert all(len(set(view1["idx"][1].tolist())) == 1 for view1, _ in batches)
    assert instances(loader.epoch(1)) != instances(batches)


def test_an_epoch_goes_on_with_the_same_numbers() -> None:
    loader = loader_of(Numbers("a", 12))
    whole = [view1["draw"].tolist() for view1, _ in loader.epoch(3)]
    torch.rand(7)  # what the training process draws in between does not matter, and is not disturbed
    state = torch.get_rng_state()
    assert [view1["draw"].tolist() for view1, _ in loader.epoch(3, first=2)] == whole[2:]
    assert torch.equal(torch.get_rng_state(), state)


def test_tests_are_in_order_and_complete() -> None:
    dataset = Numbers("a", 7)
    loader = loader_of(dataset, shuffle=False, fixed_epoch=0)
    assert instances(loader.epoch(5)) == [["a0", "a1", "a2"], ["a3", "a4", "a5"], ["a6"]]
    assert dataset.epochs == [0]
    halves = [loader_of(dataset, shuffle=False, ranks=Ranks(rank, 2)) for rank in range(2)]
    assert [list(chain(*instances(half.epoch(0)))) for half in halves] == [
        ["a0", "a2", "a4", "a6"],
        ["a1", "a3", "a5", "a0"],
    ]


def test_parts_of_a_sum_make_their_own_batches() -> None:
    both = NumbersAtOnce("a", 4) + 2 @ Numbers("b", 4)
    view1, view2 = make_batch(both, [(5, 0), (0, 0), (4, 0), (3, 0)])
    assert [name for name in view1["instance"] if name.startswith("A")] == ["A0", "A3"]  # as one batch
    assert sorted(name[0] for name in view1["instance"]) == ["A", "A", "b", "b"]
    assert view1["idx"][0].tolist() == [int(name[1:]) for name in view2["instance"]]
    assert view2["idx"][2].tolist() == [1] * 4


def test_loaders_refuse_what_they_cannot_serve() -> None:
    with pytest.raises(ConfigError, match="not enough"):
        loader_of(Numbers("a", 2))
    with pytest.raises(ConfigError, match="2 resolutions"):
        loader_of(Numbers("a", 9, resolutions=2), shuffle=False)


class Unreadable(Numbers):
    """A dataset whose files are gone."""

    def __getitem__(self, index: Any) -> Any:
        raise InputError("no such file: a.png", hint="look for it")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_worker_s_error_is_told_as_it_is(num_workers: int) -> None:
    loader = PairLoader(Unreadable("a", 4), batch_size=2, num_workers=num_workers, seed=0, shuffle=True)
    with pytest.raises(InputError) as caught:
        next(loader.epoch(0))
    assert str(caught.value) == "no such file: a.png"
    assert caught.value.hint == "look for it"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_a_stop_and_the_next_one_is_not_caught(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    request = StopRequest()
    with stop_on_signals(request):
        assert not request.is_due
        os.kill(os.getpid(), number)
        assert request.is_due
        assert request.signal_number == number
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


def test_a_deadline() -> None:
    assert not StopRequest.after_minutes(None).is_due
    assert not StopRequest.after_minutes(5).is_due
    assert StopRequest.after_minutes(0).is_due


class Stopping:
    """A run that is stopped in its second epoch."""

    test_names = ("X",)

    def __init__(self) -> None:
        self.saved: list[str] = []

    def train(self, epoch: int, start: Any) -> Mapping[str, float] | None:
        return {"loss": 1.0} if epoch == 0 else None

    def evaluate(self, name: str, epoch: int) -> Mapping[str, float]:
        return {"loss_med": math.nan}

    def save(self, name: str, epoch: int, best_so_far: float) -> None:
        self.saved.append(name)

    def save_final(self, epoch: int, best_so_far: float) -> None:
        raise AssertionError("a stopped run is not final")

    def log(self, *numbers: Any) -> None: ...


def test_a_stopped_run_is_not_final_and_nan_is_never_best() -> None:
    run = Stopping()
    assert not run_epochs(EpochPlan(3), run)
    assert run.saved == ["last"]


def test_curves_of_logs_with_repeated_and_cut_lines(tmp_path: Path) -> None:
    steps, log, picture = (tmp_path / name for name in ("steps.jsonl", "log.txt", "curves.png"))
    plot_curves(steps, log, picture)
    assert not picture.exists()
    lines = [{"epoch": 0, "step": step, "lr": 0.1, "loss": 1.0 / (step + 1)} for step in (0, 1, 1, 2)]
    steps.write_text("\n".join(map(json.dumps, lines)) + '\n{"epoch": 0, "st')
    log.write_text(json.dumps({"epoch": 1, "A_loss_med": 0.3, "A_conf_loss_med": None}) + "\n")
    assert len(read_lines(steps)) == 4
    plot_curves(steps, log, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
