"""Pretraining by completion: its numbers, its files, going on after a kill, and what its checkpoints are for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from croco_backbone import CroCoNet
from mast3r_model import (
    CheckpointError,
    ConfigError,
    InputError,
    Precision,
    load_croco,
    load_model,
    resolve_precision,
)
from mast3r_train.croco import PretrainConfig, pretrain, render_pairs
from mast3r_train.croco.completion import build_croco, completion_step
from mast3r_train.croco.pretraining import build_pretraining, loop_settings
from mast3r_train.croco.schedule import PretrainPlan
from mast3r_train.loop.building import build_model
from mast3r_train.loop.checkpointing import checkpoint_path, read_checkpoint
from mast3r_train.loop.ranks import Ranks
from mast3r_train.loop.schedule import CosineSchedule

SIZE, PATCH = 32, 8
TRUNK = (
    "enc_embed_dim=48, enc_depth=2, enc_num_heads=2, dec_embed_dim=32, dec_depth=2, dec_num_heads=2, "
    "pos_embed='RoPE100'"
)
MODEL = f"CroCoNet(img_size={SIZE}, patch_size={PATCH}, mask_ratio=0.75, {TRUNK})"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Torch on one thread, as in the subprocess: sums in another order would differ in the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 pairs of views of synthetic scenes."""
    folder = tmp_path_factory.mktemp("pairs")
    render_pairs(folder, 24, size=40, procedural=6)
    assert len(list(folder.glob("*_[12].jpg"))) == 48
    return folder


def settings(pairs: Path, output: Path, **changes: Any) -> PretrainConfig:
    values: dict[str, Any] = {
        "dataset": f"folder:{pairs}",
        "transforms": f"crop{SIZE}+acolor",
        "model": MODEL,
        "batch_size": 8,
        "num_workers": 0,
        "epochs": 4,
        "max_epoch": 2,
        "warmup_epochs": 1,
        "lr": 3e-3,
        "print_freq": 1,
        "device": "cpu",
        "output_dir": str(output),
    }
    return PretrainConfig(**{**values, **changes})


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def patches_of(images: np.ndarray) -> np.ndarray:
    """(batch, tokens, patch * patch * 3), rows of patches first, colours fastest; with plain loops."""
    side = SIZE // PATCH
    return np.stack(
        [
            [
                image[:, y * PATCH : (y + 1) * PATCH, x * PATCH : (x + 1) * PATCH]
                .transpose(1, 2, 0)
                .reshape(-1)
                for y in range(side)
                for x in range(side)
            ]
            for image in images
        ]
    )


@pytest.mark.parametrize("norm_pix_loss", [0, 1])
def test_first_loss_is_the_one_computed_by_hand(pairs: Path, tmp_path: Path, norm_pix_loss: int) -> None:
    config = settings(pairs, tmp_path, norm_pix_loss=norm_pix_loss, max_epoch=1, seed=7)
    pretrain(config)
    trained = lines(tmp_path, "steps.jsonl")[0]
    assert trained["lr"] == 0

    parts = build_pretraining(config, loop_settings(config), Ranks())
    noise = torch.rand(8, 16)
    hidden = torch.zeros(8, 16, dtype=torch.bool)
    for row, numbers in enumerate(noise):
        order = sorted(range(16), key=lambda token: float(numbers[token]))
        hidden[row] = torch.tensor([order[place] < 12 for place in range(16)])
    assert hidden.sum(dim=1).tolist() == [12] * 8
    view1, view2 = next(parts.train_loader.epoch(0))
    model = parts.learner.model
    assert isinstance(model, CroCoNet)
    with torch.no_grad():
        decoded = model.decode(*model.encode(view1["img"], hidden), *model.encode(view2["img"]), hidden)
        predicted = model.prediction_head(decoded).double().numpy()
    target = patches_of(view1["img"].double().numpy())
    if norm_pix_loss:
        variance = target.var(axis=-1, ddof=1, keepdims=True)
        target = (target - target.mean(axis=-1, keepdims=True)) / np.sqrt(variance + 1e-6)
    errors = ((predicted - target) ** 2).mean(axis=-1)
    assert trained["loss"] == pytest.approx(errors[hidden.numpy()].mean(), rel=1e-5)


def test_it_learns_more_than_the_patches_means(pairs: Path, tmp_path: Path) -> None:
    config = settings(pairs, tmp_path, epochs=12, max_epoch=12, keep_freq=0, save_freq=0)
    assert pretrain(config).completed
    losses = [line["train_loss"] for line in lines(tmp_path, "log.txt")]
    assert losses[0] > 1.1
    assert max(losses[-3:]) < 0.9  # normalised patches: their means alone give 1


def test_files_log_lines_and_learning_rate(pairs: Path, tmp_path: Path) -> None:
    result = pretrain(settings(pairs, tmp_path))
    assert result.completed
    assert result.pairs_seen == 48
    assert result.checkpoint == checkpoint_path(tmp_path, "1")
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["checkpoint-1.pth", "checkpoint-last.pth"]
    log = lines(tmp_path, "log.txt")
    assert [line["epoch"] for line in log] == [0, 1]
    assert all({"train_lr", "train_loss"} <= set(line) and "train_epoch" not in line for line in log)
    steps = lines(tmp_path, "steps.jsonl")
    cosine = CosineSchedule(3e-3, 0.0, 1, 4)  # over --epochs, not --max_epoch
    assert [line["lr"] for line in steps] == pytest.approx([cosine.at(step / 3) for step in range(6)])
    content = read_checkpoint(result.checkpoint)
    assert {"model", "optimizer", "scaler", "args", "epoch"} <= set(content)
    assert content["epoch"] == 1
    assert (content["args"].model, content["args"].norm_pix_loss) == (MODEL, 1)


def test_names_in_tensorboard(pairs: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pretrain(settings(pairs, tmp_path, max_epoch=1))
    board = EventAccumulator(str(tmp_path)).Reload()
    assert {"train_loss", "lr"} <= set(board.Tags()["scalars"])
    assert "train_lr" not in board.Tags()["scalars"]
    assert [event.step for event in board.Scalars("lr")] == [0, 333, 666]


class _Notes:
    """Notes what a plan asks for."""

    test_names = ()

    def __init__(self) -> None:
        self.events: list[str] = []

    def train(self, epoch: int, start: Any) -> Mapping[str, float]:
        self.events.append(f"train {epoch}")
        return {"loss": 1.0, "epoch": epoch + 0.5}

    def save(self, name: str, epoch: int, best_so_far: float) -> None:
        assert name in ("last", str(epoch))
        self.events.append(f"save {name} of {epoch}")

    def log(self, epoch: int, train: Mapping[str, float], tests: Any, best_so_far: float) -> None:
        assert dict(train) == {"loss": 1.0}
        self.events.append(f"log {epoch}")


@pytest.mark.parametrize(
    ("plan", "saved"),
    [
        (PretrainPlan(1), ["last of 0", "0 of 0"]),
        (PretrainPlan(2), ["last of 0", "last of 1", "1 of 1"]),
        (PretrainPlan(5, save_freq=2, keep_freq=2), ["last of 0", "last of 2", "2 of 2", "last of 4", "4 of 4"]),
        (PretrainPlan(4, save_freq=3, keep_freq=20), ["last of 0", "last of 3", "3 of 3"]),
        (PretrainPlan(3, save_freq=0, keep_freq=0), ["2 of 2"]),
    ],
)  # fmt: skip
def test_what_is_saved_when(plan: PretrainPlan, saved: list[str]) -> None:
    notes = _Notes()
    assert plan(notes, best_so_far=np.inf)
    assert [event.removeprefix("save ") for event in notes.events if event.startswith("save")] == saved
    assert [event for event in notes.events if event.startswith("log")] == [
        f"log {epoch}" for epoch in range(plan.max_epoch)
    ]
    later = _Notes()
    plan(later, start_epoch=plan.max_epoch - 1, best_so_far=np.inf)
    assert later.events == notes.events[notes.events.index(f"train {plan.max_epoch - 1}") :]


def test_model_and_loss_are_under_autocast(pairs: Path, tmp_path: Path) -> None:
    config = settings(pairs, tmp_path, amp="bf16")
    parts = build_pretraining(config, loop_settings(config), Ranks())
    assert parts.learner.precision == Precision(torch.device("cpu"), torch.bfloat16)
    seen: list[Any] = []

    def criterion(output: Any) -> Any:
        seen.append((torch.is_autocast_enabled("cpu"), output.prediction.dtype, output.target.dtype))
        return parts.train_criterion(output)

    batch = next(parts.train_loader.epoch(0))
    result = completion_step(parts.learner.model, criterion, batch, parts.learner.precision)
    assert seen == [(True, torch.bfloat16, torch.float32)]
    assert result.loss.dtype == torch.float32
    assert result.value == pytest.approx(1.4, abs=0.5)


def test_fp16_on_a_cpu_is_float32_and_says_so(
    pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(pairs, tmp_path)
    assert config.amp == "1"
    with caplog.at_level("INFO", logger="mast3r.train"):
        parts = build_pretraining(config, loop_settings(config), Ranks())
    assert parts.learner.precision.dtype == torch.float32
    assert "computing in float32" in caplog.text
    caplog.clear()
    loop_settings(settings(pairs, tmp_path, amp="0"))
    assert "computing in float32" not in caplog.text


@pytest.mark.gpu
def test_fp16_on_a_gpu(pairs: Path, tmp_path: Path) -> None:
    config = settings(pairs, tmp_path, device="cuda", epochs=12, max_epoch=12)
    assert loop_settings(config).amp == "1"
    assert resolve_precision("cuda", "fp16").dtype == torch.float16
    assert pretrain(config).completed
    losses = [line["train_loss"] for line in lines(tmp_path, "log.txt")]
    assert max(losses[-3:]) < 0.9


COMMAND = (sys.executable, "-m", "mast3r_train.croco", "--threads", "1")


def words(config: PretrainConfig) -> list[str]:
    given = {
        name: value for name, value in config.to_dict().items() if value != getattr(PretrainConfig, name)
    }
    return [f"--{name}={value}" for name, value in given.items()]


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = read_checkpoint(one), read_checkpoint(other)
    for key, value in first["model"].items():
        assert torch.equal(value, second["model"][key]), key
    for number, state in first["optimizer"]["state"].items():
        for key, value in state.items():
            assert torch.equal(value, second["optimizer"]["state"][number][key]), (number, key)
    assert torch.equal(first["rng"]["torch"], second["rng"]["torch"])


@pytest.mark.parametrize("save_minutes", [0.0, pytest.param(1e-6, marks=pytest.mark.slow)])
def test_killed_in_an_epoch_it_ends_with_the_same_bits(
    pairs: Path, tmp_path: Path, save_minutes: float
) -> None:
    changes: dict[str, Any] = {"batch_size": 2, "max_epoch": 3, "save_minutes": save_minutes}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    pretrain(settings(pairs, whole, **changes))
    config = settings(pairs, killed, num_workers=1, **changes)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen([*COMMAND, *words(config)], env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            steps = killed / "steps.jsonl"
            if steps.exists() and '"epoch": 1, "step": 3' in steps.read_text():
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    last = read_checkpoint(checkpoint_path(killed, "last"))
    assert last["epoch"] == 0
    assert ("position" in last) == (save_minutes > 0)
    resumed = pretrain(settings(pairs, killed, **changes))
    assert resumed.completed
    assert_same_weights(checkpoint_path(killed, "2"), checkpoint_path(whole, "2"))
    assert lines(killed, "log.txt")[-1]["train_loss"] == lines(whole, "log.txt")[-1]["train_loss"]


def test_a_finished_run_is_not_trained_again(pairs: Path, tmp_path: Path) -> None:
    first = pretrain(settings(pairs, tmp_path))
    before = (tmp_path / "checkpoint-1.pth").read_bytes()
    again = pretrain(settings(pairs, tmp_path))
    assert (again.completed, again.checkpoint, again.pairs_seen) == (True, first.checkpoint, 48)
    assert (tmp_path / "checkpoint-1.pth").read_bytes() == before


@pytest.fixture(scope="module")
def pretrained(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    checkpoint = pretrain(settings(pairs, folder)).checkpoint
    assert checkpoint is not None
    return checkpoint


def test_its_checkpoint_is_a_croco_network(pretrained: Path) -> None:
    network = load_croco(pretrained)
    stored = read_checkpoint(pretrained)["model"]
    assert set(stored) == set(network.state_dict())
    for name, value in network.state_dict().items():
        assert torch.equal(value, stored[name]), name
    with pytest.raises(CheckpointError, match="pretraining network") as caught:
        load_model(pretrained, device="cpu")
    assert "--pretrained" in str(caught.value.hint)


def test_other_models_start_from_its_checkpoint(pretrained: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = (
        f"AsymmetricMASt3R(img_size=({SIZE}, 48), patch_size={PATCH}, patch_embed_cls='ManyAR_PatchEmbed', "
        f"head_type='nano', output_mode='pts3d+desc8', depth_mode=('exp', -inf, inf), "
        f"conf_mode=('exp', 1, inf), two_confs=True, desc_conf_mode=('exp', 0, inf), {TRUNK})"
    )
    with caplog.at_level("INFO", logger="mast3r.train"):
        model = build_model(text, pretrained=str(pretrained))  # what mast3r train --pretrained calls
    assert "prediction_head.weight" in caplog.text
    weights, stored = model.state_dict(), read_checkpoint(pretrained)["model"]
    for name, value in stored.items():
        if name.startswith("prediction_head."):
            continue
        assert torch.equal(weights[name], value), name
        if name.startswith("dec_blocks."):
            assert torch.equal(weights[name.replace("dec_blocks.", "dec_blocks2.")], value), name


def test_broken_images_are_skipped_counted_and_named(pairs: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for file in pairs.iterdir():
        os.symlink(file, mixed / file.name)
    (mixed / "000003_2.jpg").unlink()
    (mixed / "000003_2.jpg").write_bytes(b"no picture")
    (mixed / "000007_1.jpg").unlink()
    Image.new("RGB", (20, 20)).save(mixed / "000007_1.jpg")
    out = tmp_path / "out"
    assert pretrain(settings(mixed, out, max_epoch=1)).completed
    assert lines(out, "log.txt")[0]["train_skipped"] == 2
    named = " ".join(line["message"] for line in lines(out, "skipped.jsonl"))
    assert "000003_2.jpg" in named
    assert "000007_1.jpg" in named
    with pytest.raises(InputError, match="--max_skipped"):
        pretrain(settings(mixed, tmp_path / "strict", max_skipped=1))


def test_a_dry_run_writes_nothing(pairs: Path, tmp_path: Path) -> None:
    result = pretrain(settings(pairs, tmp_path / "out", dry_run=True))
    assert result.checkpoint is None
    assert not (tmp_path / "out").exists()


def test_impossible_settings_are_refused(pairs: Path, tmp_path: Path) -> None:
    for changes, message in (
        ({"transforms": "crop24"}, "images of 24x24, the model takes 32x32"),
        ({"transforms": "acolor"}, "no crop"),
        ({"model": "CroCoNet(dec_dept=2)"}, "dec_dept"),
        ({"model": "AsymmetricMASt3R()"}, "cannot be pretrained"),
        ({"max_epoch": 5}, "beyond the end"),
        ({"max_epoch": 0}, "at least 1"),
        ({"norm_pix_loss": 2}, "expected 0 or 1"),
        ({"batch_size": 25}, "not enough for one batch"),
        ({"blr": -1.0}, "blr"),
        ({"dataset": " "}, "empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            pretrain(settings(pairs, tmp_path, **changes))


def test_released_networks_have_their_sizes() -> None:
    large = (
        "CroCoNet(enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, dec_num_heads=12, "
        "dec_depth=12, pos_embed='RoPE100')"
    )
    for text, parameters in (("CroCoNet()", 120_076_288), (large, 417_918_720)):
        with torch.device("meta"):
            model = build_croco(text)
        assert sum(parameter.numel() for parameter in model.parameters()) == parameters
