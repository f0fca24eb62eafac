"""One visitor's folder, result and job (spec 60 D6)."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_model import InputError, atomic_write

from .jobs import Job, JobControl

if TYPE_CHECKING:
    from .reconstruction import Reconstruction

KEPT_GLBS = 3
"""Each change of a view control writes one; the last few may still be on their way to the browser."""

SESSION_ID = re.compile(r"[0-9a-f]{32}")

FOLDERS = ("uploads", "frames", "predictions", "exports")


class Session:
    """What belongs to one open page; made by `SessionStore`.

    Attributes:
        id: 128 random bits as 32 hexadecimal digits.
        folder: of this session alone, mode 0700.
        uploads: photos, videos and masks, numbered.
        frames: of videos.
        predictions: the cache of predictions.
        exports: what can be downloaded.
        result: the last reconstruction.
        photo_names: what the visitor called each uploaded file, by our name for it; to be shown only.
    """

    def __init__(self, folder: Path, predictions: Path | None = None) -> None:
        self.id = folder.name
        self.folder = folder
        self.uploads, self.frames, own_predictions, self.exports = (folder / name for name in FOLDERS)
        self.predictions = predictions or own_predictions
        self.result: Reconstruction | None = None
        self.photo_names: dict[str, str] = {}
        self.last_used = time.monotonic()
        self.ended = False
        self._uploaded = 0
        self._job: Job[Any] | None = None
        self._lock = threading.RLock()
        for path in (folder, self.uploads, self.frames, self.predictions, self.exports):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def job(self) -> Job[Any] | None:
        """The last job; setting one says that the session is in use."""
        return self._job

    @job.setter
    def job(self, job: Job[Any] | None) -> None:
        with self._lock:
            self.touch()
            self._job = job

    @property
    def busy(self) -> bool:
        """Whether its job has not ended yet."""
        return self._job is not None and self._job.active

    def touch(self) -> None:
        """It is in use now.

        Raises:
            InputError: it has ended.
        """
        with self._lock:
            if self.ended:
                raise InputError("this session has ended and its files are deleted", "reload the page")
            self.last_used = time.monotonic()

    def run(self, work: Callable[[JobControl], Any], *, seconds: float) -> Job[Any]:
        """Start work as this session's job.

        Raises:
            InputError: the session has ended, or its last job has not.
        """
        with self._lock:
            self.touch()
            if self.busy:
                raise InputError("this page's last job is still running", "wait for it, or press Cancel")
            job = Job(work, seconds=seconds)
            self._job = job
            job.start()
        return job

    def add_uploads(self, paths: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
        """Copy files into the session, numbered, so that no name of a visitor becomes a path of ours.

        Args:
            paths: what was uploaded; links are not followed.
            suffixes: for the copies, each with its dot.

        Raises:
            InputError: one is a link, or no file.
        """
        self.touch()
        copies = []
        for path, suffix in zip(paths, suffixes, strict=True):
            if path.is_symlink() or not path.is_file():
                raise InputError(f"{path.name} is no file", "upload photos and videos only")
            with self._lock:
                self._uploaded += 1
                copy = self.uploads / f"{self._uploaded:04d}{suffix}"
                self.photo_names[copy.name] = path.name
            with atomic_write(copy) as temporary:
                shutil.copyfile(path, temporary, follow_symlinks=False)
            copies.append(copy)
        return copies

    @contextmanager
    def new_export(self, name: str) -> Iterator[Path]:
        """A temporary path to write a download to; it gets its name when the block ends well.

        Yields:
            The temporary path; ``exports / name`` holds the file afterwards. The last three GLBs stay.

        Raises:
            InputError: the session has ended, or the name is no plain file name.
            OutputError: it cannot be written.
        """
        self.touch()
        if Path(name).name != name or name.startswith("."):
            raise InputError(f"{name!r} is no name for a file")
        with atomic_write(self.exports / name) as temporary:
            yield temporary
        glbs = sorted(self.exports.glob("[!.]*.glb"), key=lambda path: path.stat().st_mtime_ns)
        for old in glbs[:-KEPT_GLBS]:
            old.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget result, uploads, frames and downloads; predictions stay.

        Raises:
            InputError: its job is still running.
        """
        with self._lock:
            self.touch()
            if self.busy:
                raise InputError("this page's job is still running", "press Cancel first")
            self.result = self._job = None
            self.photo_names.clear()
            for folder in (self.uploads, self.frames, self.exports):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(mode=0o700, exist_ok=True)

    def end(self, *, only_if_idle: bool = False, wait: float = 0.0) -> bool:
        """Cancel its job and delete its folder.

        Args:
            only_if_idle: do nothing while its job runs.
            wait: so many seconds for the job's end.

        Returns:
            Whether the folder is gone; if not, the job has not ended yet: try again later.
        """
        with self._lock:
            if only_if_idle and self.busy:
                return False
            self.ended = True
            job = self._job
        if job is not None:
            job.cancel()
            if job.active and not job.wait(wait):
                return False
        self.result = self._job = None
        remove_tree(self.folder)
        return not self.folder.exists()


def new_session_id() -> str:
    """128 random bits."""
    return secrets.token_hex(16)


def remove_tree(path: Path) -> None:
    """Delete a folder, or a link to one (never what a link points to)."""
    with suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)


def tree_bytes(path: Path) -> int:
    """Size of all files below a folder; links count for nothing."""
    total = 0
    with suppress(OSError):
        for file in path.rglob("*"):
            with suppress(OSError):
                total += 0 if file.is_symlink() or not file.is_file() else file.stat().st_size
    return total
