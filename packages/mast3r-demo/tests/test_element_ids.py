"""The ids that README.md lists for tests in a browser are those of the page."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from mast3r_demo.app import build_app
from mast3r_demo.controls import CONTROLS
from mast3r_demo.localizing import localizer_names
from mast3r_demo.server import gradio_environment
from mast3r_demo.server_options import ServerOptions
from mast3r_demo.session import SessionStore

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.fixture(scope="module")
def page_ids(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """How often each of our ids is on the page."""
    with (
        SessionStore(tmp_path_factory.mktemp("ids") / "sessions") as store,
        gradio_environment(store.gradio_folder),
    ):
        page = build_app(ServerOptions(), lambda: pytest.fail("the network is loaded too early"), store)
        ids = [block.elem_id for block in page.blocks.values() if getattr(block, "elem_id", None)]
        page.close(verbose=False)
    return Counter(id_ for id_ in ids if id_.startswith("mast3r-"))


def readme_ids() -> set[str]:
    """The ids of the README's table; ``-next`` after ``mast3r-depth-photo`` is ``mast3r-depth-next``."""
    text = README.read_text(encoding="utf-8").split("Ids of elements")[1]
    found: set[str] = set()
    for row in text.splitlines():
        stem = ""
        for word in re.findall(r"`([a-z0-9-]+)`", row):
            if word.startswith("-"):
                found.add(stem + word)
            elif word.startswith("mast3r-") and word != "mast3r-":
                found.add(word)
                stem = word.rsplit("-", 1)[0]
    return found


def test_every_id_of_the_readme_is_on_the_page(page_ids: Counter[str]) -> None:
    wanted = readme_ids()
    assert len(wanted) > 60
    if not localizer_names():
        wanted = {id_ for id_ in wanted if "localize" not in id_}
    assert wanted - set(page_ids) == set()


def test_every_control_has_its_id_and_no_id_comes_twice(page_ids: Counter[str]) -> None:
    assert {control.elem_id for control in CONTROLS.values()} <= set(page_ids)
    assert [id_ for id_, times in page_ids.items() if times > 1] == []
