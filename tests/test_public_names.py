"""The inventory of public names, ``public_names.txt``: adding or removing one is a decision."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

INVENTORY = Path(__file__).with_name("public_names.txt")

PACKAGES = (
    "curope",
    "croco_backbone",
    "mast3r_model",
    "mast3r_model.cli",
    "mast3r_model.expressions",
    "mast3r_model.pages",
    "mast3r_model.plugins",
    "mast3r_match",
    "mast3r_sfm",
    "mast3r_visloc",
    "mast3r_train",
    "mast3r_train.conformance",
    "mast3r_train.losses",
    "mast3r_demo",
)
"""Every package whose names others may rely on; what is not here is private."""

LIGHT = ("mast3r_model", "mast3r_match", "mast3r_sfm", "mast3r_visloc", "mast3r_train", "mast3r_demo")
"""Packages that are imported without torch, so that ``mast3r --help`` is quick."""


def names_of(package: str) -> list[str]:
    return list(importlib.import_module(package).__all__)


def test_nothing_was_added_or_removed_by_accident() -> None:
    written = set(INVENTORY.read_text(encoding="utf-8").split())
    found = {f"{package}.{name}" for package in PACKAGES for name in names_of(package)}
    assert found - written == set(), "new public names: add them to public_names.txt, or make them private"
    assert written - found == set(), "public names are gone: users may rely on them"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_exists_and_is_documented(package: str) -> None:
    module = importlib.import_module(package)
    things = {name: getattr(module, name) for name in names_of(package)}
    assert set(things) <= set(dir(module))
    undocumented = [
        name
        for name, thing in things.items()
        if inspect.isclass(thing) or inspect.isfunction(thing)
        # A dataclass without a docstring of its own gets its signature for one.
        if not (thing.__doc__ or "").strip() or thing.__doc__.startswith(f"{thing.__name__}(")
    ]
    assert not undocumented
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", [*LIGHT, "mast3r_train.losses"])
def test_type_checkers_see_the_same_names(package: str) -> None:
    """Lazily imported names stand a second time inside ``if TYPE_CHECKING``."""
    source = Path(importlib.import_module(package).__file__ or "").read_text(encoding="utf-8")
    blocks = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    seen = {
        alias.asname
        for node in [*ast.parse(source).body, *(line for block in blocks for line in block.body)]
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert seen == set(names_of(package))


def test_packages_are_imported_without_torch_and_without_warnings() -> None:
    statements = f"import sys, {', '.join(LIGHT)}; sys.exit('torch' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", statements], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("package", sorted({package.partition(".")[0] for package in PACKAGES}))
def test_packages_are_typed(package: str) -> None:
    assert (Path(importlib.import_module(package).__file__ or "").parent / "py.typed").is_file()


def test_a_name_is_not_hidden_by_the_module_that_it_is_named_like() -> None:
    program = (
        "import mast3r_sfm.reconstruct; from mast3r_sfm import reconstruct; assert callable(reconstruct); "
        "assert callable(mast3r_sfm.reconstruct)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
