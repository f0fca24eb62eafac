"""Time and memory by stage."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
import torch

from mast3r_sfm.report import StageLog
from mast3r_sfm.report.stages import resident_bytes

BLOCK = 200 * 2**20


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mast3r-memory"]


def test_times_of_one_name_add_up_in_the_order_of_first_starts() -> None:
    log = StageLog()
    for name, seconds in (("a", 0.05), ("b", 0.01), ("a", 0.05)):
        with log.stage(name):
            time.sleep(seconds)
    report = log.as_report()
    assert [row["name"] for row in report] == ["a", "b"]
    assert 0.1 <= report[0]["seconds"] < 0.5
    assert 0.01 <= report[1]["seconds"] < 0.2
    json.dumps(report)


def test_memory_that_is_given_back_before_the_end_is_seen() -> None:
    log = StageLog()
    before = resident_bytes()
    with log.stage("large"):
        block = np.ones(BLOCK, np.uint8)
        time.sleep(0.2)
        del block
    with log.stage("small"):
        pass
    large, small = (row["peak_bytes"] for row in log.as_report())
    assert large >= before + 0.9 * BLOCK
    assert small <= large - 0.9 * BLOCK


def test_what_is_raised_inside_comes_out_and_no_thread_stays() -> None:
    log = StageLog()
    with pytest.raises(ZeroDivisionError), log.stage("failing"):  # noqa: PT012
        assert watchers()
        1 / 0  # noqa: B018
    assert not watchers()
    assert log.uses()["failing"].seconds > 0


def test_stages_inside_stages_count_for_themselves() -> None:
    log = StageLog()
    with log.stage("outer"):
        with log.stage("inner"):
            time.sleep(0.05)
        time.sleep(0.05)
    uses = log.uses()
    assert uses["outer"].seconds >= uses["inner"].seconds + 0.05
    assert uses["outer"].peak_bytes > 0


def test_a_stage_costs_little() -> None:
    log = StageLog()
    start = time.perf_counter()
    for _ in range(100):
        with log.stage("short"):
            pass
    assert time.perf_counter() - start < 1


@pytest.mark.gpu
def test_memory_of_the_gpu_by_stage() -> None:
    torch.zeros(1, device="cuda")
    log = StageLog()
    with log.stage("outer"):
        torch.zeros(BLOCK, dtype=torch.uint8, device="cuda")
        with log.stage("inner"):
            pass
    uses = log.uses()
    assert uses["outer"].gpu_peak_bytes >= BLOCK
    assert uses["inner"].gpu_peak_bytes < BLOCK
