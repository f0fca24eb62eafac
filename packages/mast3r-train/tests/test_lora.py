"""LoRA: what is trained, what is written, exact going on, and how mistakes are told."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mast3r_model import CheckpointError, ConfigError, ModelConfig, load_model
from mast3r_train import TrainConfig, train
from mast3r_train.loop.checkpointing import checkpoint_path, read_checkpoint
from mast3r_train.loop.lora import add_adapters

Settings = Callable[..., TrainConfig]

DPT = (
    "AsymmetricMASt3R(pos_embed='RoPE100', img_size=(32, 48), head_type='catmlp+dpt', "
    "output_mode='pts3d+desc8', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), enc_embed_dim=16, "
    "enc_depth=1, enc_num_heads=2, dec_embed_dim=16, dec_depth=10, dec_num_heads=2, two_confs=True, "
    "desc_conf_mode=('exp', 0, inf))"
)


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mast3r_train.loop.logs.plot_curves", lambda *files: None)


@pytest.fixture(scope="module")
def start(toys: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to start from, freshly initialised."""
    from mast3r_model import save_pth

    torch.manual_seed(1)
    model = ModelConfig.from_expression(toys.MODEL).build()
    return save_pth(model, tmp_path_factory.mktemp("start") / "start.pth")


@pytest.fixture(scope="module")
def run(toy_settings: Settings, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with adapters that came to its end without a stop."""
    folder = tmp_path_factory.mktemp("lora")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mast3r_train.loop.logs.plot_curves", lambda *files: None)
        assert train(toy_settings(folder, pretrained=str(start), lora=4, lora_alpha=8, ema=0.5)).completed
    return folder


def views() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {"img": torch.rand(1, 3, 32, 48, generator=generator) * 2 - 1, "instance": [str(number)]}
        for number in range(2)
    ]


def randomize(model: nn.Module) -> None:
    """Give the adapters something to say: B begins as zero."""
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.1)


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("text", ["toy", DPT], ids=["nano", "dpt"])
def test_merged_weights_compute_the_same(text: str, toys: ModuleType) -> None:
    config = ModelConfig.from_expression(toys.MODEL if text == "toy" else text)
    model = config.build().eval()
    names = list(model.state_dict())
    before = model(*views())
    adapters = add_adapters(model, 3, alpha=6.0)
    for found, expected in zip(model(*views()), before, strict=True):
        assert_close(found, expected)
    randomize(model)
    expected_pair = model(*views())
    assert not torch.allclose(expected_pair[0]["pts3d"], before[0]["pts3d"], rtol=1e-3)
    state = model.state_dict()
    merged = adapters.merged(state)
    assert list(merged) == names
    plain = config.build().eval()
    plain.load_state_dict(merged, strict=True)
    for found, expected in zip(plain(*views()), expected_pair, strict=True):
        assert_close(found, expected)
    restored = adapters.restored(merged, adapters.kept(state), Path("x.pth"))
    assert restored.keys() == state.keys()
    assert all(torch.equal(restored[name], state[name]) for name in state)


def test_only_adapters_are_trained_and_heads_if_asked(toys: ModuleType) -> None:
    config = ModelConfig.from_expression(toys.MODEL)
    model = config.build()
    adapters = add_adapters(model, 2)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all("lora_" in name for name in trained)
    assert len(trained) == 2 * len(adapters.layers)
    # Encoder: qkv, proj, fc1, fc2; decoder: also the four of the cross-attention.
    assert len(adapters.layers) == 1 * 4 + 2 * 2 * 8
    assert all(layer.startswith(("enc_blocks.", "dec_blocks.", "dec_blocks2.")) for layer in adapters.layers)

    model = config.build()
    adapters = add_adapters(model, 2, targets="qkv, dec_blocks.*.fc?", train_heads=True)
    assert len(adapters.layers) == 1 + 4 + 2 * 2
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert {name.partition(".")[0] for name in trained if "lora_" not in name} == {
        "downstream_local", "downstream_head1", "downstream_head2"
    }  # fmt: skip

    model = config.build()
    model.enc_blocks.requires_grad_(False)
    assert not any(layer.startswith("enc_") for layer in add_adapters(model, 2).layers)


@pytest.mark.parametrize(
    ("targets", "message", "hint"),
    [
        ("qvk", "'qvk' is no linear layer of AsymmetricMASt3R; known: qkv, proj, fc1, fc2, projq", "qkv"),
        ("enc_blocks.7.*", "'enc_blocks.7.*' is no linear layer", ""),
        ("*.norm1", "'*.norm1' is no linear layer", ""),
    ],
)
def test_wrong_targets(targets: str, message: str, hint: str, toys: ModuleType) -> None:
    with pytest.raises(ConfigError) as caught:
        add_adapters(ModelConfig.from_expression(toys.MODEL).build(), 2, targets=targets)
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)


def test_frozen_targets(toys: ModuleType) -> None:
    model = ModelConfig.from_expression(toys.MODEL).build().requires_grad_(False)
    with pytest.raises(ConfigError, match="all of these layers are frozen"):
        add_adapters(model, 2)


def test_a_missing_peft_names_the_extra(toys: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_peft(name: str, *rest: Any, **more: Any) -> Any:
        if name == "peft":
            raise ImportError("No module named 'peft'")
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_peft)
    with pytest.raises(ConfigError, match="peft") as caught:
        add_adapters(ModelConfig.from_expression(toys.MODEL).build(), 2)
    assert caught.value.hint == "pip install 'mast3r-train[lora]'"


def test_checkpoints_of_a_run_are_upstreams_and_differ_from_the_start_in_what_is_adapted(
    run: Path, start: Path
) -> None:
    before = read_checkpoint(start)["model"]
    for name in ("last", "final", "final-ema"):
        after = read_checkpoint(checkpoint_path(run, name))["model"]
        assert list(after) == list(before), name
        for key, tensor in after.items():
            layer = key.rpartition(".")[0].rpartition(".")[2]
            adapted = key.endswith(".weight") and "blocks" in key and layer.startswith(("qkv", "proj", "fc"))
            assert torch.equal(tensor, before[key]) == (not adapted), key
        load_model(checkpoint_path(run, name), device="cpu")
    last = read_checkpoint(checkpoint_path(run, "last"))
    assert set(read_checkpoint(checkpoint_path(run, "final"))) == {"args", "model", "epoch", "best_so_far"}
    assert (last["lora"]["rank"], last["lora"]["alpha"]) == (4, 8.0)
    base = last["lora"]["base"]
    assert all(torch.equal(tensor, before[key]) for key, tensor in base.items())
    moments = sum(value["exp_avg"].numel() for value in last["optimizer"]["state"].values())
    assert moments == sum(tensor.numel() for tensor in last["lora"]["adapters"].values())


def test_a_stopped_run_ends_with_the_same_bits(
    run: Path, start: Path, toy_settings: Settings, tmp_path: Path
) -> None:
    options = {"pretrained": str(start), "lora": 4, "lora_alpha": 8, "ema": 0.5}
    stops = 0
    while not train(toy_settings(tmp_path, **options, max_minutes=1e-9)).completed:
        stops += 1
    assert stops > 4
    for name in ("final", "final-ema"):
        one, other = (read_checkpoint(checkpoint_path(folder, name))["model"] for folder in (tmp_path, run))
        assert all(torch.equal(one[key], other[key]) for key in other), name
    files = [folder / "adapter" / "adapter_model.safetensors" for folder in (tmp_path, run)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_other_adapters_do_not_go_on(run: Path, start: Path, toy_settings: Settings) -> None:
    for changes, message in (
        ({"lora": 2}, r"has other adapters \(rank 4\), but --lora 2"),
        ({"lora": 4}, r"has other adapters \(rank 4\), but --lora 4"),  # another alpha
        ({"lora": 4, "lora_alpha": 8, "lora_targets": "qkv"}, "has other adapters"),
        ({}, "is of a run with --lora 4, and this one has no --lora"),
    ):
        with pytest.raises(CheckpointError, match=message):
            train(toy_settings(run, epochs=3, **changes))


def test_a_run_without_adapters_does_not_go_on_with_some(toy_settings: Settings, tmp_path: Path) -> None:
    train(toy_settings(tmp_path, max_minutes=1e-9))
    with pytest.raises(CheckpointError, match="has no LoRA adapters, but --lora 4"):
        train(toy_settings(tmp_path, lora=4))


@pytest.mark.parametrize("text", ["toy", DPT], ids=["nano", "dpt"])
def test_peft_puts_the_adapter_file_onto_the_network_it_started_from(
    text: str, toys: ModuleType, tmp_path: Path
) -> None:
    from peft import PeftModel

    config = ModelConfig.from_expression(toys.MODEL if text == "toy" else text)
    torch.manual_seed(2)
    model = config.build().eval()
    base = config.build().eval()
    base.load_state_dict(model.state_dict())
    adapters = add_adapters(model, 3, alpha=6.0, train_heads=True, base="start.pth")
    randomize(model)
    with torch.no_grad():
        for parameter in model.downstream_head2.parameters():
            parameter.add_(0.01)
    adapters.write(tmp_path, model.state_dict())
    described = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (described["r"], described["base_model_name_or_path"]) == (3, "start.pth")
    loaded = PeftModel.from_pretrained(base, str(tmp_path)).eval()
    for found, expected in zip(loaded(*views()), model(*views()), strict=True):
        assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["--ema", "0.9"], ["--fsdp", "--freeze", "encoder"]], ids=["ddp", "fsdp"]
)
def test_two_processes_train_adapters_and_go_on(options: list[str], toys: ModuleType, tmp_path: Path) -> None:
    words = [
        *("--model", toys.MODEL, "--train_dataset", "8 @ SyntheticScenes(8, resolution=(48, 32))"),
        *(
            "--batch_size",
            "1",
            "--warmup_epochs",
            "0",
            "--lr",
            "1e-3",
            "--num_workers",
            "0",
            "--threads",
            "1",
        ),
        *("--device", "cpu", "--nproc-per-node", "2", "--output_dir", str(tmp_path), "--lora", "4"),
        *("--gradient_checkpointing", "--train_criterion", "ConfLoss(Regr3D(L21), alpha=0.2)", *options),
    ]
    for epochs in ("1", "2"):
        checkpoint_path(tmp_path, "final").unlink(missing_ok=True)
        checkpoint_path(tmp_path, "final-ema").unlink(missing_ok=True)
        ended = subprocess.run(
            [sys.executable, "-m", "mast3r_train", *words, "--epochs", epochs],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
    assert "epoch 1" in ended.stderr
    last = read_checkpoint(checkpoint_path(tmp_path, "last"))
    assert last["epoch"] == 1
    encoder = any(name.startswith("enc_blocks") for name in last["lora"]["adapters"])
    assert encoder == ("--fsdp" not in options)
    for name, base in last["lora"]["base"].items():
        assert not torch.equal(last["model"][name], base), name
    for name in ("last", "final"):
        load_model(checkpoint_path(tmp_path, name), device="cpu")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_the_adapter_file_is_small(run: Path) -> None:
    size = (run / "adapter" / "adapter_model.safetensors").stat().st_size
    numbers = sum(
        t.numel() for t in read_checkpoint(checkpoint_path(run, "last"))["lora"]["adapters"].values()
    )
    assert 4 * numbers < size < 4 * numbers + 20_000
    assert size < checkpoint_path(run, "final").stat().st_size / 10
