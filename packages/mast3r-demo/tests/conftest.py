"""One server and one browser for all tests of the page in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mast3r_demo.example_sets import find_examples

from .browsing import ARGUMENTS, CHROMIUM, Served, Visitor, served


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def page_server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("demo")) as server:
        yield server


@pytest.fixture
def visit(browser: Any, page_server: Served) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors; in the end none may have seen an error or asked another host for anything."""
    visitors: list[Visitor] = []

    def make(**how: Any) -> Visitor:
        visitors.append(Visitor(browser, page_server, **how))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.close()
    assert [fault for visitor in visitors for fault in visitor.faults] == []
    assert [url for visitor in visitors for url in visitor.foreign] == []


@pytest.fixture(scope="session")
def photo_sets() -> list[list[Path]]:
    """The page's example photos, several sets of them."""
    return [list(example.photos) for example in find_examples()]
