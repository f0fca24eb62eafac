"""Upstream's published training commands run: every word is understood, every object built, steps taken."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mast3r_model import ConfigError, ModelConfig, parse_expression
from mast3r_train.cli import train_command
from mast3r_train.conformance import assert_conforms
from mast3r_train.loop.building import build_criterion, build_dataset, build_test_sets

from .published_commands import DEMO, DUST3R, FULL, UNRELEASED, options, without_unreleased
from .standin_processed import write_everything

COMMANDS = {"demo": DEMO, "full": FULL}

TINY_MODEL = (
    "AsymmetricMASt3R(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(64, 64), "
    "head_type='catmlp+dpt', output_mode='pts3d+desc24', depth_mode=('exp', -inf, inf), "
    "conf_mode=('exp', 1, inf), enc_embed_dim=48, enc_depth=2, enc_num_heads=2, dec_embed_dim=48, "
    "dec_depth=10, dec_num_heads=2, two_confs=True, desc_conf_mode=('exp', 0, inf))"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to run in, with ``data/`` as the commands expect it."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "data").mkdir()
    write_everything(folder / "data")
    return folder


def smaller(expression: str, pairs: int = 1) -> str:
    """The same data at an eighth of the size, with so many pairs of each set and fewer correspondences."""
    for large in (512, 384, 336, 288, 256, 160):
        expression = re.sub(rf"\b{large}\b", str(large // 8 // 16 * 16), expression)
    expression = re.sub(r"n_corres=\d+", "n_corres=64", expression)
    return re.sub(r"\b[\d_]+ @", f"{pairs} @", expression)


def criterion_of(command: list[str], which: str) -> str:
    """The loss, with fewer negatives than the smaller images have pixels."""
    return re.sub(r"negatives_padding=\d{4,}", "negatives_padding=256", options(command)[which])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_word_is_understood(name: str) -> None:
    for option in ("--train_dataset", "--test_dataset", "--model", "--train_criterion", "--test_criterion"):
        parse_expression(options(COMMANDS[name])[option])
    shown = subprocess.run(
        [sys.executable, "-m", "mast3r_train", *COMMANDS[name], "--show-config", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    settings = json.loads(shown.stdout)["result"]["settings"]["train"]
    spellings = [[word.lstrip("-") for word in parameter.opts] for parameter in train_command.params]
    for flag, text in options(COMMANDS[name]).items():
        (own,) = (words for words in spellings if flag.removeprefix("--").replace("_", "-") in words)
        (value,) = (settings[word] for word in own if word in settings)
        assert value is True if text == "" else str(value) == text or float(value) == float(text), flag


@pytest.mark.parametrize("name", COMMANDS)
def test_every_object_is_built(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    words = options(COMMANDS[name])
    text = words["--train_dataset"]
    if name == "full":
        with pytest.raises(ConfigError, match="never public; remove it from the expression"):
            build_dataset(text)
        text = without_unreleased(text)
    dataset = build_dataset(text)
    assert len(dataset) == (1000 if name == "demo" else 664_620)
    assert [tuple(size) for size in dataset.resolutions] == [
        (512, 384),
        (512, 336),
        (512, 288),
        (512, 256),
        (512, 160),
    ]
    tests = build_test_sets(words["--test_dataset"])
    assert len(tests) == (1 if name == "demo" else 5)
    with torch.device("meta"):
        model = ModelConfig.from_expression(words["--model"]).build()
    assert sum(parameter.numel() for parameter in model.parameters()) > 600e6
    for which in ("--train_criterion", "--test_criterion"):
        assert callable(build_criterion(words[which]))


def test_dust3rs_training_set_and_losses(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    dataset = build_dataset(DUST3R["--train_dataset"])
    assert len(dataset) == 200_000
    assert [tuple(size) for size in dataset.resolutions] == [(224, 224)]
    for item in (0, 199_999):  # of Habitat, of Co3d
        for view in dataset[item, 0]:
            assert view["img"].shape == (3, 224, 224)
            assert view["valid_mask"].any()
    for which in ("--train_criterion", "--test_criterion"):
        assert callable(build_criterion(DUST3R[which]))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_dataset_gives_views(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    words = options(COMMANDS[name])
    text = words["--train_dataset"]
    terms = parse_expression(smaller(without_unreleased(text) if UNRELEASED in text else text)).terms()
    assert len(terms) == (1 if name == "demo" else 14)
    for term in terms:
        # ColorJitter leaves no two readings alike.
        assert_conforms(build_dataset(term.text.replace("transform=ColorJitter", "seed=0")), samples=2)
    for dataset in build_test_sets(smaller(words["--test_dataset"])).values():
        assert_conforms(dataset, samples=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_steps_are_taken(name: str, place: Path) -> None:
    words = options(COMMANDS[name])
    text = words["--train_dataset"]
    words |= {
        "--train_dataset": smaller(without_unreleased(text)) if UNRELEASED in text else smaller(text, 4),
        "--test_dataset": smaller(words["--test_dataset"]),
        "--model": TINY_MODEL,
        "--train_criterion": criterion_of(COMMANDS[name], "--train_criterion"),
        "--test_criterion": criterion_of(COMMANDS[name], "--test_criterion"),
        "--output_dir": f"checkpoints/{name}",
        "--epochs": "1",
        "--batch_size": "1",
        "--accum_iter": "1",
    }
    del words["--pretrained"]
    command = [word for pair in words.items() for word in pair if word]
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2"] if name == "demo" else []
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "mast3r_train", *command, "--num_workers", "0", "--device", "cpu"],
        cwd=place,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    log = [json.loads(line) for line in (place / f"checkpoints/{name}/log.txt").read_text().splitlines()]
    assert log[-1]["train_loss"] is not None
    assert sum(key.endswith("_loss_med") for key in log[-1]) == (1 if name == "demo" else 5)
    for checkpoint in ("last", "final", "best"):
        assert (place / f"checkpoints/{name}/checkpoint-{checkpoint}.pth").is_file()
