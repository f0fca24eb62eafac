"""The sessions of a server: made, found, ended, swept; and everything gone in the end (spec 60 D6)."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mast3r_model import InputError, output_error

from .folder_lock import LOCK_FILE, FolderLock, is_held
from .session_folder import SESSION_ID, new_session_id, remove_tree, tree_bytes
from .session_folder import Session as Session

LOGGER = logging.getLogger("mast3r.demo")

TEMPORARY_PREFIX = "mast3r-demo-"
GRADIO_FOLDER = "gradio"
SHARED_CACHE = "shared-predictions"

SWEEP_SECONDS = 300.0
PATIENCE_SECONDS = 20.0
"""How long the end of the server waits for jobs that were cancelled."""


class SessionStore:
    """The sessions below one folder::

        with SessionStore(root) as store:
            session = store.create()

    What an earlier server left there, killed before it could delete, is deleted now.

    Args:
        root: made if missing; of one server at a time.
        keep_hours: a session that was not used for so long is deleted, unless its job runs.
        disk_limit_bytes: above it, sessions are deleted, those unused for longest first.
        keep: delete nothing at the end and nothing from earlier servers; `get` finds those sessions again.
        shared_cache: one cache of predictions for all sessions.
        temporary: ``root`` itself goes at the end.

    Attributes:
        root: where they are.
        gradio_folder: for gradio's own files (``GRADIO_TEMP_DIR``); it goes with the rest.

    Raises:
        InputError: another server uses the folder.
        OutputError: it cannot be written.
    """

    def __init__(
        self,
        root: Path,
        *,
        keep_hours: float = 2.0,
        disk_limit_bytes: int = 20 << 30,
        keep: bool = False,
        shared_cache: bool = False,
        temporary: bool = False,
    ) -> None:
        self.root = Path(root).absolute()
        self.gradio_folder = self.root / GRADIO_FOLDER
        self._keep_seconds = keep_hours * 3600
        self._disk_limit = disk_limit_bytes
        self._keep = keep
        self._temporary = temporary
        self._predictions = self.root / SHARED_CACHE if shared_cache else None
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._closed = False
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder_lock = FolderLock(self.root)
        except OSError as error:
            raise output_error(self.root, error) from error
        self._remove_leftovers()
        self.gradio_folder.mkdir(mode=0o700, exist_ok=True)

    @classmethod
    def temporary(
        cls,
        *,
        keep_hours: float = 2.0,
        disk_limit_bytes: int = 20 << 30,
        shared_cache: bool = False,
        parent: Path | None = None,
    ) -> Self:
        """A store in a fresh temporary folder, which goes with it; those of killed servers go now.

        Args:
            keep_hours: see the class.
            disk_limit_bytes: see the class.
            shared_cache: see the class.
            parent: folder for temporary folders; None for the system's.
        """
        base = Path(parent or tempfile.gettempdir())
        for folder in base.glob(f"{TEMPORARY_PREFIX}*"):
            if _is_abandoned(folder):
                LOGGER.info("removing %s, left by a server that was killed", folder)
                remove_tree(folder)
        root = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=base))
        return cls(
            root,
            keep_hours=keep_hours,
            disk_limit_bytes=disk_limit_bytes,
            shared_cache=shared_cache,
            temporary=True,
        )

    def __enter__(self) -> Self:
        """Start the sweeper."""
        self.start_sweeper()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """See `close`."""
        self.close()

    def create(self) -> Session:
        """A new session.

        Raises:
            InputError: the server is about to end.
            OutputError: its folder cannot be made.
        """
        with self._lock:
            if self._closed:
                raise InputError("the server is stopping")
            try:
                session = Session(self.root / new_session_id(), self._predictions)
            except OSError as error:
                raise output_error(self.root, error) from error
            self._sessions[session.id] = session
        return session

    def get(self, session_id: str) -> Session:
        """A session by its id; with ``keep``, those of earlier servers too.

        Raises:
            InputError: there is none.
        """
        with self._lock:
            session = self._sessions.get(session_id)
            kept = self._keep and SESSION_ID.fullmatch(session_id) and (self.root / session_id).is_dir()
            if session is None and kept and not (self.root / session_id).is_symlink():
                session = self._sessions[session_id] = Session(self.root / session_id, self._predictions)
        if session is None or session.ended:
            raise InputError("this session has ended and its files are deleted", "reload the page")
        session.touch()
        return session

    def end(self, session_id: str, *, wait: float = 0.0) -> None:
        """End a session: its job is cancelled, its folder deleted as soon as the job has ended.

        Args:
            session_id: of one that may have ended before.
            wait: so many seconds for its job; what is left is swept later.
        """
        session = self._sessions.get(session_id)
        if session is not None:
            self._forget(session, session.end(wait=wait))

    def sweep(self) -> None:
        """Delete sessions out of use, and more where the disk is too full; none with a running job."""
        now = time.monotonic()
        for session in list(self._sessions.values()):
            if session.ended:
                self._forget(session, session.end())
            elif now - session.last_used > self._keep_seconds:
                self._forget(session, session.end(only_if_idle=True))
        self._sweep_gradio()
        total = tree_bytes(self.root)
        for session in sorted(self._sessions.values(), key=lambda session: session.last_used):
            if total <= self._disk_limit:
                return
            size = tree_bytes(session.folder)
            if session.end(only_if_idle=True):
                LOGGER.warning("session %s deleted: the work folder is above its limit", session.id[:8])
                self._forget(session, True)
                total -= size

    def start_sweeper(self, seconds: float = SWEEP_SECONDS) -> None:
        """Sweep again and again in a thread of its own, until `close`."""
        sweeper = threading.Thread(
            target=self._sweep_often, args=(seconds,), name="mast3r-sweeper", daemon=True
        )
        sweeper.start()

    def close(self, *, wait: float = PATIENCE_SECONDS) -> None:
        """Cancel all jobs, delete all sessions (unless they are kept), give the folder back.

        Args:
            wait: so many seconds for all jobs together.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._closing.set()
        for session in self._sessions.values():
            session.ended = True
            if session.job is not None:
                session.job.cancel()
        end = time.monotonic() + wait
        for session in self._sessions.values():
            if session.job is not None and session.job.active:
                session.job.wait(max(0.0, end - time.monotonic()))
        self._remove_leftovers()
        self._sessions.clear()
        self._folder_lock.release()
        if self._temporary:
            remove_tree(self.root)

    def _forget(self, session: Session, gone: bool) -> None:
        if gone:
            with self._lock:
                self._sessions.pop(session.id, None)

    def _sweep_often(self, seconds: float) -> None:
        while not self._closing.wait(seconds):
            try:
                self.sweep()
            except Exception:
                LOGGER.exception("sweeping failed; it is tried again")

    def _sweep_gradio(self) -> None:
        """gradio keeps copies of all that goes in and out."""
        oldest = time.time() - self._keep_seconds
        with suppress(OSError):
            for entry in self.gradio_folder.iterdir():
                with suppress(OSError):
                    if entry.lstat().st_mtime < oldest:
                        remove_tree(entry)

    def _remove_leftovers(self) -> None:
        """Delete what is ours below the root, and nothing else: ``--workdir`` may hold other things."""
        for entry in self.root.iterdir():
            kept = SESSION_ID.fullmatch(entry.name) or entry.name == SHARED_CACHE
            if entry.name == GRADIO_FOLDER or (kept and not self._keep):
                remove_tree(entry)


def _is_abandoned(folder: Path) -> bool:
    """Whether it is a temporary root of this user's, of a server that lives no more."""
    try:
        about = folder.lstat()
        has_lock = (folder / LOCK_FILE).is_file()
    except OSError:
        return False
    own = not hasattr(os, "getuid") or about.st_uid == os.getuid()
    return own and has_lock and not folder.is_symlink() and not is_held(folder)
