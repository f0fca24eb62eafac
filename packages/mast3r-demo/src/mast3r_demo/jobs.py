"""Long work in a thread of its own: what it is at, cancelling it, its result (spec 60 D5)."""

from __future__ import annotations

import logging
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from mast3r_model import Mast3rError

from .device_queue import DEVICE
from .page_words import error_words

LOGGER = logging.getLogger("mast3r.demo")

LEAST_SECONDS_BETWEEN_EVENTS = 0.1
"""Events that follow faster are joined: a page cannot show more, and its connection need not carry them."""

T = TypeVar("T")


@dataclass(frozen=True)
class JobEvent:
    """What a job is at.

    Attributes:
        stage: such as ``decoding pairs``.
        done: steps of the stage that are done.
        total: all its steps, if that is known.
        message: what the work last said for people; may be empty.
        partial: something that can be shown already; each is in one event only.
        detail: of the last step, such as ``loss 0.123``; may be empty.
    """

    stage: str
    done: int
    total: int | None
    message: str
    partial: object | None = None
    detail: str = ""


class Cancelled(Exception):  # noqa: N818 - it is no error
    """The work was told to stop.

    Attributes:
        timed_out: by the time limit, not by a person.
    """

    def __init__(self, message: str = "cancelled", *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


@dataclass(eq=False)
class _Bar:
    """A stage that goes on."""

    stage: str
    total: int | None
    done: int = 0

    @property
    def finished(self) -> bool:
        return self.total is not None and self.done >= self.total


class JobControl:
    """What the work is given: how to say what it is at, and whether to go on.

    Made by `Job`; its methods are called in the job's thread.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline: float | None = None
        self._cancelled = threading.Event()
        self._changed = threading.Condition()
        self._events: list[JobEvent] = []
        self._latest = JobEvent("waiting", 0, None, "")
        self._ended = False
        self._bars: list[_Bar] = []

    def check(self) -> None:
        """Go on?

        Raises:
            Cancelled: no: someone has cancelled, or the time is over.
        """
        if self._cancelled.is_set():
            raise Cancelled()
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise Cancelled(f"stopped after the time limit of {self._seconds:g} s", timed_out=True)

    @contextmanager
    def progress(self, stage: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A stage of the work; what the block is given is called with the steps just done.

        Both raise `Cancelled` where `check` does. Fits the ``progress`` of mast3r_sfm's functions. Of stages
        that go on at the same time, one that is done gives way to one that is not.
        """
        bar = _Bar(stage, total)
        self.check()
        self._bars.append(bar)
        self._post(stage=stage, done=0, total=total, message="", detail="")

        def advance(steps: int) -> None:
            bar.done += steps
            if steps:
                unfinished = [other for other in self._bars if not other.finished]
                shown = unfinished[-1] if bar.finished and unfinished else bar
                self._post(stage=shown.stage, done=shown.done, total=shown.total)
            self.check()

        try:
            yield advance
        finally:
            self._bars.remove(bar)

    def partial(self, thing: object) -> None:
        """Something that can be shown before the work is done.

        Raises:
            Cancelled: see `check`.
        """
        self._post(partial=thing)
        self.check()

    def note(self, text: str) -> None:
        """Something for people, one line."""
        self._post(message=text)

    def loss(self, stage: str, value: float) -> None:
        """Of a solver's step; fits the ``on_loss`` of mast3r_sfm's functions."""
        self._post(detail=f"loss {value:.4g}")

    def _post(self, **changes: object) -> None:
        with self._changed:
            event = replace(self._latest, **{"partial": None, **changes})  # type: ignore[arg-type]
            self._latest = replace(event, partial=None)
            last = self._events[-1] if self._events else None
            same = last is not None and (last.stage, last.message) == (event.stage, event.message)
            if last is not None and same and last.partial is None:
                self._events[-1] = event
            else:
                self._events.append(event)
            self._changed.notify_all()

    def _start_clock(self) -> None:
        self._deadline = time.monotonic() + self._seconds

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _next(self, every: float) -> tuple[JobEvent, bool]:
        """The next event, after a while the last one again; and whether it was the last of all."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._events) or self._ended, every)
            event = self._events.pop(0) if self._events else self._latest
            return event, self._ended and not self._events


class Job(Generic[T]):
    """Work in a thread of its own::

        job = Job(lambda control: reconstruct_photos(..., control=control), seconds=1800)
        job.start()
        for event in job.events():
            show(event)
        result = job.result()

    Jobs of one process run one after another, in the order of `start`.

    Args:
        work: is given a `JobControl`.
        seconds: after which it is stopped at its next step; waiting for other jobs does not count.

    Attributes:
        id: short, for the log and for people who ask about it.
    """

    def __init__(self, work: Callable[[JobControl], T], *, seconds: float) -> None:
        self.id = secrets.token_hex(4)
        self._work: Callable[[JobControl], T] | None = work
        self._control = JobControl(seconds)
        self._thread = threading.Thread(target=self._run, name=f"mast3r-job-{self.id}", daemon=True)
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._finished = threading.Event()
        self._started = False

    @property
    def active(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._started and not self._finished.is_set()

    @property
    def finished(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._finished.is_set()

    def start(self) -> None:
        """Start, or line up behind other jobs."""
        self._started = True
        self._thread.start()

    def cancel(self) -> None:
        """Have it stop at its next step; returns at once."""
        self._control._cancelled.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended; whether it has."""
        return self._finished.wait(seconds)

    def events(self, every: float = 0.5) -> Iterator[JobEvent]:
        """What it is at, until it has ended; for one reader.

        Args:
            every: after so many seconds without news the last event comes again.
        """
        shown = 0.0
        while True:
            event, last = self._control._next(every)
            wait = shown + LEAST_SECONDS_BETWEEN_EVENTS - time.monotonic()
            if wait > 0 and not last:
                time.sleep(wait)
            shown = time.monotonic()
            yield event
            if last:
                return

    def result(self) -> T:
        """What the work returned, once it has ended.

        Raises:
            BaseException: what the work raised, `Cancelled` for instance.
        """
        self._finished.wait()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        control = self._control
        try:
            with DEVICE.turn(self._waiting):
                control._start_clock()
                control._post(stage="starting", done=0, total=None, message="")
                self._result.append(self._take_work()(control))
        except BaseException as error:
            self._error = error
            self._log(error)
            _let_go(error)
        finally:
            self._work = None
            self._finished.set()
            control._end()

    def _take_work(self) -> Callable[[JobControl], T]:
        """The work, which nothing here holds any more."""
        assert self._work is not None
        work, self._work = self._work, None
        return work

    def _waiting(self, ahead: int) -> None:
        self._control.check()
        others = "another job" if ahead == 1 else f"{ahead} other jobs"
        self._control._post(stage="waiting", done=0, total=None, message=f"waiting for {others}")

    def _log(self, error: BaseException) -> None:
        if isinstance(error, Cancelled):
            LOGGER.info("job %s: %s", self.id, error)
        elif isinstance(error, Mast3rError):
            LOGGER.warning("job %s: %s", self.id, error, exc_info=error)
        else:
            LOGGER.error("job %s failed", self.id, exc_info=error)


def _let_go(error: BaseException) -> None:
    """Give back what an error's frames hold: networks, features, points."""
    seen: BaseException | None = error
    while seen is not None:
        traceback.clear_frames(seen.__traceback__)
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__


def said_of(error: BaseException, job_id: str) -> str:
    """An error in words that a visitor of the page may read: ours as it is, others by the job's id alone."""
    if isinstance(error, Mast3rError):
        return f"{error_words(error)} [job {job_id}]"
    if isinstance(error, Cancelled):
        return f"{str(error)[:1].upper()}{str(error)[1:]}. What was computed is kept: Run goes on from there."
    return f"Something went wrong that should not have. The server's log says more under job {job_id}."
