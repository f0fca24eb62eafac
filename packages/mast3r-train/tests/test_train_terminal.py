"""``mast3r train`` on a terminal: a moving bar, and the log above it."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="pseudo terminals are POSIX's")

TOYS_FILE = Path(__file__).with_name("loop_toy_pairs.py")


@pytest.mark.slow
def test_a_bar_moves_and_the_log_stands_above_it(tmp_path: Path) -> None:
    toys = runpy.run_path(str(TOYS_FILE))
    flags = {
        "model": toys["MODEL"], "train_criterion": toys["CRITERION"], "train_dataset": "ToyPairs(8, delay=0.2)",
        "test_dataset": "ToyPairs(4, delay=0.2)", "batch_size": 1, "num_workers": 1, "epochs": 2, "lr": 1e-3,
        "device": "cpu", "print_freq": 3, "output_dir": tmp_path / "run",
    }  # fmt: skip
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(TOYS_FILE), *(f"--{name}={value}" for name, value in flags.items())],
        stdin=slave, stdout=slave, stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        os.close(slave)
        written = _everything(master)
    assert process.returncode == 0, written
    for epoch in range(2):
        shown = {int(count) for count in re.findall(rf"epoch {epoch} [━╸╺ ]+ (\d)/8", written)}
        assert len(shown) > 3  # it moved
        for step in (3, 6, 8):
            assert re.search(
                rf"\x1b\[2Kepoch {epoch} step {step}/8 [^\x1b]* min to the epoch's end\r\n", written
            )
    assert re.search(r"testing, ToyPairs [━╸╺ ]+ \d/4", written)
    assert re.search(r"\r\ndone, 16 pairs [^\x1b]*\r\nnext: [^\x1b]*\r\n$", written)
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 4  # the cursor comes back


def _everything(master: int) -> str:
    """What is written to the terminal until nobody has it open."""
    written = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:
            part = b""
        if not part:
            os.close(master)
            return written.decode()
        written += part
