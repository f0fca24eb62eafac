"""A run that was stopped, killed or is continued ends with the same bits as one that was not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_model import CheckpointError, UnsafeCheckpointError, hookimpl
from mast3r_model.plugins import temporary_plugin
from mast3r_train import PairDataset, TrainConfig, train
from mast3r_train.loop.checkpointing import (
    checkpoint_path,
    random_states,
    read_checkpoint,
    restore_random_states,
)
from mast3r_train.loop.interruption import StopRequest
from mast3r_train.loop.nan_guard import NotFiniteError

TOYS_FILE = Path(__file__).with_name("loop_toy_pairs.py")


def settings(toys: ModuleType, folder: Path, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "model": toys.MODEL,
        "train_criterion": toys.CRITERION,
        "train_dataset": "ToyPairs(8, noise=0.1)",
        "test_dataset": "ToyPairs(2)",
        "batch_size": 2,
        "num_workers": 0,
        "epochs": 2,
        "warmup_epochs": 0,
        "lr": 1e-3,
        "ema": 0.9,
        "device": "cpu",
        "print_freq": 1,
        "output_dir": str(folder),
    }
    return TrainConfig.from_dict({**values, **changes})


@pytest.fixture(scope="module")
def uninterrupted(toys: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = train(settings(toys, folder))
    assert result.completed
    assert result.checkpoint == checkpoint_path(folder, "final-ema")
    assert result.pairs_seen == 16
    return folder


def assert_same(one: Any, other: Any, place: str = "") -> None:
    """Equal to the last bit, in depth."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    elif isinstance(one, dict):
        assert list(one) == list(other), place
        for key in one:
            assert_same(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{place}[{number}]")
    else:
        assert one == other, place


def assert_same_end(folder: Path, expected: Path) -> None:
    for name in ("last", "final", "final-ema"):
        one, other = (read_checkpoint(checkpoint_path(where, name)) for where in (folder, expected))
        for content in (one, other):
            del content["args"]
            content.pop("progress", None)
        assert_same(one, other, name)


def test_checkpoints_have_upstreams_layout(uninterrupted: Path, toys: ModuleType) -> None:
    last = read_checkpoint(checkpoint_path(uninterrupted, "last"))
    assert {"model", "optimizer", "scaler", "args", "epoch", "best_so_far"} <= set(last)
    assert last["epoch"] == 1
    assert last["args"].model == toys.MODEL
    final = read_checkpoint(checkpoint_path(uninterrupted, "final"))
    assert set(final) == {"args", "model", "epoch", "best_so_far"}
    assert final["epoch"] == 2
    assert checkpoint_path(uninterrupted, "best").exists()
    lines = [json.loads(line) for line in (uninterrupted / "log.txt").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert {"train_loss", "ToyPairs_loss_avg", "ToyPairs_loss_med"} <= set(lines[2])
    assert (uninterrupted / "curves.png").stat().st_size > 1000
    assert len((uninterrupted / "steps.jsonl").read_text().splitlines()) == 8


def test_one_epoch_and_then_another_equal_two(toys: ModuleType, uninterrupted: Path, tmp_path: Path) -> None:
    class StopAfterFirstEpoch(StopRequest):
        """Due when the first epoch's checkpoint is there: a stop after the next update."""

        @property
        def is_due(self) -> bool:
            return checkpoint_path(tmp_path, "last").exists()

    result = train(settings(toys, tmp_path), stop=StopAfterFirstEpoch())
    assert not result.completed
    assert result.checkpoint == checkpoint_path(tmp_path, "last")
    stopped = read_checkpoint(result.checkpoint)
    assert stopped["epoch"] == 0
    assert stopped["position"]["epoch"] == 1
    assert stopped["position"]["step"] == 1
    assert train(settings(toys, tmp_path)).completed
    assert_same_end(tmp_path, uninterrupted)


def test_going_on_at_an_epochs_end(toys: ModuleType, uninterrupted: Path, tmp_path: Path) -> None:
    # keep_freq=1 leaves the state after the first epoch in checkpoint-1.pth of a whole run.
    whole = tmp_path / "whole"
    train(settings(toys, whole, keep_freq=1))
    part = tmp_path / "part"
    part.mkdir()
    checkpoint_path(whole, "1").rename(checkpoint_path(part, "last"))
    assert train(settings(toys, part)).completed
    assert_same_end(part, uninterrupted)


class NoisyWall(PairDataset):
    """Two photos of a wall two metres away, made of noise that the sample's generator draws."""

    is_metric_scale = True

    def __len__(self) -> int:
        return 8

    def _get_views(self, index: int, resolution: Any, rng: np.random.Generator) -> list[dict[str, Any]]:
        wall = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
        views = []
        for number in range(2):
            image, depth, intrinsics = self._crop_resize_if_necessary(
                Image.fromarray(wall[:, 10 * number : 10 * number + 80]),
                np.full((60, 80), 2.0, dtype=np.float32),
                np.array([[80.0, 0, 39.5], [0, 80.0, 29.5], [0, 0, 1]]),
                resolution,
                rng,
            )
            cam2world = np.eye(4, dtype=np.float32)
            cam2world[0, 3] = 10 * number * 2 / 80
            views.append(
                {
                    "img": image, "depthmap": depth, "camera_pose": cam2world, "camera_intrinsics": intrinsics,
                    "dataset": "NoisyWall", "label": "wall", "instance": f"{index}_{number}",
                }
            )  # fmt: skip
        return views


def test_a_dataset_with_a_seed_goes_on_exactly(toys: ModuleType, tmp_path: Path) -> None:
    """Spec 40 section 13: augmentations and correspondences too."""
    wall = (
        "NoisyWall(resolution=(48, 32), n_corres=16, nneg=0.25, aug_crop='auto', aug_swap=True, "
        "transform=ImgNorm, seed=3)"
    )
    plugin = SimpleNamespace(
        mast3r_datasets=hookimpl(lambda: {"NoisyWall": NoisyWall}, specname="mast3r_datasets")
    )
    with temporary_plugin(plugin, "noisy-wall"):
        whole, parts = (
            settings(toys, tmp_path / name, train_dataset=wall, test_dataset="[None]", keep_freq=1)
            for name in ("whole", "parts")
        )
        assert train(whole).completed
        (tmp_path / "parts").mkdir()
        checkpoint_path(tmp_path / "whole", "1").rename(checkpoint_path(tmp_path / "parts", "last"))
        assert train(parts).completed
    assert_same_end(tmp_path / "parts", tmp_path / "whole")


def test_killed_in_the_middle_of_an_epoch(toys: ModuleType, uninterrupted: Path, tmp_path: Path) -> None:
    config = settings(
        toys,
        tmp_path,
        train_dataset="ToyPairs(8, noise=0.1, delay=0.5)",
        num_workers=1,
        save_minutes=1e-9,
    )
    flags = [
        f"--{name}={value}"
        for name, value in config.to_dict().items()
        if value is not None and not isinstance(value, bool | list | tuple)
    ]
    process = subprocess.Popen(
        [sys.executable, str(TOYS_FILE), *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    steps = tmp_path / "steps.jsonl"
    deadline = time.monotonic() + 300
    while not (steps.exists() and len(steps.read_text().splitlines()) >= 6):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with contextlib.suppress(ProcessLookupError):  # once its worker has ended too
        while True:
            os.killpg(process.pid, 0)
            assert time.monotonic() < deadline
            time.sleep(0.02)
    killed = read_checkpoint(checkpoint_path(tmp_path, "last"))
    assert killed["position"]["epoch"] == 1
    assert 0 < killed["position"]["step"] < 4
    assert train(settings(toys, tmp_path)).completed
    assert_same_end(tmp_path, uninterrupted)


def test_the_number_of_workers_does_not_matter(toys: ModuleType, uninterrupted: Path, tmp_path: Path) -> None:
    assert train(settings(toys, tmp_path, num_workers=2)).completed
    assert_same_end(tmp_path, uninterrupted)


def test_batches_made_at_once_are_used(toys: ModuleType, uninterrupted: Path, tmp_path: Path) -> None:
    batched = settings(
        toys, tmp_path, train_dataset="8 @ BatchedToyPairs(8)", epochs=1, test_dataset="[None]"
    )
    assert train(batched).completed
    mixed = settings(
        toys, tmp_path / "mixed", train_dataset="BatchedToyPairs(4) + ToyPairs(4)", epochs=1, eval_freq=0
    )
    assert train(mixed).completed


def test_max_minutes_and_bf16(toys: ModuleType, tmp_path: Path) -> None:
    result = train(settings(toys, tmp_path, max_minutes=1e-9, amp="bf16", accum_iter=2, clip_grad=1.0))
    assert not result.completed
    assert read_checkpoint(checkpoint_path(tmp_path, "last"))["position"]["step"] == 2


def test_a_nan_leaves_evidence_and_no_checkpoint(toys: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(NotFiniteError) as caught:
        train(settings(toys, tmp_path, train_dataset="ToyPairs(8, nan_at=5)", save_minutes=0))
    assert str(tmp_path / "nan-report.json") in str(caught.value.hint)
    report = json.loads((tmp_path / "nan-report.json").read_text())
    assert report["what"] == "loss"
    assert report["loss"] is None
    assert "5_0" in report["batch"]["view1"]["instance"]
    batch = torch.load(tmp_path / "nan-batch.pt", weights_only=True)
    assert torch.isnan(batch["view1"]["img"]).any()
    assert not list(tmp_path.glob("checkpoint-*.pth"))


def test_dry_run_writes_nothing(toys: ModuleType, tmp_path: Path) -> None:
    result = train(settings(toys, tmp_path / "out", dry_run=True))
    assert result.checkpoint is None
    assert not (tmp_path / "out").exists()


def test_another_epoch_length_starts_the_epoch_again(
    toys: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(settings(toys, tmp_path, epochs=1, max_minutes=1e-9))
    assert train(settings(toys, tmp_path, epochs=1, batch_size=4)).completed
    assert "starting epoch 0 again" in caplog.text


def test_broken_and_foreign_checkpoints_are_refused(toys: ModuleType, tmp_path: Path) -> None:
    last = checkpoint_path(tmp_path, "last")
    last.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(CheckpointError, match="checkpoint-last"):
        train(settings(toys, tmp_path))
    torch.save({"model": {"w": torch.zeros(1)}, "optimizer": {}, "epoch": 0}, last)
    with pytest.raises(CheckpointError, match="does not fit"):
        train(settings(toys, tmp_path))
    torch.save({"model": Path("x")}, last)
    with pytest.raises(UnsafeCheckpointError):
        train(settings(toys, tmp_path))


def test_random_states_come_back() -> None:
    states = random_states()
    first = (torch.rand(3), np.random.random(3))
    restore_random_states(states)
    assert torch.equal(first[0], torch.rand(3))
    np.testing.assert_array_equal(first[1], np.random.random(3))
