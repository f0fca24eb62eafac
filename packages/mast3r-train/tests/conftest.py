"""A small dataset and a small network for the tests that train."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mast3r_model.plugins import temporary_plugin
from mast3r_train import TrainConfig

TOYS_FILE = Path(__file__).with_name("loop_toy_pairs.py")


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing a run's curves takes longer than training here; fixtures of modules are made before this."""
    monkeypatch.setattr("mast3r_train.loop.logs.plot_curves", lambda *files: None)


@pytest.fixture(scope="module")
def toys() -> Iterator[ModuleType]:
    """The module of the toy dataset, which is registered; torch on one thread."""
    spec = importlib.util.spec_from_file_location("loop_toy_pairs", TOYS_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with temporary_plugin(module.PLUGIN, "toy-pairs"):
        yield module
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def toy_settings(toys: ModuleType) -> Callable[..., TrainConfig]:
    """Settings of a short run on the CPU: of the output folder, and what is to be different."""

    def settings(folder: Path, **changes: Any) -> TrainConfig:
        values: dict[str, Any] = {
            "model": toys.MODEL,
            "train_criterion": toys.CRITERION,
            "train_dataset": "ToyPairs(8, noise=0.1)",
            "batch_size": 2,
            "num_workers": 0,
            "epochs": 2,
            "warmup_epochs": 0,
            "lr": 1e-3,
            "device": "cpu",
            "output_dir": str(folder),
        }
        return TrainConfig.from_dict({**values, **changes})

    return settings
