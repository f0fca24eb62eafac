"""Processes of ``mast3r sfm`` that are disturbed, and small photos for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors import safe_open

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[3] / "examples"
LASTING = ("scene.safetensors", "report.json", "report.html")
"""Files that say how long it took; what else they say is compared by `contents`."""

SMALL = ("--size", "160", "--device", "cpu", "--threads", "1")


@dataclass(frozen=True)
class Outcome:
    """What became of a command.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        stdout: all that it wrote there.
        stderr: likewise.
    """

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """What it wrote under ``--json``."""
        return json.loads(self.stdout)


class Commands:
    """Runs `mast3r` commands in processes of their own, see ``forked_commands.py``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "forked_commands.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __call__(self, *arguments: object, folder: Path | None = None, fault: Any = None) -> Outcome:
        """Run ``mast3r <arguments>`` in a folder, perhaps with a `forked_commands.Fault`."""
        stdout, stderr = self._folder / "stdout", self._folder / "stderr"
        job = {
            "arguments": [str(argument) for argument in arguments],
            "folder": str(folder or self._folder),
            "fault": None if fault is None else asdict(fault),
            "stdout": str(stdout),
            "stderr": str(stderr),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Outcome(code, stdout.read_text(), stderr.read_text())

    def sfm(self, *arguments: object, folder: Path | None = None, fault: Any = None) -> Outcome:
        """Run ``mast3r sfm`` at a small size."""
        return self("sfm", *SMALL, *arguments, folder=folder, fault=fault)

    def close(self) -> None:
        """End the process that forks."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    running = Commands(tmp_path_factory.mktemp("commands"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``photos/`` in it: two views of one scene, and a part of each."""
    if not EXAMPLES.is_dir():
        pytest.skip("the example photos lie in the repository only")
    folder = tmp_path_factory.mktemp("place")
    (folder / "photos").mkdir()
    for name in "ab":
        photo = Image.open(EXAMPLES / f"{name}.jpg").resize((320, 240))
        photo.save(folder / "photos" / f"{name}.jpg", quality=95)
        photo.crop((0, 0, 280, 210)).save(folder / "photos" / f"{name}_part.jpg", quality=95)
    return folder


@pytest.fixture(scope="session")
def undisturbed(commands: Commands, place: Path) -> Path:
    """The scene of these photos, from a run that nothing disturbed."""
    result = commands.sfm("photos", "-o", "undisturbed", folder=place)
    assert result.code == 0, result.stderr
    return place / "undisturbed"


def contents(folder: Path) -> dict[str, object]:
    """All that is in a scene's folder, to the bit, by file or array, without times and memory."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found: dict[str, object] = {
        path.relative_to(folder).as_posix(): None if path.name in LASTING else path.read_bytes()
        for path in files
    }
    with safe_open(folder / "scene.safetensors", framework="numpy") as state:
        found |= {f"array {name}": state.get_tensor(name).tobytes() for name in state.keys()}  # noqa: SIM118
        found["images"] = json.loads(state.metadata()["about"])["images"]
    return found | {"report": _timeless(json.loads((folder / "report.json").read_text()))}


def differences(folder: Path, other: Path) -> list[str]:
    """Names of what two scenes' folders do not have in common."""
    one, two = contents(folder), contents(other)
    return sorted(name for name in one.keys() | two.keys() if one.get(name, "") != two.get(name, ""))


def _timeless(report: Any) -> Any:
    if isinstance(report, dict):
        kept = {name: value for name, value in report.items() if name not in ("seconds", "peak_bytes")}
        return {name: _timeless(value) for name, value in kept.items()}
    return [_timeless(value) for value in report] if isinstance(report, list) else report
