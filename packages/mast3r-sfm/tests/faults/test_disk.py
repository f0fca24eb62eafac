"""A full disk, a folder that may not be written to: said in one line, nothing half-written stays."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Commands, Outcome, contents, differences
from .forked_commands import Fault


def one_line(result: Outcome, *expected: str) -> None:
    """The command failed with one line that says all of this."""
    assert result.code == 1, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert [text for text in expected if text not in line] == []
    assert "Traceback" not in result.stderr


def half_written(folder: Path) -> list[Path]:
    """What a run may not leave behind."""
    return [path for path in folder.rglob("*") if ".part" in path.name or path.name == ".saving"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MiB; the predictions of four photos take 7, the features among them 3.5."""
    folder = tmp_path / "disk"
    folder.mkdir()
    yield from _mounted(folder, "-t", "tmpfs", "-o", "size=6m", "tmpfs")


@pytest.fixture
def read_only(tmp_path: Path, undisturbed: Path) -> Iterator[Path]:
    """A finished scene on a disk that cannot be written to."""
    folder = tmp_path / "scene"
    folder.mkdir()
    yield from _mounted(folder, "--bind", "-o", "ro", str(undisturbed))


def _mounted(folder: Path, *what: str) -> Iterator[Path]:
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root may mount")
    made = subprocess.run([mount, *what, str(folder)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"cannot mount here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_for_predictions(
    commands: Commands, place: Path, undisturbed: Path, small_disk: Path
) -> None:
    result = commands.sfm("photos", "-o", "full", "--cache", small_disk, folder=place)
    one_line(result, f"cannot write {small_disk}", "No space left on device")
    assert "hint: free some space" in result.stderr
    assert half_written(small_disk) == []
    assert not (place / "full").exists()
    kept = {path: path.stat().st_mtime_ns for path in small_disk.rglob("*.safetensors")}
    assert kept
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = commands.sfm("photos", "-o", "full", "--cache", small_disk, folder=place)
    assert again.code == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    different = differences(place / "full", undisturbed)
    assert [name for name in different if not name.startswith("cache/")] == []


@pytest.mark.parametrize(
    "size",
    [
        pytest.param("100k", id="COLMAP model", marks=pytest.mark.slow),
        pytest.param("1m", id="points", marks=pytest.mark.slow),
        pytest.param("2m", id="depth"),
        pytest.param("3m", id="state", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_for_the_scene(
    commands: Commands, place: Path, undisturbed: Path, small_disk: Path, size: str
) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(small_disk)], check=True)
    output = small_disk / "scene"
    arguments = ("photos", "-o", output, "--cache", undisturbed / "cache")
    result = commands.sfm(*arguments, folder=place)
    one_line(result, f"cannot write {output}", "No space left on device")
    assert list(small_disk.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = commands.sfm(*arguments, folder=place)
    assert again.code == 0, again.stderr
    assert (output / "scene.safetensors").is_file()


@pytest.mark.parametrize("size", [60_000, 400_000])
@pytest.mark.slow
def test_files_that_may_not_grow(commands: Commands, place: Path, undisturbed: Path, size: int) -> None:
    """Without a mount: the first write that is too long fails, of the features or of the scene."""
    folder = place / f"grow {size}"
    shutil.copytree(undisturbed, folder)
    if size < 100_000:
        shutil.rmtree(folder / "cache")
    before = contents(folder)
    result = commands.sfm("photos", "-o", folder.name, folder=place, fault=Fault(file_bytes=size))
    one_line(result, f"cannot write {folder.name}", "File too large")
    assert half_written(folder) == []
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert commands.sfm("photos", "-o", folder.name, folder=place).code == 0
    assert differences(folder, undisturbed) == []


def test_a_read_only_folder(commands: Commands, place: Path, undisturbed: Path, read_only: Path) -> None:
    before = contents(undisturbed)
    result = commands.sfm("photos", "-o", read_only, folder=place)
    one_line(result, f"cannot write {read_only}", "Read-only file system")
    assert "hint: choose a folder that you may write to" in result.stderr
    assert contents(undisturbed) == before


def test_a_folder_under_a_file(commands: Commands, place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = commands.sfm("photos", "-o", tmp_path / "file" / "scene", folder=place)
    one_line(result, f"{tmp_path / 'file'} is a file")
    assert "warning" not in result.stderr
    assert (tmp_path / "file").read_text() == "mine"
