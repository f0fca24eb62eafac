"""Training on a device: the same runs on the CPU here and, with ``-m gpu``, on a CUDA device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mast3r_train import SyntheticScenes, TrainConfig, train
from mast3r_train.conformance import assert_conforms
from mast3r_train.loop.checkpointing import checkpoint_path, read_checkpoint

Settings = Callable[..., TrainConfig]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device; a GPU that is not there is a skip that says so."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return str(request.param)


def losses(folder: Path) -> list[float]:
    lines = (folder / "log.txt").read_text().splitlines()
    return [line["train_loss"] for line in map(json.loads, lines) if "train_loss" in line]


@pytest.mark.parametrize(
    "changes",
    [
        {"amp": "0"},
        {"amp": "1"},
        {"amp": "bf16", "accum_iter": 2},
        {"amp": "bf16", "gradient_checkpointing": True, "ema": 0.9, "clip_grad": 1.0},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_the_loss_falls(device: str, changes: dict[str, Any], toy_settings: Settings, tmp_path: Path) -> None:
    config = toy_settings(tmp_path, device=device, epochs=4, lr=3e-3, **changes)
    result = train(config)
    assert result.completed
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]
    weights = read_checkpoint(checkpoint_path(tmp_path, "final"))["model"]
    assert all(value.isfinite().all() for value in weights.values())


def test_a_run_goes_on(device: str, toy_settings: Settings, tmp_path: Path) -> None:
    train(toy_settings(tmp_path / "whole", device=device))
    train(toy_settings(tmp_path / "parts", device=device, max_minutes=1e-9))
    assert not (tmp_path / "parts" / "checkpoint-final.pth").exists()
    assert train(toy_settings(tmp_path / "parts", device=device)).completed
    # On a CPU they are equal to the bit (test_loop_resume.py); a GPU adds in any order.
    assert losses(tmp_path / "parts")[-1] == pytest.approx(losses(tmp_path / "whole")[-1], rel=1e-3)


def test_scenes_are_rendered_on_the_device(device: str) -> None:
    options: dict[str, Any] = {"resolution": (96, 64), "n_corres": 64, "procedural": 4, "effects": False}
    scenes = SyntheticScenes(4, device=device, **options)
    assert_conforms(scenes, samples=2)
    here, there = SyntheticScenes(4, **options)[(0, 0)][0], scenes[(0, 0)][0]
    same = torch.from_numpy(abs(here["depthmap"] - there["depthmap"]) < 1e-3)
    assert same.float().mean() > 0.99


@pytest.mark.slow
def test_processes_of_a_launcher(device: str, toy_settings: Settings, tmp_path: Path) -> None:
    """A process a GPU (NCCL), here one: gradients go through DistributedDataParallel."""
    config = toy_settings(tmp_path / "alone", device=device, epochs=1)
    words = [
        *("--model", config.model, "--train_criterion", config.train_criterion),
        *("--train_dataset", "8 @ SyntheticScenes(8, resolution=(48, 32), n_corres=32, procedural=2)"),
        *("--batch_size", "2", "--num_workers", "0", "--epochs", "1", "--warmup_epochs", "0"),
        *("--lr", "1e-4", "--device", device),
    ]
    results = []
    for name, environment in (("alone", {}), ("launched", {"RANK": "0", "WORLD_SIZE": "1"})):
        place = {"LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"} if environment else {}
        done = subprocess.run(
            [sys.executable, "-m", "mast3r_train", *words, "--output_dir", str(tmp_path / name)],
            env={**os.environ, **environment, **place},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        results.append(losses(tmp_path / name)[-1])
    assert results[1] == pytest.approx(results[0], rel=1e-3)
