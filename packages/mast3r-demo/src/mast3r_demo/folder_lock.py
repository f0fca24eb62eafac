"""A folder that belongs to one process as long as that lives, however it ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from mast3r_model import InputError

LOCK_FILE = ".server.lock"


class FolderLock:
    """Holds a folder. The system gives it back when the process ends, even when it is killed.

    The file also holds the process's number, for people. The number alone would not do: in a container the
    next server has the same one.

    Args:
        folder: that exists.

    Raises:
        InputError: a living process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        # O_NOFOLLOW: in a folder that others may write to, the name could be a link to a file of ours.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        self._file: IO[str] | None = os.fdopen(os.open(self._path, flags, 0o600), "r+", encoding="utf-8")
        if not _lock(self._file):
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise InputError(
                f"the work folder {folder} is in use by another server (process {holder})",
                "give another one with --workdir",
            )
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Give the folder back; the file goes."""
        if self._file is not None:
            with suppress(OSError):
                self._path.unlink()
            self._file.close()
            self._file = None


def is_held(folder: Path) -> bool:
    """Whether a living process, this one included, holds a folder."""
    try:
        FolderLock(folder).release()
    except InputError:
        return True
    except OSError:
        return False
    return False


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
