"""Errors on the page name its controls, not the command line's flags."""

from __future__ import annotations

import pytest

from mast3r_demo.jobs import said_of
from mast3r_demo.page_words import error_words
from mast3r_model import DeviceError, InputError


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (None, "no"),
        ("add two", "no (add two)"),
        ("same place? try --graph complete", 'no (same place? try "Pairs: All", or a larger "Image size")'),
        ("use a smaller --size, or less", 'no (use a smaller "Image size", or less)'),
        ("match more pairs, or try --mapper sparse", 'no (match more pairs, or try the mapper "sparse")'),
        ("leave --shared-intrinsics away", 'no (leave "Same camera for all photos" away)'),
        ("use a smaller --batch-size or --size, or fewer workers", "no"),
        ("leave out --strict", "no"),
    ],
)
def test_flags_become_controls_or_are_left_out(hint: str | None, said: str) -> None:
    assert error_words(InputError("no", hint)) == said


def test_the_status_of_a_job_that_failed_names_no_flag() -> None:
    assert said_of(DeviceError("full", "use a smaller --size, or less"), "ab") == (
        'full (use a smaller "Image size", or less) [job ab]'
    )
