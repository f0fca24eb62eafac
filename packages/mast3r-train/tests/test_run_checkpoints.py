"""Checkpoints of runs: used, converted, upstream's resumed, and those of other networks refused."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from mast3r_model import CheckpointError, KeyMismatchError, ModelConfig, load_model, read_checkpoint
from mast3r_model.cli import run as run_command
from mast3r_model.cli.models import convert
from mast3r_train import TrainConfig, train
from mast3r_train.loop.building import build_model
from mast3r_train.loop.checkpointing import checkpoint_path
from mast3r_train.loop.checkpointing import read_checkpoint as read_training
from mast3r_train.loop.optimizer import parameter_groups

Settings = Callable[..., TrainConfig]

DUST3R = (
    "AsymmetricCroCo3DStereo(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(32, 48), "
    "head_type='linear', output_mode='pts3d', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "enc_embed_dim=32, enc_depth=1, enc_num_heads=2, dec_embed_dim=32, dec_depth=2, dec_num_heads=2)"
)


@pytest.fixture(scope="module")
def run(toy_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mast3r_train.loop.logs.plot_curves", lambda *files: None)
        assert train(toy_settings(folder, test_dataset="ToyPairs(2)", ema=0.5, keep_freq=1)).completed
    return folder


def prediction(model: Any) -> dict[str, Tensor]:
    image = torch.linspace(-1, 1, 3 * 32 * 48).reshape(1, 3, 32, 48)
    with torch.no_grad():
        return model({"img": image}, {"img": image.flip(3)})[0]


@pytest.mark.parametrize("name", ["last", "best", "1", "2", "final", "final-ema"])
def test_every_checkpoint_of_a_run_is_a_model(run: Path, toys: ModuleType, name: str) -> None:
    path = checkpoint_path(run, name)
    model = load_model(path, device="cpu")
    own = ModelConfig.from_expression(toys.MODEL).for_inference().build().eval()
    own.load_state_dict(read_training(path)["model"], strict=True)
    found, expected = prediction(model), prediction(own)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_average_and_last_weights_differ(run: Path) -> None:
    final, averaged = (read_training(checkpoint_path(run, name))["model"] for name in ("final", "final-ema"))
    assert not torch.equal(final["decoder_embed.weight"], averaged["decoder_embed.weight"])


@pytest.mark.parametrize("name", ["final", "last"])
def test_a_run_s_checkpoint_is_converted_to_a_folder_and_back(run: Path, tmp_path: Path, name: str) -> None:
    path, folder, back = checkpoint_path(run, name), tmp_path / "folder", tmp_path / "back.pth"
    assert run_command(convert, [str(path), str(folder)]) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert run_command(convert, [str(folder), str(back)]) == 0
    original, returned = read_training(path), read_training(back)
    assert list(returned["model"]) == list(original["model"])
    assert all(torch.equal(returned["model"][key], tensor) for key, tensor in original["model"].items())
    stored = [ModelConfig.from_expression(content["args"].model) for content in (original, returned)]
    assert stored[0] == stored[1]
    assert read_checkpoint(back).architecture == "AsymmetricMASt3R"


def upstream_checkpoint(toys: ModuleType, path: Path, epoch: int) -> dict[str, Any]:
    """A file as upstream's trainer writes it in the middle of a training."""
    torch.manual_seed(5)
    model = ModelConfig.from_expression(toys.MODEL).build()
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=1e-3, betas=(0.9, 0.95))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.01) if parameter is not model.mask_token else None
    optimizer.step()
    args = argparse.Namespace(
        model=f" {toys.MODEL}", pretrained="DUSt3R.pth", train_criterion="x", lr=1e-4, amp=1, gpu=0,
        distributed=False, output_dir="out", world_size=1, dist_backend="nccl", warmup_epochs=1,
    )  # fmt: skip
    scaler = {
        "scale": 65536.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 2000,
        "_growth_tracker": 3,
    }
    content = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "scaler": scaler, "args": args,
        "epoch": epoch, "best_so_far": 0.25,
    }  # fmt: skip
    torch.save(content, path)
    return content


def test_a_run_goes_on_from_upstreams_checkpoint(
    toys: ModuleType, toy_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mast3r.train")
    last = checkpoint_path(tmp_path, "last")
    before = upstream_checkpoint(toys, last, epoch=1)
    assert load_model(last, device="cpu").config.desc_dim == 8
    assert train(toy_settings(tmp_path, epochs=3, test_dataset="ToyPairs(2)")).completed
    assert f"going on from {last}: epoch 2" in caplog.text
    after = read_training(last)
    assert after["epoch"] == 2
    assert after["best_so_far"] <= 0.25
    steps = {int(state["step"]) for state in after["optimizer"]["state"].values()}
    assert steps == {1 + 4}
    assert len(after["optimizer"]["state"]) == len(before["optimizer"]["state"])


def test_upstreams_checkpoint_without_a_best_loss(
    toys: ModuleType, toy_settings: Settings, tmp_path: Path
) -> None:
    last = checkpoint_path(tmp_path, "last")
    content = upstream_checkpoint(toys, last, epoch=0)
    for best_so_far in (None, "absent"):
        content["best_so_far"] = best_so_far
        if best_so_far == "absent":
            del content["best_so_far"]
        torch.save(content, last)
        assert train(toy_settings(tmp_path, epochs=1)).completed
        assert read_training(checkpoint_path(tmp_path, "final"))["best_so_far"] == float("inf")


def test_a_network_of_another_size_is_refused_in_one_line(
    run: Path, toys: ModuleType, toy_settings: Settings, tmp_path: Path
) -> None:
    wider = toys.MODEL.replace("enc_embed_dim=32", "enc_embed_dim=64")
    deeper = toys.MODEL.replace("dec_depth=2", "dec_depth=3")
    start = str(checkpoint_path(run, "final"))
    for text, message in (
        (
            wider,
            r"wrong shapes: .*patch_embed\.proj\.weight is \[32, 3, 16, 16\], expected \[64, 3, 16, 16\]",
        ),
        (deeper, r"missing keys: dec_blocks\.2\.norm1\.weight"),
    ):
        with pytest.raises(KeyMismatchError, match=message) as caught:
            train(toy_settings(tmp_path / "new", model=text, pretrained=start))
        assert "\n" not in str(caught.value)
        with pytest.raises(CheckpointError, match=message) as refused:
            train(toy_settings(run, model=text, epochs=3))
        assert "\n" not in str(refused.value)
        assert "--model" in str(refused.value.hint)
        assert str(checkpoint_path(run, "last")) in str(refused.value)


def test_what_a_start_from_another_network_leaves_out_is_told(
    toys: ModuleType, toy_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As upstream's strict=False, which prints the same."""
    from mast3r_model import save_pth

    start = save_pth(ModelConfig.from_expression(DUST3R).build(), tmp_path / "dust3r.pth")
    caplog.set_level(logging.INFO, "mast3r.train")
    model = build_model(toys.MODEL, pretrained=str(start))
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == f"starting from the weights of {start}"
    missing, unexpected = messages[1:]
    own, stored = model.state_dict(), read_training(start)["model"]
    assert missing == "missing: " + ", ".join(name for name in own if name.startswith("downstream_"))
    assert unexpected == "unexpected: " + ", ".join(name for name in stored if name.startswith("downstream_"))
    for name in set(own) & set(stored):
        assert torch.equal(own[name], stored[name]), name
    assert not train(toy_settings(tmp_path / "run", pretrained=str(start), dry_run=True)).completed
