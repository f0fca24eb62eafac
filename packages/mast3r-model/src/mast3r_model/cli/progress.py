"""Long work shows that it goes on: a bar on a terminal, otherwise a line every ten seconds, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from .console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

Advance = Callable[[int], None]
"""Call it with the number of steps just done."""

PLAIN_INTERVAL_SECONDS = 10.0


class ProgressReporter:
    """Bars or lines for the nested loops of one run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Report one loop for the length of a ``with`` block."""
        console = self._console
        if console.progress == "none" or console.verbosity < 0 or (console.json and not console.bars()):
            yield lambda steps: None
        elif console.bars():
            with self._bar(description, total) as advance:
                yield advance
        else:
            yield _PlainTask(console, description, total)

    @contextmanager
    def _bar(self, description: str, total: int | None) -> Iterator[Advance]:
        outermost = self._bars is None
        bars = self._bars or _make_bars(self._console)
        if outermost:
            self._bars = bars
            bars.start()
            self._console.above_bars = partial(_write_above, bars)
        task = bars.add_task(description, total=total)
        try:
            yield lambda steps: bars.advance(task, steps)
        finally:
            bars.remove_task(task)
            if outermost:
                self._console.above_bars = None
                bars.stop()
                self._bars = None


class _PlainTask:
    """A line of text every now and then: for logs, where a bar would be a mess."""

    def __init__(self, console: Console, description: str, total: int | None) -> None:
        self._console = console
        self._description = description
        self._total = total
        self._done = 0
        self._started = self._shown = time.monotonic()

    def __call__(self, steps: int) -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._shown >= PLAIN_INTERVAL_SECONDS:
            self._shown = now
            amount = f"{self._done}" if self._total is None else f"{self._done}/{self._total}"
            self._console.note(f"{self._description}: {amount}, {now - self._started:.0f} s")


def _write_above(bars: Progress, text: str) -> None:
    """A line of text, which may have click's colours, above the bars, and not behind them."""
    from rich.text import Text

    bars.console.print(Text.from_ansi(text), soft_wrap=True, highlight=False)


def _make_bars(console: Console) -> Progress:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=RichConsole(stderr=True, no_color=console.color is False),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else what others print belongs into the file or pipe
    )
