"""The status line: what a job is at, a bar, how long it will take (spec 60 D5)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from html import escape
from typing import Literal

from .jobs import JobEvent

IDLE_TEXT = "Add photos of one place, or a video, and press Run."
Mood = Literal["idle", "busy", "done", "error"]


def status_html(text: str, *, mood: Mood = "idle", right: str = "", share: float | None = None) -> str:
    """The status line; all texts are escaped.

    Args:
        text: in the first line.
        mood: how it looks.
        right: at the line's end.
        share: filled part of the bar, 0 to 1; None: no bar.
    """
    bar = ""
    if share is not None:
        percent = 100 * min(max(share, 0.0), 1.0)
        bar = (
            f'<div class="bar" role="progressbar" aria-valuenow="{percent:.0f}" aria-valuemin="0" '
            f'aria-valuemax="100"><div style="width: {percent:.1f}%"></div></div>'
        )
    return (
        f'<div class="mast3r-status {mood}" aria-live="polite"><div class="line">'
        f'<span class="stage">{escape(text)}</span><span class="time">{escape(right)}</span></div>{bar}</div>'
    )


@dataclass
class StatusLine:
    """Follows a job's events; gives the status line and the log.

    Attributes:
        log: a line for each stage and note.
    """

    started: float = field(default_factory=time.monotonic)
    log: list[str] = field(default_factory=list)
    _stage: str = ""
    _stage_started: float = 0.0
    _message: str = ""

    def show(self, event: JobEvent) -> str:
        """The status line of an event."""
        now = time.monotonic()
        if event.stage != self._stage:
            self._stage, self._stage_started = event.stage, now
            self._say(event.stage)
        if event.message and event.message != self._message:
            self._message = event.message
            self._say(event.message)
        text = event.stage
        if event.total:
            text += f" ({min(event.done, event.total)} of {event.total})"
        if event.detail:
            text += f", {event.detail}"
        if event.message:
            text += f" - {event.message}"
        share = event.done / event.total if event.total else 0.0
        return status_html(text, mood="busy", right=self._times(event, now), share=share)

    def finish(self, text: str, *, mood: Mood) -> str:
        """The status line of the job's end."""
        self._say(text)
        share = 1.0 if mood == "done" else None
        return status_html(text, mood=mood, right=duration(self.seconds), share=share)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    @property
    def text(self) -> str:
        """The log."""
        return "\n".join(self.log)

    def _say(self, text: str) -> None:
        self.log.append(f"{self.seconds:7.1f} s  {text}")

    def _times(self, event: JobEvent, now: float) -> str:
        """So long so far, and what is left of this stage."""
        so_far = duration(self.seconds)
        spent = now - self._stage_started
        if not event.total or not event.done or spent < 1.0 or event.done >= event.total:
            return so_far
        return (
            f"{so_far}, about {duration(spent * (event.total - event.done) / event.done)} left in this stage"
        )


def duration(seconds: float) -> str:
    """``7 s``, ``2 min 05 s``, ``1 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
