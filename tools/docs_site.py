"""The documentation site's hook for mkdocs: pages from elsewhere in the repository, and generated ones.

The packages' READMEs are written for people who read them in the repository. Here they become pages too, and
links between them, the pages of ``docs/`` and other files are led to where things are in the site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from docs_commands import command_pages
from docs_packages import package_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    **{
        f"packages/{readme.parent.name}/README.md": f"packages/{readme.parent.name}.md"
        for readme in sorted(ROOT.glob("packages/*/README.md"))
    },
    "packages/mast3r-train/docs/losses.md": "packages/losses.md",
    "packages/mast3r-model/src/mast3r_model/weights/nano/README.md": "packages/nano.md",
    "examples/plugins/mast3r-example-plugin/README.md": "example-plugin.md",
    "packages/mast3r-demo/docker/README.md": "packages/docker.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Pages of the repository outside ``docs/``, and their places in the site."""

STANDS_FOR = {"README.md": "index.md"}
"""Pages that the site has a page of its own for."""

BEHIND_GUIDES = "---\nsearch:\n  boost: 0.3\n---\n"
"""Head of the references' pages: who searches wants the guides first."""

LINK = re.compile(r"(?P<text>!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The references come last in the navigation, a page a command and a package."""
    first, *others = sorted(command_pages(), key=lambda place: not place.endswith("index.md"))
    commands = [first, {"The mast3r command": "cli.md"}, *others]
    config.nav = [*(config.nav or []), {"Commands": commands}, {"Python": list(package_pages())}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the repository's other pages, what they link to, and the references."""
    for source, place in PAGES.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    for place, text in {**command_pages(), **package_pages()}.items():
        files.append(File.generated(config, place, content=BEHIND_GUIDES + text))
    for asset in sorted(_assets(files)):
        files.append(File.generated(config, _asset_place(asset), abs_src_path=str(ROOT / asset)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the site's pages; drop what fences say to the tests."""
    source = _repository_path(page.file.abs_src_path)
    if source is None:
        return markdown
    markdown = re.sub(r"^(```\w+) [\w-]+$", r"\1", markdown, flags=re.MULTILINE)
    here = posixpath.dirname(page.file.src_uri)

    def led(found: re.Match[str]) -> str:
        place = _place(source, found["target"])
        if place is None:
            return found[0]
        if not place:
            return found["text"].strip("[]")
        file, hash_, anchor = place.partition("#")
        return f"{found['text']}({posixpath.relpath(file, here or '.')}{hash_}{anchor})"

    return outside_code(markdown, lambda text: LINK.sub(led, text))


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Change a page's text, but no code in it, except that a link's text may hold code."""
    held: list[str] = []

    def hold(found: re.Match[str]) -> str:
        held.append(found[0])
        return f"\x00{len(held) - 1}\x00"

    changed = change(CODE.sub(hold, markdown))
    return re.sub(r"\x00(\d+)\x00", lambda found: _unescaped(held[int(found[1])]), changed)


def _unescaped(code: str) -> str:
    """A bar in code in a table needs a backslash in the repository's view, and none in the site's."""
    return code if code.startswith("```") else code.replace("\\|", "|")


def _place(source: str, target: str) -> str | None:
    """Where a link leads in the site; empty if the site has nothing there; None if it may stay as it is."""
    file, hash_, anchor = target.partition("#")
    if re.match(r"[a-z]+:", target) or not file:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), file))
    if path.startswith("docs/"):
        return path.removeprefix("docs/") + hash_ + anchor
    page = PAGES.get(path) or PAGES.get(f"{path}/README.md") or STANDS_FOR.get(path)
    if page is not None:
        return page + hash_ + anchor
    return _asset_place(path) if (ROOT / path).is_file() else ""


def _assets(files: Files) -> set[str]:
    """Files of the repository that pages show or link to, which are no pages themselves."""
    found: set[str] = set()
    for file in files.documentation_pages():
        source = _repository_path(file.abs_src_path)
        if source is None:
            continue
        for link in LINK.finditer((ROOT / source).read_text(encoding="utf-8")):
            path = posixpath.normpath(
                posixpath.join(posixpath.dirname(source), link["target"].partition("#")[0])
            )
            if _place(source, link["target"]) == _asset_place(path) and not path.startswith("docs/"):
                found.add(path)
    return found


def _asset_place(path: str) -> str:
    return f"files/{path}"


def _repository_path(path: str | None) -> str | None:
    """The source of a page as it is called in the repository; None for generated ones."""
    if path is None or not Path(path).is_relative_to(ROOT):
        return None
    return Path(path).relative_to(ROOT).as_posix()
