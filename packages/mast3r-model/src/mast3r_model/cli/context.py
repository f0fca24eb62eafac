"""What a command's function gets as its first argument."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from .console import Console
from .documents import json_ready, write_line
from .progress import Advance, ProgressReporter

LOGGER = logging.getLogger("mast3r.cli")

Item = TypeVar("Item")

PARTIAL_EXIT_CODE = 3


class CommandContext:
    """Everything a command says goes through here, so that it works for people and for ``--json`` alike.

    Attributes:
        command: the command's name, such as ``"match"`` or ``"models info"``.
        console: how this run talks.
        exit_code: 0, or 3 after ``partial``.
    """

    def __init__(self, command: str, console: Console, items: str | None = None) -> None:
        self.command = command
        self.console = console
        self.exit_code = 0
        self._items = items
        self._stdout = sys.stdout  # while the command runs, --json sends everybody else's to stderr
        self._closing: list[str] = []
        self._result: dict[str, object] = {}
        self._timings: dict[str, float] = {}
        self._progress = ProgressReporter(console)

    @property
    def json(self) -> bool:
        """Whether the user asked for the JSON document."""
        return self.console.json

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds spent in each ``timed`` block, by name."""
        return dict(self._timings)

    def say(self, text: str = "") -> None:
        """A line of the result for a person, on stdout; left out under ``--json``."""
        if not self.json:
            self.console.out(text)

    def note(self, text: str) -> None:
        """A line that is no result (a hint, what was written, the next command), on stderr."""
        self.console.note(text)

    def note_at_the_end(self, text: str) -> None:
        """Like ``note``, once, after all that the command says; left out where it fails."""
        if text not in self._closing:
            self._closing.append(text)

    def close(self) -> None:
        """Say what was kept for the end."""
        for text in self._closing:
            self.note(text)

    def warn(self, text: str) -> None:
        """Something went wrong that does not stop the command; it is also in the document's ``warnings``."""
        LOGGER.warning("%s", text)

    def partial(self, text: str) -> None:
        """Done in part (some photos unreadable, ...): a warning, and exit code 3 at the end."""
        self.exit_code = PARTIAL_EXIT_CODE
        self.warn(text)

    def result(self, values: Mapping[str, object] | None = None, /, **more: object) -> None:
        """Add to the ``result`` of the document: numbers, text, lists, paths, arrays, dataclasses."""
        self._result.update(values or {})
        self._result.update(more)

    def item(self, values: Mapping[str, object] | object, *, in_document: bool = True) -> None:
        """One of the many things that the command is about; under ``--jsonl`` a line at once.

        Args:
            values: the item, a mapping or a dataclass.
            in_document: also an element of the document's list, which ``@command(items=...)`` names.
        """
        if self.console.jsonl:
            write_line(values, self._stdout)
        elif in_document and self._items is not None:
            found = self._result.setdefault(self._items, [])
            assert isinstance(found, list)
            found.append(values)

    def results(self) -> object:
        """Everything given to ``result`` so far, ready for JSON."""
        return json_ready(self._result)

    def track(self, iterable: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
        """Go through an iterable and show the progress on stderr.

        Args:
            iterable: what to go through.
            description: a short word or two, such as "matching".
            total: number of items, if ``len(iterable)`` does not know.
        """
        if total is None and isinstance(iterable, Sized):
            total = len(iterable)
        with self._progress.task(description, total) as advance:
            for item in iterable:
                yield item
                advance(1)

    def progress(self, description: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Like ``track``, for other work: ``with context.progress("x", 9) as advance: advance(1)``."""
        return self._progress.task(description, total)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to the document's ``timings``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._timings[name] = self._timings.get(name, 0.0) + time.perf_counter() - started
