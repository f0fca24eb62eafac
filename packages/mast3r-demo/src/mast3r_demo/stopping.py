"""How the server is stopped: SIGINT (Ctrl-C) and SIGTERM let it cancel jobs and delete files first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether the server is to stop; made by `stop_signals`.

    Until `wait` is called, a signal raises KeyboardInterrupt, so that loading a network can be interrupted;
    afterwards the first one ends the wait, and further ones raise.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._waiting = False

    def wait(self) -> None:
        """Return when the first signal comes."""
        self._waiting = True
        self._event.wait()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """What a signal does."""
        if self._waiting and not self._event.is_set():
            self._event.set()
        else:
            raise KeyboardInterrupt


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """SIGINT and SIGTERM as `Stop` says, inside the block; outside the main thread they cannot be caught."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with _held_back():
        # Imported first: with the import, COLMAP's log library installs a handler that prints a stack of C++.
        import pycolmap  # noqa: F401

        for number in SIGNALS:
            signal.signal(number, stop.on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def _held_back() -> Iterator[None]:
    """Signals that come inside the block are delivered after it, where the system can do so."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
