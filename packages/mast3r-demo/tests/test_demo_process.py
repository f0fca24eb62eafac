"""``mast3r demo`` as a process: what it says at its start, that it stops, and that nothing is left."""

from __future__ import annotations

import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from mast3r_demo.demo_command import exposure_warning, model_licence, start_lines
from mast3r_demo.server import blocked_paths, free_port, gradio_environment, launch
from mast3r_demo.server_options import ServerOptions
from mast3r_demo.session import SessionStore
from mast3r_model import InputError
from mast3r_model.cli import ModelOptions

PATIENCE = 120.0
OTHER_DEFAULTS = {
    # of these gradio's defaults are ours; all others are said
    *("max_threads", "auth_message", "height", "width", "favicon_path", "ssl_keyfile_password", "app_kwargs"),
    *("state_session_capacity", "share_server_address", "share_server_protocol"),
    *("share_server_tls_certificate", "auth_dependency", "node_server_name", "node_port", "i18n", "head"),
    *("head_paths", "css_paths"),
}


def test_every_switch_of_gradio_is_said(tmp_path: Path) -> None:
    """A new version of gradio with a new switch makes this fail: then somebody decides."""
    said: dict[str, Any] = {}

    class Page:
        def launch(self, **switches: Any) -> tuple[None, str, str]:
            said.update(switches)
            return None, "local", ""

    options = ServerOptions()
    with SessionStore(tmp_path / "sessions") as store:
        assert launch(Page(), options, store) == "local"  # type: ignore[arg-type]
    known = {name for name in inspect.signature(gr.Blocks.launch).parameters if not name.startswith("_")}
    assert known - {"self"} == set(said) | OTHER_DEFAULTS
    assert not set(said) & OTHER_DEFAULTS
    assert {name: said[name] for name in ("share", "enable_monitoring", "mcp_server", "run_history", "ssr_mode", "pwa")
            } == dict.fromkeys(("share", "enable_monitoring", "mcp_server", "run_history", "ssr_mode", "pwa"), False)  # fmt: skip
    assert said["strict_cors"] is True
    assert said["server_name"] == "127.0.0.1"
    assert said["allowed_paths"] == said["footer_links"] == []
    assert "/etc" in said["blocked_paths"]


def test_gradios_variables_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_ALLOWED_PATHS", "/")
    with gradio_environment(tmp_path):
        assert {name for name in os.environ if name.startswith("GRADIO_")} == {
            "GRADIO_TEMP_DIR",
            "GRADIO_ANALYTICS_ENABLED",
        }
        assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
    assert os.environ["GRADIO_SHARE"] == "True"
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_the_sessions_own_folder_is_never_blocked(tmp_path: Path) -> None:
    home = Path.home()
    assert str(home) in blocked_paths(tmp_path)
    assert str(home) not in blocked_paths(home / "work" / "sessions")


def test_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}"):
            free_port("127.0.0.1", port)
    assert free_port("127.0.0.1", None) >= 7860


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(InputError, match=r"cannot listen at 192\.0\.2\.1"):
        free_port("192.0.2.1", None)


def test_the_start_message_says_what_counts() -> None:
    lines = start_lines(ServerOptions(model=ModelOptions(device="cpu")), "http://127.0.0.1:7860/", Path("x"))
    assert lines["model"] == "nano (Apache-2.0)"
    assert lines["device"] == "cpu"
    assert "100 photos" in lines["limits"]
    assert "non-commercial" in model_licence("naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric")


def test_an_open_page_is_warned_of() -> None:
    assert exposure_warning(ServerOptions()) is None
    assert "without a password" in (exposure_warning(ServerOptions(host="0.0.0.0")) or "")
    assert "internet" in (exposure_warning(ServerOptions(share=True, share_without_password=True)) or "")
    assert exposure_warning(ServerOptions(host="0.0.0.0", auth=[("a", "b")])) is None


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tmp")


def start(temporary: Path, *words: str) -> tuple[subprocess.Popen[str], str, list[str]]:
    """A server as a process, the address it tells, and what it said."""
    environment = os.environ | {
        "TMPDIR": str(temporary),
        "OMP_NUM_THREADS": "1",
        "GRADIO_SERVER_NAME": "0.0.0.0",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mast3r_demo", "--device", "cpu", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=temporary,
    )
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("stop with"):
            break
    pages = [line.split()[1] for line in said if line.startswith("page")]
    assert pages, said
    return process, pages[0], said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_server_leaves_nothing(temporary: Path, number: signal.Signals) -> None:
    process, page, said = start(temporary)
    assert page.startswith("http://127.0.0.1:"), "the variable of gradio does not count"
    with urllib.request.urlopen(page, timeout=PATIENCE) as answer:
        assert b"MASt3R" in answer.read()
    (root,) = temporary.glob("mast3r-demo-*")
    assert str(root) in "".join(said)
    process.send_signal(number)
    rest = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_a_killed_servers_files_are_removed_by_the_next(temporary: Path) -> None:
    process, _, _ = start(temporary)
    process.kill()
    process.wait()
    (left,) = temporary.glob("mast3r-demo-*")
    second, _, _ = start(temporary)
    assert not left.exists()
    second.terminate()
    second.communicate(timeout=PATIENCE)
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_errors_are_one_line(temporary: Path) -> None:
    command = [sys.executable, "-m", "mast3r_demo", "--json", "--examples", str(temporary)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=temporary, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["kind"] == "InputError"
    assert "holds no folder of photos" in done.stderr
    assert list(temporary.iterdir()) == []
