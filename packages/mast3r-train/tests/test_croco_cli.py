"""``mast3r pretrain-croco`` and its companions: flags, defaults, published commands."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mast3r_model.cli import run
from mast3r_model.plugins import registry
from mast3r_train.croco import PretrainConfig, find_sources, parse_transforms
from mast3r_train.croco.cli import pairs_command, pretrain_command
from mast3r_train.croco.completion import build_croco, check_image_size
from mast3r_train.loop.training import TrainingResult

V2_LARGE = """--model "CroCoNet(enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768,
    dec_num_heads=12, dec_depth=12, pos_embed='RoPE100')"
    --dataset habitat_release+ARKitScenes+MegaDepth+3DStreetView+IndoorVL
    --warmup_epochs 12 --max_epoch 125 --epochs 250 --amp 0 --keep_freq 5"""


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[PretrainConfig]:
    """The settings that command lines ask for; nothing is trained."""
    seen: list[PretrainConfig] = []

    def note(config: PretrainConfig, **options: Any) -> TrainingResult:
        seen.append(config)
        return TrainingResult(True, Path("checkpoint-399.pth"), 1200, 0.5)

    monkeypatch.setattr("mast3r_train.croco.pretraining.pretrain", note)
    return seen


def test_defaults_are_upstreams(configs: list[PretrainConfig]) -> None:
    assert run(pretrain_command, []) == 0
    upstream = {
        "model": "CroCoNet()", "norm_pix_loss": 1, "dataset": "habitat_release",
        "transforms": "crop224+acolor", "seed": 0, "batch_size": 64, "epochs": 800, "max_epoch": 400,
        "accum_iter": 1, "weight_decay": 0.05, "lr": None, "blr": 1.5e-4, "min_lr": 0.0,
        "warmup_epochs": 40, "amp": "1", "num_workers": 8, "save_freq": 1, "keep_freq": 20,
        "print_freq": 20, "output_dir": "./output/", "data_dir": "./data/",
    }  # fmt: skip
    values = configs[0].to_dict()
    assert {name: values[name] for name in upstream} == upstream
    assert configs[0] == PretrainConfig()
    assert configs[0].loop_settings().peak_lr() == pytest.approx(1.5e-4 * 64 / 256)


def test_every_flag_in_both_spellings(configs: list[PretrainConfig]) -> None:
    given = {
        "model": "CroCoNet(pos_embed='RoPE100')", "norm_pix_loss": 0, "dataset": "ARKitScenes",
        "transforms": "crop64", "seed": 3, "batch_size": 4, "epochs": 10, "max_epoch": 5, "accum_iter": 2,
        "weight_decay": 0.1, "lr": 1e-4, "blr": 1e-3, "min_lr": 1e-6, "warmup_epochs": 2.0, "amp": "bf16",
        "num_workers": 1, "save_freq": 2, "keep_freq": 3, "print_freq": 4, "output_dir": "out",
        "data_dir": "in", "world_size": 2, "local_rank": 1, "dist_url": "tcp://x", "clip_grad": 1.0,
        "device": "cpu", "threads": 1, "nproc_per_node": "1", "max_minutes": 9.0, "save_minutes": 1.0, "max_skipped": 7,
    }  # fmt: skip
    for separator in ("_", "-"):
        line = [f"--{name.replace('_', separator)}={value}" for name, value in given.items()]
        assert run(pretrain_command, [*line, f"--disable{separator}cudnn{separator}benchmark"]) == 0
    assert configs == [PretrainConfig(**given, disable_cudnn_benchmark=True)] * 2


def test_large_command_parses_and_builds(configs: list[PretrainConfig], tmp_path: Path) -> None:
    assert run(pretrain_command, [*shlex.split(V2_LARGE), "--data_dir", str(tmp_path)]) == 0
    (config,) = configs
    assert (config.warmup_epochs, config.max_epoch, config.epochs) == (12, 125, 250)
    assert (config.amp, config.keep_freq) == ("0", 5)
    (tmp_path / "habitat_release" / "scene").mkdir(parents=True)
    for number in (1, 2):
        Image.new("RGB", (256, 256)).save(tmp_path / "habitat_release" / "scene" / f"0_{number}.jpeg")
    for name in ("ARKitScenes", "MegaDepth", "3DStreetView", "IndoorVL"):
        (tmp_path / f"{name}_crops").mkdir()
        (tmp_path / f"{name}_crops" / "listing.txt").write_text("00/0\n00/1\n")
    sources = find_sources(config.dataset, Path(config.data_dir))
    assert [len(source) for source in sources] == [1, 2, 2, 2, 2]
    with torch.device("meta"):
        model = build_croco(config.model)
    check_image_size(model, parse_transforms(config.transforms).size, config.transforms)
    assert model.num_hidden == 176


def test_what_it_says_at_the_end(configs: list[PretrainConfig], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(pretrain_command, []) == 0
    said = capsys.readouterr()
    assert "done, 1,200 pairs" in said.out
    assert "mast3r train --pretrained checkpoint-399.pth" in said.err
    assert run(pretrain_command, ["--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mast3r.pretrain-croco/1"
    assert document["result"]["checkpoint"] == "checkpoint-399.pth"


def test_an_unknown_dataset_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(pretrain_command, ["--dataset", "habitat", "--output_dir", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert "'habitat' is neither a known name nor a folder" in message
    assert "Traceback" not in message


def test_pairs_to_try_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pairs"
    assert run(pairs_command, ["--count", "2", "--size", "32", "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        f"00000{pair}_{view}.jpg" for pair in range(2) for view in (1, 2)
    ]
    assert Image.open(out / "000001_2.jpg").size == (32, 32)
    assert run(pairs_command, ["-o", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_commands_are_registered() -> None:
    commands = registry("commands")
    for name in ("pretrain-croco", "data croco-crops", "data croco-pairs"):
        assert commands.owner(name) == "mast3r-train"
