"""The loop against upstream's numbers: learning rates, parameter groups, epochs, order of events."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mast3r_model import ModelConfig, Precision, parse_expression
from mast3r_train import TrainConfig
from mast3r_train.loop.building import build_criterion
from mast3r_train.loop.epoch import EpochPosition, StepReport, evaluate_one_epoch, train_one_epoch
from mast3r_train.loop.learner import Learner
from mast3r_train.loop.loading import Batch
from mast3r_train.loop.nan_guard import NotFiniteError, plain
from mast3r_train.loop.optimizer import make_optimizer, parameter_groups
from mast3r_train.loop.run import EpochPlan, run_epochs
from mast3r_train.loop.schedule import CosineSchedule

Goldens = Callable[[str], Path]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_learning_rates(goldens: Goldens) -> None:
    for case in read(goldens("train/loop/lr_schedule.json")):
        schedule = CosineSchedule(case["lr"], case["min_lr"], case["warmup_epochs"], case["epochs"])
        optimizer = torch.optim.SGD(
            [
                {"params": [nn.Parameter(torch.zeros(1))], **scale}
                for scale in ({"lr_scale": 1.0}, {"lr_scale": 0.3}, {})
            ],
            lr=1.0,
        )
        for point in case["points"]:
            assert schedule.apply(optimizer, point["epoch"]) == pytest.approx(
                point["lr"], rel=1e-12, abs=1e-30
            )
            rates = [group["lr"] for group in optimizer.param_groups]
            assert rates == pytest.approx(point["group_lrs"], rel=1e-12, abs=1e-30)


class Named(nn.Module):
    """Parameters with given names, shapes and whether they are trained, in that order."""

    def __init__(self, named: list[tuple[str, list[int], bool]]) -> None:
        super().__init__()
        for name, shape, trained in named:
            module: nn.Module = self
            *path, leaf = name.split(".")
            for part in path:
                if not hasattr(module, part):
                    module.add_module(part, nn.Module())
                module = getattr(module, part)
            module.register_parameter(leaf, nn.Parameter(torch.zeros(shape), requires_grad=trained))


def group_names(model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [{**group, "params": [names[id(parameter)] for parameter in group["params"]]} for group in groups]


def test_parameter_groups_of_named_tensors(goldens: Goldens) -> None:
    case = read(goldens("train/loop/param_groups.json"))["toy"]
    model = Named(case["named"])
    assert group_names(model, parameter_groups(model, 0.05)) == case["wd_0_05"]
    skipping = parameter_groups(model, 0.1, without_decay={"lin.weight"})
    assert group_names(model, skipping) == case["wd_0_1_skip_lin_weight"]


def test_parameter_groups_of_mast3r(goldens: Goldens) -> None:
    case = read(goldens("train/loop/param_groups.json"))["mast3r_tiny"]
    with torch.device("meta"):
        model = ModelConfig.from_expression(case["model"]).build()
    assert group_names(model, parameter_groups(model, 0.05)) == case["groups"]


class Toy(nn.Module):
    """The toy model of the goldens' README."""

    def __init__(self, values: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        for name in ("a", "b", "conf_w", "Wd", "unused"):
            self.register_parameter(name, nn.Parameter(torch.from_numpy(values[f"init.{name}"].copy())))

    def forward(
        self, view1: dict[str, Any], view2: dict[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        pred1, pred2 = self.predict(view1), self.predict(view2)
        pred2["pts3d_in_other_view"] = pred2.pop("pts3d")
        return pred1, pred2

    def predict(self, view: dict[str, Any]) -> dict[str, Tensor]:
        image = view["img"].permute(0, 2, 3, 1)
        return {
            "pts3d": image * self.a + self.b,
            "conf": 1 + torch.exp(self.conf_w * image[..., 0]),
            "desc": nn.functional.normalize(image @ self.Wd.T, dim=-1),
            "desc_conf": torch.exp(self.conf_w * image[..., 1]),
        }


class Stored:
    """Batches of the golden file."""

    def __init__(self, data: Mapping[str, np.ndarray], kind: str) -> None:
        self.batches: list[Batch] = []
        while any(key.startswith(f"{kind}.{len(self.batches)}.") for key in data):
            views = []
            for number in (1, 2):
                prefix = f"{kind}.{len(self.batches)}.view{number}."
                view: dict[str, Any] = {
                    key.removeprefix(prefix): torch.from_numpy(data[key])
                    for key in data
                    if key.startswith(prefix)
                }
                view["instance"] = [f"{sample}_{number - 1}" for sample in range(len(view["img"]))]
                views.append(view)
            self.batches.append((views[0], views[1]))

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, *, first: int = 0) -> Iterator[Batch]:
        yield from self.batches[first:]


@pytest.fixture
def case(goldens: Goldens) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(goldens("train/loop/loop.npz")) as file:
        return read(goldens("train/loop/loop.json")), dict(file)


def learner_of(case: dict[str, Any], data: Mapping[str, np.ndarray]) -> Learner:
    model = Toy(data)
    return Learner(
        model=model,
        optimizer=make_optimizer(model, lr=case["args"]["lr"], weight_decay=case["args"]["weight_decay"]),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        precision=Precision(torch.device("cpu"), torch.float32),
        accum_iter=case["args"]["accum_iter"],
    )


class Steps:
    """Notes every micro-step."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.seen: list[dict[str, Any]] = []

    def micro_step(self, report: StepReport) -> None:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.seen.append({"loss": report.loss, "lr": rates, "details": dict(report.details)})

    def after_update(self, position: EpochPosition) -> bool:
        return False


def test_training_and_testing_epochs(
    case: tuple[dict[str, Any], dict[str, np.ndarray]], caplog: pytest.LogCaptureFixture
) -> None:
    expected, data = case
    caplog.set_level("INFO", "mast3r.train")
    learner = learner_of(expected, data)
    args = expected["args"]
    schedule = CosineSchedule(args["lr"], args["min_lr"], args["warmup_epochs"], args["epochs"])
    train_criterion = build_criterion(expected["train_criterion"])
    test_criterion = build_criterion(expected["test_criterion"])

    for golden in expected["epochs"]:
        steps = Steps(learner.optimizer)
        stats = train_one_epoch(
            learner,
            train_criterion,
            Stored(data, "train"),
            epoch=golden["epoch"],
            schedule=schedule,
            observer=steps,
        )
        for step, recorded in zip(steps.seen, golden["iters"], strict=True):
            assert step["lr"] == pytest.approx(recorded["lr"], rel=1e-12, abs=1e-30)
            assert step["loss"] == pytest.approx(recorded["loss"], rel=1e-4)
            assert list(step["details"]) == list(recorded["details"])
            assert step["details"] == pytest.approx(recorded["details"], rel=1e-4)
        assert stats is not None
        assert stats.pop("grad_norm") > 0
        assert list(stats) == list(golden["stats"])
        assert stats == pytest.approx(golden["stats"], rel=1e-4)
        for name, parameter in learner.model.named_parameters():
            np.testing.assert_allclose(
                parameter.detach().numpy(), data[f"after{golden['epoch']}.{name}"], atol=1e-4, rtol=0
            )
        result = evaluate_one_epoch(learner, test_criterion, Stored(data, "test"), epoch=golden["epoch"])
        assert result == pytest.approx(golden["test"], rel=1e-4)
    optimizer = learner.optimizer.state_dict()
    updates = {str(number): float(state["step"]) for number, state in optimizer["state"].items()}
    assert updates == expected["optimizer_state_steps"]
    for group, golden in zip(optimizer["param_groups"], expected["optimizer_param_groups"], strict=True):
        assert group["lr"] == pytest.approx(golden.pop("lr"), rel=1e-12)
        assert {key: plain(group[key]) for key in golden} == golden
    # Five micro-batches, two an update: said once, not every epoch.
    assert caplog.text.count("that fill no update and are lost: 1") == 1


def test_a_loss_that_is_not_finite_stops(case: tuple[dict[str, Any], dict[str, np.ndarray]]) -> None:
    expected, data = case
    learner = learner_of(expected, data)
    batches = Stored(data, "train")
    batches.batches[2][0]["img"][0, 0, 0, 0] = math.nan
    before = [parameter.clone() for parameter in learner.model.parameters()]
    with pytest.raises(NotFiniteError, match="epoch 0, step 2") as caught:
        train_one_epoch(
            learner,
            build_criterion(expected["train_criterion"]),
            batches,
            epoch=0,
            schedule=CosineSchedule(0.0, 0.0, 0, 1),
        )
    assert repr(SystemExit(caught.value.exit_code)) == expected["nan"]
    assert caught.value.batch is batches.batches[2]
    for old, new in zip(before, learner.model.parameters(), strict=True):
        assert torch.equal(old, new)  # the learning rate was 0, and the NaN did not reach the weights


class Recorder:
    """Notes what the run asks for; test losses are given."""

    def __init__(self, losses: list[float]) -> None:
        self.test_names = ["X", "2 @ Y"]
        self.losses = iter(losses)
        self.events: list[list[Any]] = []
        self.lines: list[dict[str, Any]] = []

    def train(self, epoch: int, start: EpochPosition | None) -> dict[str, float]:
        self.events.append(["train", epoch])
        return {"loss": float(epoch)}

    def evaluate(self, name: str, epoch: int) -> dict[str, float]:
        loss = next(self.losses) if name == "X" else 9.0
        self.events.append(["test", epoch, name, loss])
        return {"loss_med": loss, "loss_avg": loss}

    def save(self, name: str, epoch: int, best_so_far: float) -> None:
        self.events.append(["save", name, epoch, best_so_far])

    def save_final(self, epoch: int, best_so_far: float) -> None:
        self.events.append(["save_final", epoch, best_so_far])

    def log(self, epoch: int, train: Any, tests: Any, best_so_far: float) -> None:
        trained = {f"train_{key}": value for key, value in (train or {}).items()}
        results = {f"{name}_{key}": value for name, stats in tests.items() for key, value in stats.items()}
        self.lines.append({"epoch": epoch, **trained, **results})


def stripped(value: Any) -> Any:
    if isinstance(value, list):
        return [stripped(item) for item in value]
    if value == "inf":
        return math.inf
    return value.strip() if isinstance(value, str) else value


def test_order_of_events(goldens: Goldens) -> None:
    for case in read(goldens("train/loop/events.json")):
        config = case["config"]
        recorder = Recorder(config["test_losses_X"])
        resumed = config["resume_from_epoch"]
        plan = EpochPlan(config["epochs"], config["eval_freq"], config["save_freq"], config["keep_freq"])
        assert run_epochs(plan, recorder, start_epoch=resumed, best_so_far=0.45 if resumed else math.inf)
        assert recorder.events == [stripped(event) for event in case["events"] if event[0] != "build"]
        settings = TrainConfig(train_dataset="TR()", test_dataset="X(1) + 2 @ Y(b=3)", batch_size=1)
        assert settings.peak_lr() == case["lr"]
        builds = [[stripped(event[1]), event[2]] for event in case["events"] if event[0] == "build"]
        terms = parse_expression(settings.test_dataset).terms()
        assert builds == [[settings.train_dataset, False], *([term.text, True] for term in terms)]
        assert recorder.test_names == [term.name for term in terms]
        for line, golden in zip(recorder.lines, case["log"], strict=True):
            golden = {stripped(key): value for key, value in golden.items()}
            assert line.items() <= golden.items()
            evaluated = config["eval_freq"] and line["epoch"] % config["eval_freq"] == 0 and line["epoch"] > 0
            assert line == golden or not evaluated


@pytest.mark.parametrize(
    ("best_on", "expected"), [("any", 2.0), ("mean", 5.5), ("2 @ Y", 9.0), ("absent", math.inf)]
)
def test_best_on(best_on: str, expected: float) -> None:
    recorder = Recorder([2.0])
    run_epochs(EpochPlan(1, best_on=best_on, keep_freq=0), recorder)
    assert recorder.events[-1] == ["save_final", 1, expected]
