"""The documentation site: references leave nothing out, links are led to its pages, and it needs no network."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from mast3r_model.cli import root
from mast3r_model.cli.command import common_options

from .docs_pages import ROOT
from .test_public_names import PACKAGES, names_of

COMMON = {spelling for option in common_options() for spelling in option.opts}


def tool(name: str) -> ModuleType:
    """A module of ``tools/``, which is no package."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "tools"))


def test_the_command_reference_has_every_command_and_option() -> None:
    pages = tool("docs_commands").command_pages()

    def look(command: click.Command, words: list[str], context: click.Context) -> None:
        if isinstance(command, click.Group):
            for word in command.list_commands(context):
                below = command.get_command(context, word)
                assert below is not None
                look(below, [*words, word], click.Context(below, info_name=word, parent=context))
            return
        page = pages[f"reference/cli/{words[0]}.md"]
        assert re.search(rf"^#+ mast3r {' '.join(words)}$", page, re.MULTILINE)
        for parameter in command.params:
            spellings = [spelling for spelling in parameter.opts if spelling.startswith("--")]
            for spelling in spellings:
                assert f"`{spelling}" in page or spelling in COMMON | {"--help-all"}, f"{words}: {spelling}"

    look(root(), [], click.Context(root(), info_name="mast3r"))


def test_the_python_reference_has_every_public_name() -> None:
    reference = tool("docs_packages")
    assert {package.name for package in reference.PACKAGES} == set(PACKAGES)
    pages = reference.package_pages()
    for package in PACKAGES:
        listed = re.findall(r"^::: (.+)$", pages[f"reference/api/{package}.md"], re.MULTILINE)
        assert all(path.startswith(package.partition(".")[0]) for path in listed)
        assert sorted(path.rpartition(".")[2] for path in listed) == sorted(names_of(package))


def test_the_pages_of_the_navigation_are_there() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = text[text.index("nav:") : text.index("hooks:")]
    listed = set(re.findall(r"([\w/-]+\.md)$", nav, re.MULTILINE))
    here = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert here - listed == {"cli.md"}, (
        "pages that the navigation leaves out (cli.md is put there by the hook)"
    )


def test_links_out_of_the_pages_folder_are_led_into_the_site() -> None:
    pytest.importorskip("mkdocs", reason="the site is built with the dependency group docs")
    site = tool("docs_site")
    place = site._place
    assert place("docs/cli.md", "plugins.md#kinds") == "plugins.md#kinds"
    assert place("docs/cli.md", "../packages/mast3r-sfm/README.md") == "packages/mast3r-sfm.md"
    assert place("packages/mast3r-sfm/README.md", "../mast3r-match") == "packages/mast3r-match.md"
    assert place("packages/mast3r-sfm/README.md", "../../docs/conventions.md") == "conventions.md"
    assert place("packages/mast3r-sfm/README.md", "src/mast3r_sfm") == ""  # a folder: only its name stays
    assert place("packages/mast3r-sfm/README.md", "https://example.org") is None
    assert place("README.md", "LICENSE") == "files/LICENSE"
    assert site.outside_code("a `[b](c)` [d](e)", str.upper) == "A `[b](c)` [D](E)"


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site is built with the dependency group docs")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]* src=[\"']?(?:https?:)?//", text), page
        assert not re.findall(r"<link[^>]* href=[\"']?(?:https?:)?//", text), page
    for sheet in tmp_path.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), (
            sheet
        )
