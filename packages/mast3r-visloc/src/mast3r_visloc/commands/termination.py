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
    # Imported first: with the import, COLMAP's log library installs a handler that prints a stack of C++.
    import pycolmap  # noqa: F401

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
