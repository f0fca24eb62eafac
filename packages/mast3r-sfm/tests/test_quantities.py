"""Numbers in words."""

from __future__ import annotations

import pytest

from mast3r_sfm.quantities import compact, duration, memory


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (2e-6, "< 1 ms"),
        (0.123, "0.12 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (3600 * 3 + 125, "3 h 2 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"), [(12, "12 B"), (1024, "1.0 kB"), (1000 * 2**20, "1.0 GiB"), (340 * 2**20, "340 MiB")]
)
def test_memory(size: float, words: str) -> None:
    assert memory(size) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (0.18741, "0.187"), (1840.2, "1,840"), (2.1e-5, "2.10e-05"), (float("inf"), "inf")],
)
def test_compact(value: float, words: str) -> None:
    assert compact(value) == words
