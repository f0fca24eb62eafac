"""SIGTERM ends a command as Ctrl-C does: results so far are written, temporary files are gone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Inside the block, the first SIGTERM raises; a second one ends the process at once.

    Outside the main thread signals cannot be caught, and nothing is changed.

    Raises:
        KeyboardInterrupt: the signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    with _held_back():
        # Imported first: with the import, COLMAP's log library installs a handler that prints a stack of C++.
        import pycolmap  # noqa: F401

        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


@contextmanager
def _held_back() -> Iterator[None]:
    """A SIGTERM that comes inside the block is delivered after it, where the system can do so."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
