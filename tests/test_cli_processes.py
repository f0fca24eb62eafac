"""The program as a process: exit codes, signals, pipes, terminals, the shell's completion (spec 60 F2)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MAST3R = [sys.executable, "-m", "mast3r_model"]
HEAVY = {"torch", "gradio", "numpy", "PIL", "rich", "cv2", "scipy", "pycolmap", "viser", "huggingface_hub"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, without settings, colours or variables of the tester's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("NO_COLOR", "FORCE_COLOR", "MAST3R_MODEL", "PYTHONUNBUFFERED", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def called(*words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MAST3R, *words], capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload, no-any-return]


def photo(path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).resize((128, 96), Image.Resampling.BICUBIC).save(path)


def test_help_imports_nothing_heavy() -> None:
    line = [sys.executable, "-X", "importtime", *MAST3R[1:], "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    imported = {entry.rpartition("|")[2].strip().partition(".")[0] for entry in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & HEAVY
    for command in ("sfm", "visloc localize", "train", "demo", "quickstart", "view"):
        assert command in done.stdout


@pytest.mark.parametrize("command", ["sfm", "demo", "visloc localize", "train"])
def test_help_of_a_command_imports_nothing_heavy(command: str) -> None:
    line = [sys.executable, "-X", "importtime", *MAST3R[1:], *command.split(), "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    imported = {entry.rpartition("|")[2].strip().partition(".")[0] for entry in done.stderr.splitlines()}
    assert not imported & {"torch", "gradio", "cv2", "pycolmap", "viser"}
    assert "Examples:" in done.stdout


def test_done() -> None:
    done = called("match", str(EXAMPLES / "a.jpg"), str(EXAMPLES / "b.jpg"), "--size", "128")
    assert done.returncode == 0
    assert re.fullmatch(r".*a\.jpg - .*b\.jpg: \d+ matches, median score [\d.]+\n", done.stdout)
    written, following, hint = done.stderr.splitlines()
    assert written == "written: matches.npz"
    assert following.startswith("next: ")
    assert "naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric (CC BY-NC-SA 4.0" in hint
    assert "\x1b" not in done.stdout + done.stderr


def test_failed_and_usage() -> None:
    Path("mast3r.toml").write_text("[models.list]\nofline = true\n")
    done = called("models", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: settings file mast3r.toml: models list has no option 'ofline'" in done.stderr
    assert "Traceback" not in done.stderr
    done = called("models", "inf")
    assert done.returncode == 2
    assert "did you mean info" in done.stderr


def test_done_in_part() -> None:
    photo(Path("photos/a.jpg"), 0)
    photo(Path("photos/b.jpg"), 1)
    Path("photos/c.jpg").write_text("no photo")
    done = called("pairs", "photos", "--json")
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert "c.jpg" in document["warnings"][0]
    assert Path("pairs.txt").read_text().splitlines()[-1] == "b.jpg, a.jpg, 1.0"


def test_nothing_found() -> None:
    photo(Path("a.jpg"), 0)
    photo(Path("b.jpg"), 1)
    done = called("match", "a.jpg", "b.jpg", "--size", "128", "--min-confidence", "1e9")
    assert done.returncode == 4
    assert "error: no matches in the pair" in done.stderr
    assert not Path("matches.npz").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_interrupted() -> None:
    for number in range(8):
        photo(Path(f"photos/{number}.jpg"), number)
    command = [*MAST3R, "sfm", "photos", "-o", "scene", "--size", "512", "--progress", "none"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(Path().glob("scene/cache/features/*/*.safetensors")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == ""
    assert "kept: predictions in scene/cache; the same command goes on from there" in err
    assert err.splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in err


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_closed_pipe() -> None:
    # Nobody reads: `true` has ended long before the command has imported itself.
    line = f"{sys.executable} -m mast3r_model models list | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk_behind_stdout() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*MAST3R, "models", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "error: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def on_a_terminal(*words: str, **variables: str) -> str:
    """What a command writes to a terminal."""
    pty = pytest.importorskip("pty", reason="pseudo terminals are POSIX's")
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", **variables}
    with subprocess.Popen([*MAST3R, *words], stdin=slave, stdout=slave, stderr=slave, env=environment):
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
    return written.decode()


def test_colours_on_a_terminal_only() -> None:
    assert "\x1b[" in on_a_terminal("--help")
    assert "\x1b[" not in on_a_terminal("--help", NO_COLOR="1")
    assert "\x1b[" not in called("--help").stdout
    assert "\x1b[" in called("--help", env={**os.environ, "FORCE_COLOR": "1"}).stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_completion_in_bash() -> None:
    """The script that we print, in a real bash: what it offers after some words."""
    program = Path("bin/mast3r")
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(MAST3R)} "$@"\n')
    program.chmod(0o755)
    script = called("completion", "bash").stdout
    assert "_mast3r_completion" in script
    Path("completion.bash").write_text(script)

    def offered(line: str) -> list[str]:
        words = line.split(" ")
        bash = f"""
            source completion.bash
            COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
            COMP_CWORD={len(words) - 1}
            _mast3r_completion mast3r
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        environment = {**os.environ, "PATH": f"{Path('bin').resolve()}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", bash], capture_output=True, text=True, check=True, env=environment
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert offered("mast3r quick") == ["quickstart"]
    assert "swin-3-noncyclic" in offered("mast3r sfm photos --graph sw")


@pytest.mark.parametrize(
    "module", ["mast3r_match", "mast3r_sfm", "mast3r_visloc", "mast3r_train", "mast3r_demo"]
)
def test_packages_are_programs(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"Usage: python -m {module}")
