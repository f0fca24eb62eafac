"""A signal to a run and its data workers: it stops in order, and nothing of it is left behind."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mast3r_train.loop.checkpointing import checkpoint_path, read_checkpoint

TOYS_FILE = Path(__file__).with_name("loop_toy_pairs.py")

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX's")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run with a worker, the leader of its own process group, in the middle of an epoch."""
    toys = runpy.run_path(str(TOYS_FILE))
    flags = {
        "model": toys["MODEL"], "train_criterion": toys["CRITERION"], "train_dataset": "ToyPairs(400, delay=0.2)",
        "batch_size": 1, "num_workers": 1, "epochs": 1, "lr": 1e-3, "device": "cpu", "print_freq": 1,
        "output_dir": tmp_path,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(TOYS_FILE), *(f"--{name}={value}" for name, value in flags.items())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    steps = tmp_path / "steps.jsonl"
    wait_until(lambda: process.poll() is not None or (steps.exists() and len(steps.read_text()) > 0), 300)
    assert process.poll() is None, process.communicate()[1]
    yield process
    if group_lives(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_sigterm_to_the_whole_group(running: subprocess.Popen[str], tmp_path: Path) -> None:
    os.killpg(running.pid, signal.SIGTERM)
    said, log = running.communicate(timeout=120)
    assert running.returncode == 128 + signal.SIGTERM, log
    assert said.startswith("stopped, ")
    assert "error" not in log
    assert read_checkpoint(checkpoint_path(tmp_path, "last"))["position"]["epoch"] == 0
    wait_until(lambda: not group_lives(running.pid), 30)


def group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
