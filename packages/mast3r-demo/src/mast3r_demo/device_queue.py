"""Who may use the device: one job of this process after another, in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_SECONDS = 0.25
"""How often a waiting job looks whether it has been cancelled."""


class DeviceQueue:
    """A lock whose holders come in order, and which can be waited for with an eye on something else::

    with queue.turn(lambda ahead: control.check()):
        ...
    """

    def __init__(self) -> None:
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, waiting: Callable[[int], None]) -> Iterator[None]:
        """Hold the device for the length of a ``with`` block.

        Args:
            waiting: is told every quarter of a second how many come first; what it raises ends the wait.
        """
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
        try:
            self._wait_for(ticket, waiting)
            yield
        finally:
            with self._changed:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _wait_for(self, ticket: object, waiting: Callable[[int], None]) -> None:
        while True:
            with self._changed:
                ahead = self._waiting.index(ticket)
            if not ahead:
                return
            waiting(ahead)
            with self._changed:
                if self._waiting.index(ticket):
                    self._changed.wait(LOOK_SECONDS)


DEVICE = DeviceQueue()
"""The one device of this process."""
