"""Tasks that are handed out, and handed out again when their worker is lost."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

from mast3r_model import DeviceError
from mast3r_sfm.predictions.tasks import Task

LOGGER = logging.getLogger("mast3r.sfm.engines")

LOSSES_OF_ONE_TASK = 3
"""A task that took so many workers with it is itself the reason."""


class TaskQueue:
    """Tasks still to be done, each with the number of workers it has cost."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._waiting: deque[tuple[Task, int]] = deque((task, 0) for task in tasks)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self) -> tuple[Task, int]:
        """The next task and its losses."""
        return self._waiting.popleft()

    def put_back(self, task: Task, losses: int, why: str) -> None:
        """A worker was lost while it did a task.

        Raises:
            DeviceError: not for the first time.
        """
        if losses + 1 >= LOSSES_OF_ONE_TASK:
            raise DeviceError(
                f"{losses + 1} workers ended while they did the same batch (the last one: {why})",
                "is memory short? use a smaller --batch-size or --size, or fewer workers",
            )
        LOGGER.warning("a worker ended (%s): another one does its batch", why)
        self._waiting.appendleft((task, losses + 1))
