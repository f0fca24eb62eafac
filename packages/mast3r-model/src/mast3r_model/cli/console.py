"""How one run of a command talks: to stdout for results, to stderr for everything else."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import click

ColorChoice = Literal["auto", "always", "never"]
ProgressChoice = Literal["auto", "plain", "none"]


@dataclass
class Console:
    """The choices of one run and what it has to report at the end.

    Args:
        command: name of the command in progress, such as "models info"; "" before it is known.
        json: one document on stdout and nothing else there.
        jsonl: the same, as one line, after a line for each item of a list.
        verbosity: -1 quiet, 0 normal, 1 and 2 for ``-v`` and ``-vv``.
        tracebacks: show where an error came from, for ``-v`` and for bugs.
        color: True, False, or None to decide by the stream (a terminal or not).
        progress: how long work shows that it goes on.
        warnings: every warning of the run, for the document.
        above_bars: writes a line above the bars while some are drawn; None while there are none.
    """

    command: str = ""
    json: bool = False
    jsonl: bool = False
    verbosity: int = 0
    tracebacks: bool = False
    color: bool | None = None
    progress: ProgressChoice = "auto"
    warnings: list[str] = field(default_factory=list)
    above_bars: Callable[[str], None] | None = None

    def out(self, text: str) -> None:
        """A line of the result on stdout."""
        # rich stands in for stdout while it draws, and some versions of that say that it is no terminal.
        stdout = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
        if self.above_bars is not None and stdout.isatty():
            self.above_bars(text)  # the same terminal
        else:
            click.echo(text, color=self.color)

    def note(self, text: str) -> None:
        """A line for a person on stderr; ``--quiet`` drops it."""
        if self.verbosity >= 0:
            self._to_stderr(text)

    def error(self, message: str, hint: str | None = None) -> None:
        """An error, such as the one that ends the run, and what to do about it."""
        self._to_stderr(f"{click.style('error:', fg='red', bold=True)} {message}")
        if hint:
            self._to_stderr(f"{click.style('hint:', fg='cyan')} {hint}")

    def bars(self) -> bool:
        """Whether progress may be drawn as moving bars."""
        return self.progress == "auto" and sys.stderr.isatty()

    def _to_stderr(self, text: str) -> None:
        if self.above_bars is not None:
            self.above_bars(text)
        else:
            click.echo(text, err=True, color=self.color)


class LogHandler(logging.Handler):
    """Shows log records of all libraries as the command's own notes, and remembers warnings."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self.console.error(text)
        elif record.levelno >= logging.WARNING:
            self.console.warnings.append(text)
            self.console.note(f"{click.style('warning:', fg='yellow')} {text}")
        elif self.console.verbosity >= (1 if record.levelno >= logging.INFO else 2):
            self.console.note(text)


def current_console() -> Console:
    """The console of the run in progress; a fresh one outside of any."""
    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.obj, Console):
        return context.obj
    console = Console(color=color_from_environment("auto"))
    if context is not None:
        context.find_root().obj = context.obj = console
    return console


def color_from_environment(choice: ColorChoice) -> bool | None:
    """Colour or not: the flag first, then NO_COLOR, then FORCE_COLOR, then (None) the stream decides."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None
