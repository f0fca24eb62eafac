"""The engine of one device: this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from mast3r_sfm.predictions.cache import PredictionCache
from mast3r_sfm.predictions.options import PredictionOptions
from mast3r_sfm.predictions.tasks import Task, TaskReport
from mast3r_sfm.predictions.worker import PredictionWorker


class LocalEngine:
    """Does one task after another in this process, on the network's device; see `Engine`."""

    workers = 1

    def __init__(self, model: Any, cache: PredictionCache, options: PredictionOptions) -> None:
        self._worker = PredictionWorker(model, cache, options)

    def __enter__(self) -> Self:
        """Nothing is to be started."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is to be stopped."""

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskReport]:
        """Do the tasks in order."""
        return map(self._worker.run, tasks)
