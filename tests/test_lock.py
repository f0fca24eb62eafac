"""The committed form of uv.lock."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent

COMPLETED = """version = 1

[[package]]
name = "torch"
version = "2.15.0"
source = { registry = "https://registry.example/simple" }
sdist = { url = "https://files.example/ab/torch-2.15.0.tar.gz", hash = "sha256:00" }
wheels = [
    { url = "https://files.example/cd/torch-2.15.0-py3-none-any.whl", hash = "sha256:11", size = 3 },
]

[[package]]
name = "mast3r"
source = { editable = "." }

[package.metadata]
requires-dist = [{ name = "torch" }]

[package.metadata.requires-dev]
dev = [{ name = "pytest", specifier = ">=8" }]

[[package]]
name = "zlib"
"""


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", ROOT / "tools" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_addresses_and_metadata_go_and_the_rest_stays(lock: ModuleType) -> None:
    form = lock.committed_form(COMPLETED)
    assert "://" not in form
    assert "package.metadata" not in form
    assert 'source = { registry = "pypi" }' in form
    assert '{ path = "torch-2.15.0-py3-none-any.whl", hash = "sha256:11", size = 3 }' in form
    assert 'sdist = { path = "torch-2.15.0.tar.gz", hash = "sha256:00" }' in form
    assert form.endswith('[[package]]\nname = "zlib"\n')


def test_the_committed_form_stays_as_it_is(lock: ModuleType) -> None:
    form = lock.committed_form(COMPLETED)
    assert lock.committed_form(form) == form


def test_check_compares_the_committed_lock_with_the_completed_one(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "lock.py", tmp_path / "tools")
    lock = tmp_path / "uv.lock"

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    def tool(command: str) -> subprocess.CompletedProcess[str]:
        return run(sys.executable, "tools/lock.py", command)

    assert run("git", "init", "--quiet").returncode == 0
    lock.write_text(COMPLETED)
    assert "not committed" in tool("check").stderr
    run("git", "add", "uv.lock")
    assert "holds addresses" in tool("check").stderr
    assert tool("write").returncode == 0
    run("git", "add", "uv.lock")
    assert tool("check").returncode == 0
    lock.write_text(COMPLETED)  # as `uv sync` completes it
    assert tool("check").returncode == 0
    lock.write_text(COMPLETED.replace("2.15.0", "2.16.0"))
    ended = tool("check")
    assert ended.returncode == 1
    assert "not current" in ended.stderr
    assert tool("bogus").returncode == 2


def test_the_filter_of_the_contributors_page_stores_the_committed_form(tmp_path: Path) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (line,) = [line.strip() for line in page.splitlines() if line.strip().startswith("git config filter")]
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    (tmp_path / "uv.lock").write_text(COMPLETED)
    script = f"git init --quiet && {line} && git add uv.lock && git show :uv.lock"
    ended = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert 'registry = "pypi"' in ended.stdout
    assert "://" not in ended.stdout
    assert "://" in (tmp_path / "uv.lock").read_text(encoding="utf-8")
