"""Jobs: events, cancelling, the time limit, one device for all (spec 60 D5)."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from mast3r_demo.jobs import LOGGER, Cancelled, Job, JobControl, JobEvent, said_of
from mast3r_model import InputError


def started(work: Callable[[JobControl], Any], seconds: float = 60) -> Job[Any]:
    job = Job(work, seconds=seconds)
    job.start()
    return job


def counting(control: JobControl, batches: list[int], pause: float = 0.01) -> None:
    with control.progress("decoding pairs", 10_000) as advance:
        for _ in range(10_000):
            batches.append(1)
            time.sleep(pause)
            advance(1)


def test_result_and_events() -> None:
    def work(control: JobControl) -> str:
        with control.progress("reading", 3) as advance:
            for _ in range(3):
                time.sleep(0.15)
                advance(1)
        with control.progress("export", None):
            control.note("nearly done")
        return "scene"

    job = started(work)
    events = list(job.events())
    assert job.result() == "scene"
    assert [event for event in events if event.stage == "reading"][-1] == JobEvent("reading", 3, 3, "")
    assert events[-1] == JobEvent("export", 0, None, "nearly done")
    done = [event.done for event in events if event.stage == "reading"]
    assert done == sorted(done)
    assert job.finished
    assert not job.active
    assert len(job.id) == 8


def test_events_come_at_least_twice_a_second_and_end_with_the_work() -> None:
    go_on = threading.Event()
    job = started(lambda control: go_on.wait(60))
    stream = job.events()
    assert [next(stream).stage for _ in range(4)][-1] == "starting"  # though nothing has happened since
    go_on.set()
    assert len(list(stream)) <= 2
    assert not list(job.events())[1:]  # after the end there is only the last one


def test_events_of_fast_work_are_joined() -> None:
    def work(control: JobControl) -> None:
        with control.progress("alignment", 100_000) as advance:
            for _ in range(100_000):
                advance(1)

    job = started(work)
    events = list(job.events())
    assert len(events) < 100
    assert events[-1].done == 100_000


def test_every_note_and_every_partial_result_arrives_once() -> None:
    def work(control: JobControl) -> None:
        with control.progress("alignment", 4) as advance:
            for number in range(4):
                control.note(f"note {number}")
                control.partial(number)
                advance(1)

    events = list(started(work).events())
    assert [event.partial for event in events if event.partial is not None] == [0, 1, 2, 3]
    assert list(dict.fromkeys(event.message for event in events if event.message)) == [
        f"note {number}" for number in range(4)
    ]


def test_cancel_stops_the_work() -> None:
    batches: list[int] = []
    job = started(lambda control: counting(control, batches))
    while len(batches) < 5:
        time.sleep(0.01)
    job.cancel()
    with pytest.raises(Cancelled) as caught:
        job.result()
    assert not caught.value.timed_out
    count = len(batches)
    time.sleep(0.1)
    assert len(batches) == count
    assert list(job.events())[-1].stage == "decoding pairs"


def test_cancel_after_the_end_changes_nothing() -> None:
    job = started(lambda control: 5)
    assert job.wait(10)
    job.cancel()
    assert job.result() == 5


def test_time_limit() -> None:
    batches: list[int] = []
    job = started(lambda control: counting(control, batches), seconds=0.2)
    with pytest.raises(Cancelled, match=r"time limit of 0.2 s") as caught:
        job.result()
    assert caught.value.timed_out


def test_jobs_run_one_after_another_in_their_order() -> None:
    running: list[int] = []
    order: list[int] = []

    def work(number: int) -> Callable[[JobControl], None]:
        def one(control: JobControl) -> None:
            running.append(number)
            assert len(running) == 1
            time.sleep(0.05)
            order.append(number)
            running.remove(number)

        return one

    jobs = [started(work(number)) for number in range(6)]
    for job in jobs:
        job.result()
    assert order == list(range(6))


def test_a_waiting_job_says_so_can_be_cancelled_and_its_time_does_not_count() -> None:
    go_on = threading.Event()
    first = started(lambda control: go_on.wait(60))
    second = started(lambda control: 2, seconds=0.3)
    third = started(lambda control: 3)
    stream = third.events()
    assert any(next(stream).message == "waiting for 2 other jobs" for _ in range(10))
    third.cancel()
    with pytest.raises(Cancelled):
        third.result()
    time.sleep(0.4)
    assert second.active
    go_on.set()
    assert second.result() == 2
    assert first.finished


def test_errors_come_out_of_result_and_let_the_next_job_run() -> None:
    def fail(control: JobControl) -> None:
        raise InputError("no photo can be used", "add photos")

    job = started(fail)
    assert list(job.events())[-1].stage == "starting"
    for _ in range(2):
        with pytest.raises(InputError, match="no photo"):
            job.result()
    assert started(lambda control: 1).result() == 1


def test_even_the_end_of_the_interpreter_is_no_hang() -> None:
    def leave(control: JobControl) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        started(leave).result()


def test_a_job_holds_nothing_of_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the network that the work was given, nor what a failed run had in its hands."""

    class Large:
        pass

    def make() -> tuple[Job[Any], weakref.ref[Large], weakref.ref[Large]]:
        network = Large()
        held: list[weakref.ref[Large]] = []

        def work(control: JobControl) -> None:
            features = Large()
            held.append(weakref.ref(features))
            assert network
            raise ValueError

        job = started(work)
        assert job.wait(10)
        return job, weakref.ref(network), held[0]

    monkeypatch.setattr(LOGGER, "disabled", True)  # pytest keeps records, which hold the traceback
    job, network, features = make()
    gc.collect()
    assert network() is None
    assert features() is None
    with pytest.raises(ValueError):  # noqa: PT011 - it has no text
        job.result()


def test_what_visitors_are_told() -> None:
    assert said_of(InputError("a.jpg is broken", "leave it out"), "12ab") == (
        "a.jpg is broken (leave it out) [job 12ab]"
    )
    secret = said_of(RuntimeError("/srv/secret.py line 3"), "12ab")
    assert "secret" not in secret
    assert "12ab" in secret
    assert said_of(Cancelled(), "12ab").startswith("Cancelled. What was computed is kept")


def test_the_log_says_more(caplog: pytest.LogCaptureFixture) -> None:
    def fail(control: JobControl) -> None:
        raise RuntimeError("of interest to the operator")

    job = started(fail)
    assert job.wait(10)
    assert f"job {job.id} failed" in caplog.text
    assert "of interest to the operator" in caplog.text
    assert "Traceback" in caplog.text


def test_a_stage_that_is_done_gives_way_to_one_that_goes_on() -> None:
    def work(control: JobControl) -> list[str]:
        seen = []
        with control.progress("images", 2) as images, control.progress("pairs", 3) as pairs:
            for advance, steps in ((images, 1), (images, 1), (pairs, 2), (pairs, 1)):
                advance(steps)
                seen.append(f"{control._latest.stage} {control._latest.done}")
        return seen

    job = Job(work, seconds=60)
    job.start()
    assert job.result() == ["images 1", "pairs 0", "pairs 2", "pairs 3"]
