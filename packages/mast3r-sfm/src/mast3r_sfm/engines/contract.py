"""What an engine is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from mast3r_sfm.predictions.tasks import Task, TaskReport


class Engine(Protocol):
    """Carries out tasks somewhere; made by a factory ``(model, cache, options)`` of hook `mast3r_engines`.

    An engine decides where and in how many processes; what is done is `PredictionWorker.run` for every
    engine, so that all give equal results (to the bit where they use as many threads).

    Attributes:
        workers: how many tasks it does at the same time.
    """

    workers: int

    def __enter__(self) -> Self:
        """Start the workers."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop them."""

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskReport]:
        """Do all tasks, in any order; a report is given when its results are in the cache.

        Tasks of one call do not need each other's results. Errors of the user's kind (`Mast3rError`) are
        raised as they are.
        """
