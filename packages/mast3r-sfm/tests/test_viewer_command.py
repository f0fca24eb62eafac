"""``mast3r view`` and ``mast3r sfm --viewer`` as processes: they answer, and Ctrl-C ends them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mast3r_model.cli import run
from mast3r_sfm import Scene
from mast3r_sfm.cli import sfm
from mast3r_sfm.viewer.cli import view

from .viewed_scenes import wall_scene

pytest.importorskip("viser")
posix = pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view") / "scene"
    wall_scene().save(folder, formats=())
    return folder


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The command as a user starts it; it is killed in the end, if it has not ended."""
    words = [sys.executable, "-m", "mast3r_model", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    watchdog = threading.Timer(200, started.kill)  # a test that reads would wait for ever
    watchdog.start()
    try:
        yield started
    finally:
        watchdog.cancel()
        started.kill()
        started.wait()


def read_until(stream: object, pattern: str) -> str:
    """The first line that has the pattern; what it matched."""
    seen = []
    for line in stream:  # type: ignore[attr-defined]
        seen.append(line)
        found = re.search(pattern, line)
        if found:
            return found[0]
    raise AssertionError("".join(seen))


def page_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


@posix
def test_the_address_answers_until_ctrl_c_which_is_how_it_is_done(folder: Path) -> None:
    with process("view", folder, "--port", 0) as viewing:
        url = read_until(viewing.stdout, r"http://127\.0\.0\.1:\d+")
        assert "<html" in page_of(url)
        viewing.send_signal(signal.SIGINT)
        _, err = viewing.communicate(timeout=60)
        assert viewing.returncode == 0, err
        assert "Traceback" not in err
        port = int(url.rpartition(":")[2])
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_with_json_stdout_holds_one_document(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mast3r_sfm.viewer.command.wait_for_interrupt", lambda: None)
    assert run(view, [str(folder), "--port", "0", "--json"], program="mast3r view") == 0
    ended = capfd.readouterr()
    document = json.loads(ended.out)
    assert document["schema"] == "mast3r.view/1"
    assert document["result"]["photos"] == 3
    assert document["result"]["url"] in ended.err  # which is there before the end


def test_refusals_are_one_line(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        for arguments, code, complaint in (
            ([tmp_path / "nowhere"], 1, "no such file or folder"),
            ([tmp_path], 1, "holds no scene"),
            ([folder, "--port", taken], 1, f"something else listens at port {taken}"),
            ([folder, "--host", "no.such.host.invalid"], 1, "cannot listen at no.such.host.invalid"),
            ([folder, "--port", 70_000], 2, "--port"),
            ([], 2, "SCENE"),
        ):
            assert run(view, [str(word) for word in arguments], program="mast3r view") == code
            ended = capfd.readouterr()
            assert complaint in ended.err
            assert "Traceback" not in ended.err


def test_without_viser_the_command_names_the_extra(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    assert run(view, [str(folder)], program="mast3r view") == 1
    assert 'pip install "mast3r-sfm[viewer]"' in capfd.readouterr().err
    assert run(sfm, [str(folder), "--viewer", "-o", str(folder / "new")], program="mast3r sfm") == 1
    assert 'pip install "mast3r-sfm[viewer]"' in capfd.readouterr().err
    assert not (folder / "new").exists()


def test_what_others_on_the_network_can_see_is_said(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    monkeypatch.setattr("mast3r_sfm.viewer.command.wait_for_interrupt", lambda: None)
    assert run(view, [str(folder), "--host", "0.0.0.0", "--port", "0", "--open"], program="mast3r view") == 0
    ended = capfd.readouterr()
    assert "without a password" in ended.err
    assert opened == [re.search(r"http://localhost:\d+", ended.out)[0]]  # type: ignore[index]


def test_the_next_free_port_is_said(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mast3r_sfm.viewer.command.wait_for_interrupt", lambda: None)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 8080))
            other.listen()
        except OSError:
            pass  # somebody else's: as good
        assert run(view, [str(folder)], program="mast3r view") == 0
    ended = capfd.readouterr()
    assert "port 8080 is in use" in ended.err
    assert "8080" not in ended.out


def test_a_rehearsal_shows_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(sfm, [str(tmp_path), "--viewer", "--dry-run"], program="mast3r sfm") == 2
    assert "--dry-run makes none" in capfd.readouterr().err


@posix
@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the example photos lie in the repository only")
def test_a_reconstruction_can_be_watched_and_stays(tmp_path: Path) -> None:
    photos = [EXAMPLES / "a.jpg", EXAMPLES / "b.jpg"]
    options = ["--size", 128, "--device", "cpu", "--viewer", "--export", "ply"]
    with process("sfm", *photos, "-o", tmp_path / "scene", *options) as running:
        url = read_until(running.stderr, r"http://127\.0\.0\.1:\d+")
        assert "<html" in page_of(url)
        read_until(running.stderr, "stays at")
        assert len(Scene.load(tmp_path / "scene").images) == 2
        assert "<html" in page_of(url)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
        assert running.returncode == 0, err
        assert "photos placed" in out


@posix
@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the example photos lie in the repository only")
def test_a_watched_reconstruction_is_interrupted_as_any_other(tmp_path: Path) -> None:
    photos = [EXAMPLES / "a.jpg", EXAMPLES / "b.jpg"]
    with process("sfm", *photos, "-o", tmp_path / "scene", "--device", "cpu", "--viewer") as running:
        read_until(running.stderr, r"http://127\.0\.0\.1:\d+")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
        assert running.returncode == 130, err
        assert "Traceback" not in err
