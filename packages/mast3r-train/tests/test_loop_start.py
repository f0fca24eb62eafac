"""How a run starts: seeds, torch's switches, default losses, where weights come from (spec 40 section 9.1)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mast3r_model import ConfigError, InputError, Mast3rError
from mast3r_train import TrainConfig, train
from mast3r_train.loop.checkpointing import checkpoint_path, read_checkpoint
from mast3r_train.loop.ranks import Ranks
from mast3r_train.loop.training import build_parts, prepare_torch

Settings = Callable[..., TrainConfig]


@pytest.fixture
def _switches() -> Iterator[None]:
    benchmark, precision = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    yield
    torch.backends.cudnn.benchmark = benchmark
    torch.set_float32_matmul_precision(precision)


@pytest.mark.usefixtures("_switches")
@pytest.mark.parametrize("disabled", [False, True])
def test_switches(disabled: bool, toy_settings: Settings, tmp_path: Path) -> None:
    torch.set_float32_matmul_precision("highest")
    prepare_torch(toy_settings(tmp_path, disable_cudnn_benchmark=disabled), Ranks())
    assert torch.backends.cudnn.benchmark is not disabled
    assert torch.get_float32_matmul_precision() == "high"  # TF32 where there is such a thing


@pytest.mark.usefixtures("_switches")
def test_every_rank_has_its_own_seed(toy_settings: Settings, tmp_path: Path) -> None:
    prepare_torch(toy_settings(tmp_path, seed=5), Ranks(rank=2, world_size=4))
    drawn = (torch.rand(3), np.random.random(3), random.random())
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    assert torch.equal(drawn[0], torch.rand(3))
    np.testing.assert_array_equal(drawn[1], np.random.random(3))
    assert drawn[2] == random.random()


@pytest.mark.usefixtures("_switches")
def test_the_seed_decides_the_first_weights(toy_settings: Settings, tmp_path: Path) -> None:
    models = [
        build_parts(toy_settings(tmp_path, seed=seed), Ranks()).learner.model.state_dict()
        for seed in (3, 3, 4)
    ]
    name = "decoder_embed.weight"
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
    assert not torch.equal(models[0][name], models[2][name])


@pytest.mark.usefixtures("_switches")
def test_the_test_loss_is_the_training_loss_unless_given(toy_settings: Settings, tmp_path: Path) -> None:
    parts = build_parts(toy_settings(tmp_path, test_dataset="ToyPairs(2)"), Ranks())
    assert parts.test_criterion is parts.train_criterion
    parts = build_parts(toy_settings(tmp_path, test_criterion="Regr3D(L21)"), Ranks())
    assert repr(parts.test_criterion) == "Regr3D(L21)"
    assert repr(parts.train_criterion).startswith(
        "ConfLoss(Regr3D(L21, norm_mode='?avg_dis'), alpha=0.2) + 0.075*"
    )


def test_pretrained_weights_are_for_new_runs_only(toy_settings: Settings, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pth")
    with pytest.raises(Mast3rError, match="missing"):
        train(toy_settings(tmp_path / "run", pretrained=missing))
    train(toy_settings(tmp_path / "run", epochs=1))
    assert train(toy_settings(tmp_path / "run", pretrained=missing)).completed


def test_an_unknown_choice_of_the_best_is_refused(toy_settings: Settings, tmp_path: Path) -> None:
    tests = "ToyPairs(2) + 2 @ ToyPairs(4)"
    with pytest.raises(ConfigError, match="--best_on 'ToyPair' is no test set") as caught:
        train(toy_settings(tmp_path, test_dataset=tests, best_on="ToyPair"))
    assert caught.value.hint == "choose from: any, mean, ToyPairs, 2 @ ToyPairs"
    assert not list(tmp_path.iterdir())


def test_best_on_one_of_two_test_sets(toys: ModuleType, toy_settings: Settings, tmp_path: Path) -> None:
    tests = "ToyPairs(2) + 2 @ ToyPairs(4)"
    config = toy_settings(tmp_path, test_dataset=tests, best_on="2 @ ToyPairs", epochs=1)
    assert train(config).completed
    best = read_checkpoint(checkpoint_path(tmp_path, "best"))
    log = (tmp_path / "log.txt").read_text().splitlines()[-1]
    assert f'"2 @ ToyPairs_loss_med": {best["best_so_far"]}' in log


def test_python_starts_no_processes_and_says_so(toy_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nproc_per_node is 2, but only the command starts") as caught:
        train(toy_settings(tmp_path, nproc_per_node="2"))
    assert "torchrun" in str(caught.value.hint)
    assert train(toy_settings(tmp_path, nproc_per_node="1", dry_run=True)).pairs_seen == 2


def test_an_epoch_without_a_whole_batch_is_refused(toy_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, InputError), match="not enough for one batch of 9"):
        train(toy_settings(tmp_path, batch_size=9))
