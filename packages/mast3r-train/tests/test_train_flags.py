"""Every flag of the specification's table (40 section 10), and ours, in every spelling."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from mast3r_model.cli import run
from mast3r_train import TrainConfig
from mast3r_train.cli import train_command
from mast3r_train.loop.training import TrainingResult

UPSTREAM: dict[str, tuple[Any, Any]] = {
    "model": ("AsymmetricMASt3R(patch_embed_cls='ManyAR_PatchEmbed')", "M(a=('exp', -inf, inf))"),
    "pretrained": (None, "a.pth"),
    "train_criterion": ("ConfLoss(Regr3D(L21, norm_mode='avg_dis'), alpha=0.2)", "A() + 0.1*B()"),
    "test_criterion": (None, "C() + -1.*D()"),
    "train_dataset": ("", " + 10_000 @ X(resolution=[(512, 384)])"),
    "test_dataset": ("[None]", " 1_000 @ Y()"),
    "seed": (0, 3),
    "batch_size": (64, 4),
    "accum_iter": (1, 2),
    "epochs": (800, 50),
    "weight_decay": (0.05, 0.1),
    "lr": (None, 1e-4),
    "blr": (1.5e-4, 1e-3),
    "min_lr": (0.0, 1e-6),
    "warmup_epochs": (40, 8),
    "amp": ("0", "1"),
    "disable_cudnn_benchmark": (False, True),
    "num_workers": (8, 0),
    "world_size": (1, 8),
    "local_rank": (-1, 0),
    "dist_url": ("env://", "tcp://x:1"),
    "eval_freq": (1, 0),
    "save_freq": (1, 5),
    "keep_freq": (20, 10),
    "print_freq": (20, 10),
    "output_dir": ("./output/", "runs/a"),
}
"""Name: (default, another value)."""

OURS: dict[str, Any] = {
    "data_root": ("Co3d=/data/co3d",),
    "clip_grad": 1.0,
    "best_on": "mean",
    "fixed_test_subset": True,
    "device": "cpu",
    "dry_run": True,
    "max_skipped": 0,
    "ema": 0.999,
    "save_minutes": 5.0,
    "max_minutes": 60.0,
    "threads": 2,
    "compile": True,
    "gradient_checkpointing": True,
    "freeze": "not heads",
    "lora": 16,
    "lora_targets": "qkv,fc1",
    "nproc_per_node": "1",
    "fsdp": True,
}
NEEDING_OTHERS = {"lora_alpha", "lora_train_heads"}


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """The settings that a command line gives; nothing is trained."""
    seen: list[TrainConfig] = []

    def note(stages: Any, **options: Any) -> TrainingResult:
        seen.extend(stage.config for stage in stages)
        return TrainingResult(True, Path("checkpoint-final.pth"), 0, 0.0)

    monkeypatch.setattr("mast3r_train.loop.recipe.train_stages", note)
    return seen


def spellings(name: str, value: Any) -> list[list[str]]:
    """A flag with its value as it may be typed."""
    flags = sorted({f"--{name}", f"--{name.replace('_', '-')}"})
    if value is True:
        return [[flag] for flag in flags]
    text = value[0] if isinstance(value, tuple) else str(value)
    separate = [] if text.startswith("-") else [[flag, text] for flag in flags]
    return [*separate, *([f"{flag}={text}"] for flag in flags)]


def test_defaults_are_upstreams() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    assert {name: fields[name] for name in UPSTREAM} == {
        name: default for name, (default, _) in UPSTREAM.items()
    }


def test_the_tables_here_are_complete() -> None:
    assert {*UPSTREAM, *OURS, *NEEDING_OTHERS} == {field.name for field in dataclasses.fields(TrainConfig)}


@pytest.mark.parametrize("name", sorted({*OURS, *NEEDING_OTHERS}))
def test_the_readme_has_every_flag_of_ours(name: str) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    assert f"`--{name}" in text or f"`--{name.replace('_', '-')}" in text


@pytest.mark.parametrize("name", [*UPSTREAM, *OURS])
def test_every_spelling(name: str, configs: list[TrainConfig]) -> None:
    value = UPSTREAM[name][1] if name in UPSTREAM else OURS[name]
    required = [] if name == "train_dataset" else ["--train_dataset", "X()"]
    for words in spellings(name, value):
        assert run(train_command, [*required, *words]) == 0, words
        assert getattr(configs[-1], name) == value, words
    assert dataclasses.replace(configs[-1], **{name: value}) == configs[-1]


def test_expressions_that_begin_as_flags_do(configs: list[TrainConfig]) -> None:
    """Upstream's own commands: texts with a sign, a blank or a plus in front."""
    words = [
        "--train_dataset",
        "X()",
        "--test_criterion",
        "-1.*MatchingLoss()",
        "--test_dataset",
        " 1_000 @ X()",
    ]
    assert run(train_command, words) == 0
    assert configs[-1].test_criterion == "-1.*MatchingLoss()"
    assert configs[-1].test_dataset == " 1_000 @ X()"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lora", "0"], "--lora is 0; expected more than 0"),
        (["--lora_alpha", "4"], "need --lora"),
        (["--lora_train_heads"], "need --lora"),
        (["--max_skipped", "-1"], "--max_skipped is -1; expected 0 or more"),
    ],
)
def test_wrong_values(
    words: list[str], message: str, configs: list[TrainConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train_command, ["--train_dataset", "X()", *words]) == 1
    assert message in capsys.readouterr().err
    assert not configs
