"""Writing files so that nothing half-written is ever left behind."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path``; move it there when the block ends well, else delete it.

    The temporary name keeps the suffix of ``path``, because many writers choose the format by it. Missing
    parent folders are made. The previous file, if any, stays whole until it is replaced in one step::

        with atomic_write("matches.npz") as temporary:
            np.savez(temporary, ...)

    Args:
        path: the file to write; not a folder.

    Yields:
        A name in the same folder, not yet existing, to write to.

    Raises:
        OutputError: the file cannot be written (disk full, no permission, ...); nothing is left of it.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")
    try:
        if target.is_dir():
            raise OutputError(f"cannot write {target}: it is a folder", "give a file name")
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not temporary.exists():
            raise OutputError(f"cannot write {target}: nothing was written to the temporary file")
        _flush_to_disk(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def output_error(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """The one-line error for a file that could not be written."""
    reason = error.strerror or str(error)
    hints = {
        errno.ENOSPC: "free some space, or write to another disk",
        errno.EDQUOT: "free some space, or write to another disk",
        errno.EACCES: "choose a folder that you may write to",
        errno.EROFS: "choose a folder that you may write to",
        errno.ENOENT: "choose a folder that you may write to",
        errno.EEXIST: "choose another name: a part of it is a file",
        errno.ENOTDIR: "choose another name: a part of it is a file",
    }
    hint = hints.get(error.errno) if error.errno is not None else None
    return OutputError(f"cannot write {os.fspath(path)}: {reason}", hint)


def _flush_to_disk(path: Path) -> None:
    """Force the contents to the disk before the rename, so that a power cut cannot leave an empty file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
