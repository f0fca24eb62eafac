"""The page in a real browser: photos to a 3D view, what changes without a new run, and Cancel.

Skipped where playwright or a chromium is missing; more of the page is in the slow tests of
test_browser_page.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .browsing import Served, Visitor


def test_photos_become_a_view_that_changes_without_computing_again(
    visit: Callable[..., Visitor], page_server: Served, photo_sets: list[list[Path]]
) -> None:
    visitor = visit()
    visitor.start(photo_sets[0][:3])
    assert "3 photos placed, 3 pairs" in visitor.finish()
    assert visitor.sees(visitor.draws)
    before, said = page_server.computed(), visitor.status()
    assert before
    whole, seen = visitor.points(), len(visitor.views)
    visitor.set_number("mast3r-percentile", 95)
    assert visitor.sees(lambda: len(visitor.views) > seen)
    assert 0 < visitor.points() < 0.6 * whole
    assert "confidence above" in visitor.page.locator("#mast3r-threshold").inner_text()
    assert page_server.computed() == before
    assert visitor.status() == said


def test_a_cancelled_run_stops_and_the_next_one_works(
    visit: Callable[..., Visitor], photo_sets: list[list[Path]]
) -> None:
    visitor = visit()
    visitor.unfold("mast3r-advanced")
    visitor.set_number("mast3r-image-size", 512)
    visitor.start(photo_sets[1])
    cancel = visitor.page.locator("#mast3r-cancel")
    assert visitor.sees(lambda: "images" in visitor.status() or "pairs" in visitor.status())
    cancel.click()
    assert visitor.sees(lambda: "Cancelled" in visitor.status()), visitor.status()
    assert visitor.sees(cancel.is_disabled)
    assert visitor.views == []
    visitor.set_number("mast3r-image-size", 96)
    visitor.page.locator("#mast3r-run").click()
    assert "photos placed" in visitor.finish()
    assert visitor.sees(visitor.draws)
