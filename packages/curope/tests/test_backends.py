"""Which back end is chosen, and what is said about it. Stand-ins play the GPU's part of the choice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import curope
from curope import backends, cuda_library

Availabilities = dict[str, bool]


@pytest.fixture(autouse=True)
def fresh_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    caches = (backends._availability, backends._choose, backends._rotation, cuda_library.load)
    for name in ("CUROPE_BACKEND", "CUROPE_LIBRARY", "TRITON_INTERPRET"):
        monkeypatch.delenv(name, raising=False)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Availabilities], None]:
    def available(usable: Availabilities) -> None:
        monkeypatch.setattr(
            backends, "_availability", lambda _, name: curope.Availability(usable[name], f"{name} pretended")
        )

    return available


def test_cpu_uses_the_reference() -> None:
    report = curope.backend("cpu")
    assert report.name == "reference"
    assert "cpu" in report.reason
    assert list(report.available) == ["cuda", "triton", "reference"]
    assert report.available["reference"]
    assert not report.available["cuda"]
    assert str(report.available["cuda"]).startswith("no: ")
    assert curope.backend(torch.device("cpu")) == report


@pytest.mark.parametrize(
    ("usable", "expected"),
    [
        ({"cuda": True, "triton": True, "reference": True}, "cuda"),
        ({"cuda": False, "triton": True, "reference": True}, "triton"),
        ({"cuda": False, "triton": False, "reference": True}, "reference"),
    ],
)
def test_order_of_preference_on_a_gpu(pretend, usable: Availabilities, expected: str) -> None:
    pretend(usable)
    assert curope.backend("cuda").name == expected


@pytest.mark.parametrize("name", ["cuda", "triton", "reference"])
def test_the_variable_decides_on_a_gpu(pretend, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pretend({"cuda": True, "triton": True, "reference": True})
    monkeypatch.setenv("CUROPE_BACKEND", name)
    report = curope.backend("cuda")
    assert report.name == name
    assert f"CUROPE_BACKEND={name}" in report.reason


def test_asking_for_what_is_not_there_is_an_error(pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend({"cuda": False, "triton": True, "reference": True})
    monkeypatch.setenv("CUROPE_BACKEND", "cuda")
    with pytest.raises(RuntimeError, match=r"CUROPE_BACKEND=cuda.*cuda pretended.*unset"):
        backends.rotation(torch.device("cuda"))
    assert curope.backend("cuda").name == "none"


@pytest.mark.parametrize("name", ["cuda", "triton"])
def test_the_variable_does_not_stop_other_devices(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("CUROPE_BACKEND", name)
    report = curope.backend("cpu")
    assert report.name == "reference"
    assert f"CUROPE_BACKEND={name}" in report.reason
    assert curope.rope2d(torch.ones(1, 1, 1, 4), torch.zeros(1, 1, 2, dtype=torch.int32)).shape == (
        1,
        1,
        1,
        4,
    )


def test_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUROPE_BACKEND", "cudda")
    with pytest.raises(ValueError, match=r"expected auto, cuda, triton, reference; got 'cudda'"):
        curope.rope2d(torch.ones(1, 1, 1, 4), torch.zeros(1, 1, 2, dtype=torch.int64))
    assert curope.backend("cpu").name == "none"


def test_an_absent_library_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cuda_library, "INSTALLED", tmp_path / "installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    available = curope.backend("cuda").available["cuda"]
    assert not available
    assert "python -m curope.build" in available.reason


def test_where_the_library_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cuda_library, "INSTALLED", tmp_path / "installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached, installed, named = (
        folder / cuda_library.library_name()
        for folder in (tmp_path / "curope", tmp_path / "installed", tmp_path)
    )
    for library in (cached, installed, named):
        library.parent.mkdir(exist_ok=True)
        library.touch()
    assert cuda_library.find_library() == installed
    installed.unlink()
    assert cuda_library.find_library() == cached
    monkeypatch.setenv("CUROPE_LIBRARY", str(named))
    assert cuda_library.find_library() == named
    monkeypatch.setenv("CUROPE_LIBRARY", str(tmp_path / "absent.so"))
    with pytest.raises(FileNotFoundError, match=r"absent\.so"):
        cuda_library.find_library()


def test_a_broken_library_is_reported_not_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setenv("CUROPE_LIBRARY", str(broken))
    assert not curope.backend("cuda").available["cuda"]


def test_the_library_is_named_after_what_it_depends_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = cuda_library.library_name()
    assert torch.__version__ in before
    (tmp_path / "rope2d.h").write_text("// another version")
    monkeypatch.setattr(cuda_library, "SOURCES", tmp_path)
    assert cuda_library.library_name() != before


def test_import_and_first_call_are_silent_and_light() -> None:
    code = """
import sys
import torch
before = set(sys.modules)
import curope, curope.backends
assert curope.backends._availability.cache_info().currsize == 0, "chose at import"
curope.rope2d(torch.ones(1, 1, 1, 4), torch.zeros(1, 1, 2, dtype=torch.int64))
heavy = {"torch._dynamo", "triton", "sympy"} & (set(sys.modules) - before)  # seconds of start-up
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
