"""``mast3r train``: its flags, recipes and errors, in this process and as a real one."""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mast3r_model import ConfigError, InputError
from mast3r_model.cli import CommandContext, Console, run
from mast3r_train import TrainConfig
from mast3r_train.cli import EpochBars, train_command
from mast3r_train.loop.building import build_criterion, build_test_sets
from mast3r_train.loop.epoch import EvaluationReport, StepReport
from mast3r_train.loop.recipe import read_recipe, stages_of
from mast3r_train.loop.training import TrainingResult

TOYS_FILE = Path(__file__).with_name("loop_toy_pairs.py")


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The stages that a command line asks for; nothing is trained."""
    seen: list[Any] = []

    def note(stages: Any, **options: Any) -> TrainingResult:
        seen.extend(stages)
        return TrainingResult(True, Path("checkpoint-final.pth"), 1200, 0.5)

    monkeypatch.setattr("mast3r_train.loop.recipe.train_stages", note)
    return seen


def test_every_flag_of_upstream_in_both_spellings(stages: list[Any]) -> None:
    words = [
        "--model=AsymmetricMASt3R(pos_embed='RoPE100')",
        *("--pretrained", "a.pth", "--train_criterion", "C", "--test_criterion", "D"),
        *("--train_dataset", "2@X", "--test-dataset=Y(1)+Z", "--seed", "3", "--batch_size=4"),
        *("--accum_iter", "2", "--epochs", "1_0", "--weight-decay", "0.1", "--lr", "1e-4", "--blr", "1e-3"),
        *("--min_lr", "1e-6", "--warmup_epochs", "1", "--amp", "1", "--disable_cudnn_benchmark"),
        *("--num_workers", "0", "--world_size", "2", "--local_rank", "0", "--dist_url", "env://"),
        *("--eval_freq", "2", "--save_freq", "3", "--keep_freq", "4", "--print_freq", "5"),
        *("--output_dir", "out"),
    ]
    assert run(train_command, words) == 0
    config = stages[0].config
    assert config == TrainConfig(
        model="AsymmetricMASt3R(pos_embed='RoPE100')", pretrained="a.pth", train_criterion="C",
        test_criterion="D", train_dataset="2@X", test_dataset="Y(1)+Z", seed=3, batch_size=4, accum_iter=2,
        epochs=10, weight_decay=0.1, lr=1e-4, blr=1e-3, min_lr=1e-6, warmup_epochs=1, amp="1",
        disable_cudnn_benchmark=True, num_workers=0, world_size=2, local_rank=0, eval_freq=2, save_freq=3,
        keep_freq=4, print_freq=5, output_dir="out",
    )  # fmt: skip


def test_defaults_are_upstreams(stages: list[Any]) -> None:
    assert run(train_command, ["--train_dataset", "X"]) == 0
    assert stages[0].config == TrainConfig(train_dataset="X")
    assert stages[0].config.epochs == 800
    assert stages[0].config.peak_lr() == pytest.approx(1.5e-4 * 64 / 256)
    assert (
        TrainConfig(train_dataset="X", batch_size=1).peak_lr() == 5.859375e-07
    )  # of the goldens' events.json


def test_json_result(stages: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(train_command, ["--train_dataset", "X", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mast3r.train/1"
    assert document["result"] == {
        "completed": True, "checkpoint": "checkpoint-final.pth", "pairs_seen": 1200, "hours": 0.5
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 1, "--train_dataset is ''"),
        (["--train_dataset", "X", "--epochs", "no"], 2, "'no' is not a valid integer"),
        (["--train_dataset", "X", "--epocs", "3"], 2, "No such option"),
        (["--train_dataset", "X", "--amp", "fp8"], 2, "'fp8' is not one of"),
        (["--train_dataset", "X", "--batch_size", "0"], 1, "--batch_size is 0; expected at least 1"),
        (["--train_dataset", "X", "--ema", "1.5"], 1, "between 0 and 1"),
        (["--train_dataset", "NoSuchSet(3)"], 1, "NoSuchSet"),
        (["--train_dataset", "SyntheticScenes(resolution=(64, 48)"], 1, ""),
        (
            ["--train_dataset", "SyntheticScenes(2, resolution=(64, 48))", "--batch_size", "4"],
            1,
            "not enough",
        ),
        (["--train_dataset", "3"], 1, "is no dataset"),
        (["--recipe", "missing.toml"], 2, "does not exist"),
    ],
)
def test_wrong_flags(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(train_command, words) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_an_output_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found before anything is built, so the data need not exist."""
    (tmp_path / "file").touch()
    for folder in ("file", "file/runs/first"):
        assert run(train_command, ["--train_dataset", "NoSuchSet(3)", "-o", str(tmp_path / folder)]) == 1
        error = capsys.readouterr().err
        assert f"cannot write to {tmp_path / 'file'}: it is no folder" in error
        assert "give another --output_dir" in error


def test_several_processes_that_cannot_meet_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An environment that names several processes, but not where they meet: each would train alone."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(train_command, ["--train_dataset", "NoSuchSet(3)", "-o", str(tmp_path / "out")]) == 1
    assert "WORLD_SIZE=2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert run(train_command, ["--train_dataset", "NoSuchSet(3)", "-o", str(tmp_path / "out")]) == 1
    assert "NoSuchSet" in capsys.readouterr().err


def test_stages_of_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        'model = "M()"\nlr = 1e-3\npretrained = "start.pth"\noutput_dir = "runs"\nbatch-size = 8\n'
        '[[stage]]\nname = "small"\ntrain_dataset = "A()"\nepochs = 2\n'
        '[[stage]]\ntrain_dataset = "B()"\nepochs = 3\nlr = 1e-4\n'
    )
    small, large = stages_of(read_recipe(path), {"batch_size": 4})
    assert (small.name, large.name) == ("small", "stage2")
    assert small.config == TrainConfig(
        train_dataset="A()", model="M()", lr=1e-3, pretrained="start.pth", batch_size=4, epochs=2,
        output_dir=str(Path("runs/small")),
    )  # fmt: skip
    assert large.config.pretrained is None  # the weights of the stage before
    assert large.config == dataclasses.replace(
        small.config,
        train_dataset="B()",
        lr=1e-4,
        epochs=3,
        pretrained=None,
        output_dir=str(Path("runs/stage2")),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train_datset = 'X'", "train_datset"),
        ("train_dataset = 'X'\nepochs = 'many'", "epochs is 'many'; expected a value of type int"),
        ("train_dataset = 'X'\nepochs = true", "epochs is True"),
        ("stage = 3", "[[stage]]"),
        ("[[stage]]\nname = '../up'\ntrain_dataset = 'X'", "no folder name"),
        (
            "[[stage]]\nname = 'a'\ntrain_dataset = 'X'\n[[stage]]\nname = 'a'\ntrain_dataset = 'X'",
            "used twice",
        ),
    ],
)
def test_wrong_recipes(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        stages_of(read_recipe(tmp_path / "recipe.toml"), {})
    assert message in f"{caught.value} {caught.value.hint}"


def test_a_recipe_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("train_dataset == 'X'")
    with pytest.raises(InputError, match="no TOML"):
        read_recipe(tmp_path / "recipe.toml")


def test_the_shipped_recipe_is_valid() -> None:
    for path in (Path(__file__).parents[1] / "recipes").glob("*.toml"):
        assert stages_of(read_recipe(path), {})


def test_names_of_test_sets() -> None:
    scenes = "SyntheticScenes(4, resolution=(64, 48))"
    assert list(build_test_sets(f" 2 @ {scenes} + {scenes} + {scenes}")) == [
        "2 @ SyntheticScenes", "SyntheticScenes", "SyntheticScenes#2"
    ]  # fmt: skip
    assert build_test_sets("[None]") == {}


@pytest.mark.parametrize("text", ["L21", "Regr3D", "InfoNCE()"])
def test_what_is_no_loss(text: str) -> None:
    with pytest.raises(ConfigError, match="is no loss"):
        build_criterion(text)


def step_report(epoch: int, step: int) -> StepReport:
    return StepReport(epoch, step, steps=3, pairs=1, lr=0.0, loss=0.0, details={}, grad_norm=None)


@pytest.mark.parametrize(
    ("progress", "lines"),
    [
        (
            "plain",
            [
                *(f"epoch 0: {done}/2, 0 s" for done in (1, 2)),
                *(f"testing, 9 @ X: {done}/4, 0 s" for done in (1, 2, 3, 4)),
                *(f"epoch 1: {done}/3, 0 s" for done in (1, 2, 3)),
            ],
        ),
        ("auto", []),  # no terminal here; the log lines are enough
        ("none", []),
    ],
)
def test_progress_of_epochs(
    progress: Any, lines: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mast3r_model.cli.progress.PLAIN_INTERVAL_SECONDS", 0.0)
    with EpochBars(CommandContext("train", Console(progress=progress))) as bars:
        for step in (1, 2):  # an epoch that was begun before
            bars.step(step_report(0, step))
        for step in range(4):
            bars.step(EvaluationReport("9 @ X", step, 4))
        for step in range(3):
            bars.step(step_report(1, step))
    assert capsys.readouterr().err.splitlines() == lines


def toy_command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOYS_FILE), *words, f"--output_dir={folder}"],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_a_recipe_of_two_stages_in_a_real_process(tmp_path: Path) -> None:
    toys = runpy.run_path(str(TOYS_FILE))
    model, criterion = toys["MODEL"], toys["CRITERION"]
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'model = "{model}"\ntrain_criterion = "{criterion}"\nbatch_size = 2\nnum_workers = 0\nepochs = 1\n'
        'warmup_epochs = 0\nlr = 1e-3\nema = 0.9\ndevice = "cpu"\n'
        '[[stage]]\nname = "one"\ntrain_dataset = "ToyPairs(4)"\n'
        '[[stage]]\nname = "two"\ntrain_dataset = "2 @ ToyPairs(4)"\n'
    )
    first = toy_command(tmp_path / "run", "--recipe", str(recipe), "--json")
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)["result"]
    assert result["completed"]
    assert result["pairs_seen"] == 6
    assert result["checkpoint"] == str(tmp_path / "run" / "two" / "checkpoint-final-ema.pth")
    assert "starting from the weights of" in first.stderr
    assert str(tmp_path / "run" / "one" / "checkpoint-final-ema.pth") in first.stderr
    from mast3r_model import load_model

    assert load_model(result["checkpoint"], device="cpu").config.desc_dim == 8


def test_wrong_flags_in_a_real_process(tmp_path: Path) -> None:
    ended = toy_command(tmp_path, "--train_dataset", "ToyPairs(4, colour=3)")
    assert ended.returncode == 1
    assert "ToyPairs takes no argument colour" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
