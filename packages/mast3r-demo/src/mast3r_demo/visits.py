"""What a visitor's open page holds on the server, and what of it the browser may fetch (spec 60 D6, B4)."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mast3r_model import output_error

from .session import Session, SessionStore

LOGGER = logging.getLogger("mast3r.demo")
STOP_SECONDS = 60.0
"""A step of a job may take so long, on a slow machine."""
KEPT_FILES = 3
"""Of one kind: the browser may still be fetching the last ones."""


class Visit:
    """One visitor: a session, and a folder of what the browser may fetch.

    Gradio serves only what lies in its own folder, and copies there whatever else a handler returns, for
    good. So files are put there under a name that nobody can guess, as links, and go when newer ones come.

    Attributes:
        session: files, result and job.
        served: this visit's folder in gradio's.
        uploaded: where each file that gradio took in was copied to, by gradio's path.
        stopped: Cancel was pressed, and nothing was started since. What a cancelled job has said last may
            reach the page after the answer to Cancel.
    """

    def __init__(self, session: Session, gradio_folder: Path) -> None:
        self.session = session
        self.served = gradio_folder / secrets.token_hex(16)
        self.uploaded: dict[str, Path] = {}
        self.stopped = False
        self.lock = threading.Lock()

    def stop(self) -> None:
        """Cancel what is running."""
        self.stopped = True
        if self.session.job is not None:
            self.session.job.cancel()

    def wait_for_stop(self) -> None:
        """Wait until a cancelled job is at its next step, where it ends."""
        if self.session.job is not None:
            self.session.job.wait(STOP_SECONDS)

    def publish(self, path: Path, kind: str) -> Path:
        """Let the browser fetch a file; of the same kind the last three stay.

        Args:
            path: a file of the session.
            kind: such as ``view``.

        Raises:
            OutputError: it cannot be put there.
        """
        folder = self.served / kind / secrets.token_hex(8)
        try:
            folder.mkdir(mode=0o700, parents=True)
            target = folder / path.name
            try:
                os.link(path, target)
            except OSError:
                shutil.copyfile(path, target)
        except OSError as error:
            raise output_error(folder, error) from error
        self._forget_old(folder.parent)
        return target

    def picture_path(self, kind: str, suffix: str = ".png") -> Path:
        """A new name for a picture that the browser will fetch; of the same kind the last three stay."""
        folder = self.served / kind / secrets.token_hex(8)
        folder.mkdir(mode=0o700, parents=True)
        self._forget_old(folder.parent)
        return folder / f"{kind}{suffix}"

    def forget(self, kind: str) -> None:
        """Nothing of this kind may be fetched any more."""
        shutil.rmtree(self.served / kind, ignore_errors=True)

    def take(self, paths: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
        """Copies in the session of what gradio took in; each file is copied once.

        Args:
            paths: gradio's.
            suffixes: for the copies, each with its dot.
        """
        with self.lock:
            new = [(path, suffix) for path, suffix in zip(paths, suffixes, strict=True)
                   if path not in self.uploaded]  # fmt: skip
            copies = self.session.add_uploads([Path(path) for path, _ in new], [suffix for _, suffix in new])
            self.uploaded.update(zip((path for path, _ in new), copies, strict=True))
            return [self.uploaded[path] for path in paths]

    @staticmethod
    def _forget_old(folder: Path) -> None:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
        for old in entries[:-KEPT_FILES]:
            shutil.rmtree(old, ignore_errors=True)


class Visits:
    """All visits of a server.

    Args:
        store: of their sessions.
    """

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def enter(self, visit: Visit | None) -> Visit:
        """The visit, or a new one for a page that has none yet.

        Raises:
            InputError: its session has ended.
        """
        if visit is not None:
            self.store.get(visit.session.id)
            return visit
        visit = Visit(self.store.create(), self.store.gradio_folder)
        with self._lock:
            self._visits[visit.session.id] = visit
            ended = [key for key, other in self._visits.items() if other.session.ended]
        for key in ended:
            self.leave(self._visits.get(key))
        return visit

    def leave(self, visit: Visit | None) -> None:
        """End a visit: its job, its files, what gradio keeps of its uploads."""
        if visit is None:
            return
        with self._lock:
            self._visits.pop(visit.session.id, None)
            shared = {path for other in self._visits.values() for path in other.uploaded}
        self.store.end(visit.session.id)
        shutil.rmtree(visit.served, ignore_errors=True)
        for path in set(visit.uploaded) - shared:
            _remove_gradio_copy(Path(path), self.store.gradio_folder)


def _remove_gradio_copy(path: Path, gradio_folder: Path) -> None:
    """Delete an upload that lies in a folder of its own (named by its content) in gradio's."""
    with suppress(OSError):
        if path.parent.parent == gradio_folder:
            path.unlink(missing_ok=True)
            path.parent.rmdir()
