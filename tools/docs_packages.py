"""Pages of the Python reference: one a package, with every name that others may rely on."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass

FOLDER = "reference/api"


@dataclass(frozen=True)
class PublicPackage:
    """A package with public names.

    Args:
        name: as it is imported.
        page: of its README in the site; None without one.
    """

    name: str
    page: str | None = None


PACKAGES = (
    PublicPackage("mast3r_model", "packages/mast3r-model.md"),
    PublicPackage("mast3r_match", "packages/mast3r-match.md"),
    PublicPackage("mast3r_sfm", "packages/mast3r-sfm.md"),
    PublicPackage("mast3r_visloc", "packages/mast3r-visloc.md"),
    PublicPackage("mast3r_train", "packages/mast3r-train.md"),
    PublicPackage("mast3r_train.losses", "packages/losses.md"),
    PublicPackage("mast3r_train.conformance"),
    PublicPackage("mast3r_demo", "packages/mast3r-demo.md"),
    PublicPackage("mast3r_model.cli", "cli.md"),
    PublicPackage("mast3r_model.plugins", "plugins.md"),
    PublicPackage("mast3r_model.expressions", "expressions.md"),
    PublicPackage("mast3r_model.pages"),
    PublicPackage("croco_backbone", "packages/croco-backbone.md"),
    PublicPackage("curope", "packages/curope.md"),
)


def package_pages() -> dict[str, str]:
    """Every page of the reference: its place in the site, and its Markdown for mkdocstrings."""
    pages = {f"{FOLDER}/index.md": _overview()}
    for package in PACKAGES:
        pages[f"{FOLDER}/{package.name}.md"] = _page(package)
    return pages


def _overview() -> str:
    rows = [f"| [`{package.name}`]({package.name}.md) | {_summary(package)} |" for package in PACKAGES]
    return "\n".join(
        [
            "# Python reference",
            "",
            "Every public name, with its signature, shapes, units and errors. What is not here is private "
            "and may change. Shapes are written in jaxtyping's notation; axes, pixels and frames "
            "are those of [the conventions](../../conventions.md).",
            "",
            "| package | |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _page(package: PublicPackage) -> str:
    lines = [f"# {package.name}", "", _summary(package), ""]
    if package.page is not None:
        page = package.page.rpartition("/")[2].removesuffix(".md")
        lines += [f"How it is used: [{page}](../../{package.page}).", ""]
    for name in sorted(importlib.import_module(package.name).__all__, key=str.lower):
        lines += [f"::: {_place(package.name, name)}", ""]
    return "\n".join(lines)


def _place(package: str, name: str) -> str:
    """Where mkdocstrings, which only reads, finds a name: of a module of the same name it would take that."""
    thing = getattr(importlib.import_module(package), name)
    module = getattr(thing, "__module__", "") or ""
    return f"{module}.{name}" if module.rpartition(".")[2] == name else f"{package}.{name}"


def _summary(package: PublicPackage) -> str:
    documented = inspect.getdoc(importlib.import_module(package.name)) or ""
    return documented.partition("\n\n")[0].replace("\n", " ").replace("``", "`")
