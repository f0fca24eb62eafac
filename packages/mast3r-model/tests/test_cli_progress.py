"""Progress on a terminal: a bar, with lines above it; elsewhere lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="pseudo terminals are POSIX's")

SCRIPT = """
import sys, time
from mast3r_model.cli import command, progress, run

progress.PLAIN_INTERVAL_SECONDS = 0.0

@command("count")
def count(context):
    "Count."
    for number in context.track(range(3), "counting"):
        time.sleep(0.15)
        if number == 1:
            context.note("a note [bold] of " + 30 * "many words ")
            context.say("a result")
            context.warn("a warning")
        if number == 2 and context.command == "count" and "-v" in sys.argv:
            raise ValueError("mine")
    context.say("the end")

sys.exit(run(count))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "count.py"
    path.write_text(SCRIPT)
    return path


def on_a_terminal(command: list[str]) -> str:
    """What a command writes to a terminal of 80 columns, on stdout and stderr."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "NO_COLOR": "1"}
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            written += part
    os.close(master)
    assert process.returncode in (0, 1)
    return written.decode()


def test_lines_stand_above_the_bar(script: Path) -> None:
    written = on_a_terminal([sys.executable, str(script)])
    assert re.search(r"counting .*1/3", written)
    for text in (
        f"a note [bold] of {'many words ' * 30}".strip(),
        "a result",
        "warning: a warning",
        "the end",
    ):
        # At the beginning of a line, or of one that was erased; and nothing after it.
        assert re.search(rf"(\n|\x1b\[2K|\x1b\[\?25h\r){re.escape(text)} ?\r\n", written), (text, written)
    assert written.endswith("the end\r\n")


def test_an_error_ends_the_bar(script: Path) -> None:
    written = on_a_terminal([sys.executable, str(script), "-v"])
    assert re.search(r"\x1b\[2K\x1b\[\?25h\r?Traceback", written), written[-2000:]
    assert "counting" not in written[written.rindex("\x1b[?25h") :]


def test_plain_lines(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(script), "--progress", "plain"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "a result\nthe end\n"
    assert [line for line in done.stderr.splitlines() if re.fullmatch(r"counting: \d/3, \d+ s", line)]
    silent = subprocess.run(
        [sys.executable, str(script), "--progress", "none"], capture_output=True, text=True, check=True
    )
    assert "counting" not in silent.stderr


def test_results_go_into_a_file_while_a_bar_is_drawn(script: Path, tmp_path: Path) -> None:
    written = on_a_terminal(["bash", "-c", f"{sys.executable} {script} > {tmp_path / 'out.txt'}"])
    assert "1/3" in written
    assert "a note" in written
    assert "a result" not in written
    assert (tmp_path / "out.txt").read_text() == "a result\nthe end\n"
