"""Work that is asked for faster than it is done: only the last request counts."""

from __future__ import annotations

import threading
from collections.abc import Callable


class LatestOnly:
    """Runs an action after every request, but once for all that came while it was at work.

    Args:
        action: reads what is wanted by itself.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._asked = threading.Event()
        self._running = threading.Lock()

    def __call__(self) -> None:
        """Ask; comes back at once where somebody is at work, who will do it again."""
        self._asked.set()
        while self._asked.is_set() and self._running.acquire(blocking=False):
            try:
                self._asked.clear()
                self._action()
            finally:
                self._running.release()
