"""Atomic writes: the whole file or nothing."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mast3r_model import OutputError, atomic_write


def test_writes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "result.txt"
    for text in ("first", "second"):
        with atomic_write(target) as temporary:
            assert temporary.parent == target.parent
            assert temporary.suffix == ".txt"
            temporary.write_text(text)
            assert not target.exists() or target.read_text() == "first"
        assert target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["result.txt"]


def write_half(target: Path, raised: BaseException) -> None:
    with atomic_write(target) as temporary:
        temporary.write_text("half")
        raise raised


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
        (PermissionError(errno.EACCES, "Permission denied"), OutputError),
        (ValueError("a bug"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_nothing_half_written_stays(
    tmp_path: Path, raised: BaseException, expected: type[BaseException]
) -> None:
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(expected) as caught:
        write_half(target, raised)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["result.txt"]
    if isinstance(caught.value, OutputError):
        assert str(target) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.hint


def test_refuses_folders_and_forgotten_writes(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder"), atomic_write(tmp_path):
        raise AssertionError("the block must not run")
    with pytest.raises(OutputError, match="nothing was written"), atomic_write(tmp_path / "empty"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError), atomic_write(tmp_path / "file" / "below"):
        pass


def test_a_full_disk_says_so(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OutputError, match="No space left"), atomic_write(tmp_path / "result"):
        full.write_text("x" * 100_000)
    assert list(tmp_path.iterdir()) == []
