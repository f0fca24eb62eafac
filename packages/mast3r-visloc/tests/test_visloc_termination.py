"""SIGTERM ends a command as Ctrl-C does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

from mast3r_visloc.localizing import Localizer

from .painted_wall import MAP
from .visloc_cli import Visloc

ENDED = """
import os, signal, time
from mast3r_visloc.commands.termination import ends_on_sigterm
try:
    with ends_on_sigterm():
        import pycolmap
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
except KeyboardInterrupt:
    print("ended")
"""


DURING_THE_IMPORT = """
import os, signal, sys
from mast3r_visloc.commands.termination import ends_on_sigterm
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("pycolmap."):  # COLMAP's handler is there when some of them are imported
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder())
try:
    with ends_on_sigterm():
        pass
except KeyboardInterrupt:
    print("ended")
"""


@pytest.mark.parametrize("code", [ENDED, DURING_THE_IMPORT], ids=["within", "while importing"])
def test_no_stack_of_colmap_is_printed(code: str) -> None:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "ended\n", "")


@pytest.mark.parametrize("command", ["localize", "index", "evaluate", "prepare"])
def test_nothing_imports_colmap_before(command: str) -> None:
    words = {"localize": ["map", "a.jpg"], "prepare": ["inloc", "--raw", "raw", "--out", "out"]}
    code = f"""
import sys
from mast3r_model.cli import run
from mast3r_visloc import cli
from mast3r_visloc.commands import termination
class Entered(Exception): pass
def entered():
    assert "pycolmap" not in sys.modules
    raise Entered
termination.ends_on_sigterm = entered
run(cli.{command}, {words.get(command, ["map"])!r})
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "internal error: Entered" in ran.stderr, ran.stderr


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_so_far_are_kept(
    visloc: Visloc, wall: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    def not_ours(number: int, frame: FrameType | None) -> None:
        raise AssertionError("the command left SIGTERM alone")

    begun: list[str] = []
    localize = Localizer._localize

    def stopped(self, query, names):  # type: ignore[no-untyped-def]
        begun.append(query.name)
        if len(begun) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return localize(self, query, names)

    monkeypatch.setattr(Localizer, "_localize", stopped)
    before = signal.signal(signal.SIGTERM, not_ours)
    try:
        ran = visloc(
            "localize", wall / "map", wall / "queries", "--camera", MAP[0].camera_spec, "--size", 128,
            "--jobs", jobs, "-o", "out",
        )  # fmt: skip
        assert signal.getsignal(signal.SIGTERM) is not_ours
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ran.code == 130, ran.err
    report = json.loads(Path("out/report.json").read_text())
    assert not report["complete"]
    assert [query["name"] for query in report["queries"]] == begun[: len(report["queries"])]
    assert len(report["queries"]) < 3
