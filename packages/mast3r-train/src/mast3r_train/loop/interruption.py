"""Stopping a run so that it can go on later: time limits and signals."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

LOGGER = logging.getLogger("mast3r.train")


@dataclass
class StopRequest:
    """Whether a run should stop at its next update.

    Attributes:
        deadline: ``time.monotonic()`` at which it should; None = never.
        signal_number: the signal that asked for it, if one did.
    """

    deadline: float | None = None
    signal_number: int | None = field(default=None)

    @classmethod
    def after_minutes(cls, minutes: float | None) -> StopRequest:
        """Stop when so many minutes have passed from now."""
        return cls(None if minutes is None else time.monotonic() + 60 * minutes)

    @property
    def is_due(self) -> bool:
        """Whether it is time to stop."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return late or self.signal_number is not None


@contextmanager
def stop_on_signals(request: StopRequest) -> Iterator[None]:
    """Inside the block, the first Ctrl-C or SIGTERM asks for a stop; a second one ends at once.

    Outside the main thread signals cannot be caught, and nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        request.signal_number = number
        signal.signal(number, before[signal.Signals(number)])
        LOGGER.warning("stopping after the next update; once more to stop at once")

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
