"""Training in several processes, as the command and torchrun start them (spec 40 sections 9, 13)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mast3r_model.plugins import temporary_plugin
from mast3r_train import TrainConfig, train
from mast3r_train.loop.checkpointing import checkpoint_path, read_checkpoint
from mast3r_train.loop.distributed import process_lives

TOYS_FILE = Path(__file__).with_name("loop_toy_pairs.py")

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX's")

TRAIN = (sys.executable, "-m", "mast3r_train")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "mast3r_train")


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The toy dataset: registered here, and for other processes an installed plugin of ``environment``."""
    installed = tmp_path_factory.mktemp("site")
    shutil.copy(TOYS_FILE, installed)
    info = installed / "toy_pairs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-pairs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mast3r]\ntoy-pairs = loop_toy_pairs:PLUGIN\n")
    names = runpy.run_path(str(TOYS_FILE))
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    for name in ("RANK", "WORLD_SIZE", "MAST3R_PLUGINS"):
        environment.pop(name, None)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with temporary_plugin(names["PLUGIN"], "toy-pairs"):
        yield SimpleNamespace(environment=environment, **names)
    torch.set_num_threads(before)


def settings(toys: SimpleNamespace, folder: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "model": toys.MODEL,
        "train_criterion": toys.CRITERION,
        "train_dataset": "ToyPairs(4)",
        "batch_size": 2,
        "num_workers": 0,
        "epochs": 3,
        "warmup_epochs": 0,
        "lr": 1e-3,
        "device": "cpu",
        "print_freq": 1,
        "output_dir": str(folder),
    }
    return {**values, **changes}


def words_of(values: dict[str, Any]) -> list[str]:
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in values.items()]


def run(
    toys: SimpleNamespace, values: dict[str, Any], command: tuple[str, ...] = TRAIN
) -> subprocess.CompletedProcess[str]:
    """The command in two processes, to its end."""
    extra = {"nproc_per_node": 2} if command == TRAIN else {}
    return subprocess.run(
        [*command, *words_of({**values, **extra})],
        capture_output=True, text=True, timeout=600, check=False, env=toys.environment,
    )  # fmt: skip


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [line["train_loss"] for line in lines(folder, "log.txt") if "train_loss" in line]


def assert_same(one: Any, other: Any, place: str = "", **tolerance: float) -> None:
    """Equal in depth, to the last bit unless a tolerance is given."""
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, msg=place, **{"rtol": 0.0, "atol": 0.0, **tolerance})
    elif isinstance(one, dict):
        assert list(one) == list(other), place
        for key in one:
            assert_same(one[key], other[key], f"{place}.{key}", **tolerance)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{place}[{number}]", **tolerance)
    else:
        assert one == other, place


def assert_same_training(folder: Path, expected: Path) -> None:
    """The same losses within 1e-6; in the checkpoints the same names, layout and moments of gradients.

    (Weights whose gradient is zero up to rounding, such as the biases of keys, go anywhere with Adam.)
    """
    assert losses(folder) == pytest.approx(losses(expected), rel=1e-6)
    one, other = (read_checkpoint(checkpoint_path(where, "last")) for where in (folder, expected))
    assert list(one["model"]) == list(other["model"])
    layouts = [{k: list(v) for k, v in c["optimizer"]["state"].items()} for c in (one, other)]
    assert_same(*layouts)
    assert_same(one["optimizer"]["param_groups"], other["optimizer"]["param_groups"])
    moments = [{k: v["exp_avg"] for k, v in c["optimizer"]["state"].items()} for c in (one, other)]
    assert_same(*moments, atol=2e-5, rtol=1e-3)
    assert (one["epoch"], one["progress"]["pairs_seen"]) == (other["epoch"], other["progress"]["pairs_seen"])


def test_two_processes_equal_one_with_the_doubled_batch(toys: SimpleNamespace, tmp_path: Path) -> None:
    ended = run(toys, settings(toys, tmp_path / "two", json=True))
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)["result"]  # one document: rank 0's
    assert result["completed"]
    assert result["pairs_seen"] == 12
    assert ended.stderr.count("epoch 2 step 1/1") == 1
    assert "warning" not in ended.stderr
    assert train(TrainConfig.from_dict(settings(toys, tmp_path / "one", batch_size=4))).completed
    assert_same_training(tmp_path / "two", tmp_path / "one")
    assert len(read_checkpoint(checkpoint_path(tmp_path / "two", "last"))["ranks"]) == 2


@pytest.mark.slow
def test_torchrun_with_accumulation_ema_and_a_test_set(toys: SimpleNamespace, tmp_path: Path) -> None:
    values = settings(
        toys, tmp_path / "two", train_dataset="ToyPairs(8)", test_dataset="ToyPairs(4)", accum_iter=2, clip_grad=1.0,
        ema=0.9, dist_url="env://", world_size=8, local_rank=0,
    )  # fmt: skip
    ended = run(toys, values, TORCHRUN)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("done, 24 pairs") == 1
    one = {**values, "output_dir": str(tmp_path / "one"), "batch_size": 8, "accum_iter": 1}
    assert train(TrainConfig.from_dict(one)).completed
    assert_same_training(tmp_path / "two", tmp_path / "one")
    for name in ("ToyPairs_loss_avg", "train_grad_norm"):  # the test batches are twice as many, as large
        numbers = [[line[name] for line in lines(tmp_path / w, "log.txt")[1:]] for w in ("two", "one")]
        assert numbers[0] == pytest.approx(numbers[1], rel=0.01)
    states = [read_checkpoint(checkpoint_path(tmp_path / w, "last"))["ema"] for w in ("two", "one")]
    assert states[0]["updates"] == states[1]["updates"] == 3
    assert list(states[0]["model"]) == list(states[1]["model"])


@pytest.mark.slow
def test_fsdp_equals_one_process_and_their_files_are_each_other_s(
    toys: SimpleNamespace, tmp_path: Path
) -> None:
    half, whole, one = (tmp_path / name for name in ("half", "whole", "one"))
    assert train(TrainConfig.from_dict(settings(toys, one, batch_size=4, keep_freq=1))).completed
    ended = run(toys, settings(toys, whole, fsdp=True, clip_grad=100.0, keep_freq=1))
    assert ended.returncode == 0, ended.stderr
    assert "warning" not in ended.stderr
    assert_same_training(whole, one)
    # From the file of one process after its first epoch.
    half.mkdir()
    shutil.copy(checkpoint_path(one, "1"), checkpoint_path(half, "last"))
    ended = run(toys, settings(toys, half, fsdp=True))
    assert ended.returncode == 0, ended.stderr
    assert losses(half) == pytest.approx(losses(one)[1:], rel=1e-6)
    # And the other way round; training goes on from the same numbers.
    shutil.rmtree(half)
    half.mkdir()
    shutil.copy(checkpoint_path(whole, "1"), checkpoint_path(half, "last"))
    assert train(TrainConfig.from_dict(settings(toys, half, batch_size=4))).completed
    assert losses(half) == pytest.approx(losses(one)[1:], rel=1e-6)


class Running:
    """A run in two processes, in the middle of its first epoch."""

    def __init__(self, toys: SimpleNamespace, values: dict[str, Any], steps: int) -> None:
        self.folder = Path(values["output_dir"])
        self.process = subprocess.Popen(
            [*TRAIN, *words_of({**values, "nproc_per_node": 2})],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env=toys.environment,
        )  # fmt: skip
        file = self.folder / "steps.jsonl"
        wait_until(lambda: self.ended or (file.exists() and len(file.read_text().splitlines()) >= steps), 300)
        assert not self.ended, self.process.communicate()[1]
        self.ranks = children(self.process.pid)
        assert len(self.ranks) == 2

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> None:
        for pid in (self.process.pid, *self.ranks):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def start(toys: SimpleNamespace, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(steps: int = 2, **changes: Any) -> Running:
        values = {"train_dataset": "ToyPairs(400, delay=0.2)", "batch_size": 1, **changes}
        started.append(Running(toys, settings(toys, tmp_path, **values), steps))
        return started[-1]

    yield begin
    for running in started:
        running.end()


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch(
    toys: SimpleNamespace, tmp_path: Path, start: Callable[..., Running]
) -> None:
    data = {"train_dataset": "ToyPairs(8, noise=0.1)", "batch_size": 1, "epochs": 2, "accum_iter": 2}
    expected = tmp_path / "uninterrupted"
    ended = run(toys, settings(toys, expected, **data))
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "killed"
    slowly = {**data, "train_dataset": "ToyPairs(8, noise=0.1, delay=0.5)", "save_minutes": 1e-9}
    running = start(steps=7, output_dir=str(folder), num_workers=1, **slowly)
    running.end()
    killed = read_checkpoint(checkpoint_path(folder, "last"))
    assert killed["position"]["epoch"] == 1
    assert killed["position"]["step"] == 2
    ended = run(toys, settings(toys, folder, **data))
    assert ended.returncode == 0, ended.stderr
    for name in ("last", "final"):
        contents = [read_checkpoint(checkpoint_path(where, name)) for where in (folder, expected)]
        for content in contents:
            del content["args"]
            content.pop("progress", None)
        assert_same(*contents, name)
    assert losses(folder)[-1] == losses(expected)[-1]


@pytest.mark.slow
def test_a_nan_of_rank_1_stops_all(toys: SimpleNamespace, tmp_path: Path) -> None:
    # Of 4 pairs, rank 1 has the last two of the first epoch's order: pair 0 is one of them.
    values = settings(toys, tmp_path, train_dataset="ToyPairs(4, nan_at=0)", batch_size=2, save_minutes=1e-9)
    ended = run(toys, values, TORCHRUN)
    assert ended.returncode == 1
    ours = [line for line in ended.stderr.splitlines() if line.startswith(("error:", "hint:"))]
    assert len(ours) == 2
    assert "the loss of rank 1 is not finite at epoch 0, step 0" in ours[0]
    assert str(tmp_path / "nan-report.json") in ours[1]
    # Torchrun's table: both left by themselves, or the slower one just when torchrun ended it.
    codes = re.findall(r"exitcode  : (-?\d+) ", ended.stderr)
    assert codes in (["1", "1"], ["1"], ["1", "-15"], ["-15", "1"])
    report = json.loads((tmp_path / "nan-report.json").read_text())
    assert report["rank"] == 1
    assert report["loss"] is None
    assert "others" not in report
    assert "0_0" in report["batch"]["view1"]["instance"]
    batch = torch.load(tmp_path / "nan-batch.pt", weights_only=True)
    assert torch.isnan(batch["view1"]["img"]).any()
    assert not list(tmp_path.glob("checkpoint-*.pth"))


@pytest.mark.slow
def test_a_rank_that_dies_is_named(start: Callable[..., Running]) -> None:
    running = start()
    os.kill(running.ranks[1], signal.SIGKILL)
    _, log = running.process.communicate(timeout=60)
    assert running.process.returncode == 1
    assert f"error: the process of rank 1 (process {running.ranks[1]} on " in log
    assert log.count("error:") == 1
    assert "Traceback" not in log
    assert not process_lives(running.ranks[0])


@pytest.mark.slow
def test_a_data_worker_that_dies_stops_the_run(start: Callable[..., Running]) -> None:
    running = start(num_workers=1)
    worker = children(running.ranks[1])[0]
    os.kill(worker, signal.SIGKILL)
    _, log = running.process.communicate(timeout=60)
    assert running.process.returncode == 1
    # Torch sees it by SIGCHLD, with the signal's name, or in a queue that stays empty, without.
    assert re.search(
        r"error: a process that loads data for rank 1 (was killed \(signal: Killed\)|has ended); training",
        log,
    ), log
    assert "smaller --num_workers" in log
    assert log.count("error:") == 1
    assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.parametrize("receiver", ["launcher", "rank 1"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_with_a_checkpoint(
    number: signal.Signals, receiver: str, start: Callable[..., Running], tmp_path: Path
) -> None:
    running = start(num_workers=1, accum_iter=2)
    os.kill(running.process.pid if receiver == "launcher" else running.ranks[1], number)
    said, log = running.process.communicate(timeout=120)
    assert running.process.returncode == 128 + number, log
    assert said.startswith("stopped, ")
    assert said.count("stopped, ") == 1
    assert "error" not in log
    assert read_checkpoint(checkpoint_path(tmp_path, "last"))["position"]["step"] % 2 == 0
    assert not any(map(process_lives, running.ranks))


@pytest.mark.slow
def test_without_its_launcher_a_run_stops_with_a_checkpoint(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    running = start()
    running.process.kill()
    wait_until(lambda: not any(map(process_lives, running.ranks)), 60)
    assert read_checkpoint(checkpoint_path(tmp_path, "last"))["position"]["epoch"] == 0


@pytest.mark.slow
def test_max_minutes_and_a_recipe_of_two_stages(toys: SimpleNamespace, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    common = settings(toys, tmp_path / "run", nproc_per_node=2, epochs=1, dry_run=False)
    recipe.write_text(
        "".join(f"{name} = {json.dumps(value)}\n" for name, value in common.items())
        + '[[stage]]\nname = "one"\n[[stage]]\nname = "two"\ntrain_dataset = "2 @ ToyPairs(4)"\nbatch_size = 1\n'
    )

    def again(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*TRAIN, "--recipe", str(recipe), *more],
            capture_output=True, text=True, timeout=600, check=False, env=toys.environment,
        )  # fmt: skip

    stopped = again("--max_minutes=1e-9")
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout.startswith("stopped, 4 pairs")
    done = again("--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["result"]
    assert result["completed"]
    assert result["checkpoint"] == str(tmp_path / "run" / "two" / "checkpoint-final.pth")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "code", "message"),
    [("--epochs=many", 2, "not a valid integer"), ("--train_dataset=NoSuchSet(3)", 1, "NoSuchSet")],
)
def test_errors_of_all_are_told_once(
    flag: str, code: int, message: str, toys: SimpleNamespace, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [*TORCHRUN, *words_of(settings(toys, tmp_path)), flag],
        capture_output=True, text=True, timeout=600, check=False, env=toys.environment,
    )  # fmt: skip
    assert ended.returncode == 1  # torchrun's own
    told = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert len(told) == 1
    assert message in told[0]
    assert f"exitcode  : {code} " in ended.stderr


def children(pid: int) -> list[int]:
    """Process numbers of the children, in the order of their start."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid), "--sort=start_time,pid"], capture_output=True, text=True, check=True
    )  # fmt: skip
    return [int(line) for line in listed.stdout.split()]


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
