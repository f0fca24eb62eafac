"""What the pages say is so: hooks and their contracts, links, errors; test_docs_code.py has their code."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import pytest

from mast3r_model import CommandSpec, HeadPair, HeadSpec, Mast3rError, ModelPreset
from mast3r_model.expressions import parser
from mast3r_model.plugins import Mast3rHooks
from mast3r_train import DatasetAlgebra
from mast3r_train.loop.loading import BatchedDataset
from mast3r_train.losses import Loss, MatchingCriterion, PixelCriterion, PixelLoss

from .docs_pages import PAGES, ROOT, name_of

HOOKS = {name: hook for name, hook in vars(Mast3rHooks).items() if isinstance(hook, FunctionType)}


def spelled(function: Callable[..., object]) -> str:
    """A function or method with the names of its arguments, as the pages write it."""
    words: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        if parameter.name != "self":
            words.append(("**" if parameter.kind is parameter.VAR_KEYWORD else "") + parameter.name)
    return f"{function.__name__}({', '.join(words)})"


def section(page: Path, heading: str) -> str:
    """The text under a heading, up to the next one of any level."""
    _, found, rest = page.read_text(encoding="utf-8").partition(f"\n{heading}\n")
    assert found, f"{name_of(page)} has no heading {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_arguments(hook: str) -> None:
    page = ROOT / "docs" / "plugins.md"
    assert len(section(page, f"### `{spelled(HOOKS[hook])}`").split()) > 5
    row = rf"^\| `{hook.removeprefix('mast3r_')}` \| `{hook}` \|"
    assert re.search(row, page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("hook", "contract"),
    [("mast3r_heads", HeadSpec), ("mast3r_heads", HeadPair), ("mast3r_models", ModelPreset), ("mast3r_commands", CommandSpec)],
)  # fmt: skip
def test_every_field_of_a_contract_is_documented(hook: str, contract: type) -> None:
    text = section(ROOT / "docs" / "plugins.md", f"### `{hook}()`")
    fields = [field.name for field in dataclasses.fields(contract)]
    assert not [name for name in fields if not re.search(rf"`[^`]*\b{name}\b[^`]*`", text)]


def test_methods_that_the_contracts_name_exist() -> None:
    text = section(ROOT / "docs" / "plugins.md", "### `mast3r_losses()`")
    for method in (
        Loss.compute_loss,
        PixelLoss.with_reduction,
        PixelCriterion.distance,
        MatchingCriterion.losses,
    ):
        assert f"`{spelled(method)}`" in text
    text = section(ROOT / "docs" / "plugins.md", "### `mast3r_datasets()`")
    assert f"`dataset.{spelled(DatasetAlgebra.set_epoch)}`" in text
    assert f"`dataset.{spelled(BatchedDataset.batch)}`" in text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{name_of(page)} links to {target}"


def test_every_error_is_listed_with_its_exit_code() -> None:
    import mast3r_model

    table = section(ROOT / "packages" / "mast3r-model" / "README.md", "## Errors")
    public = [getattr(mast3r_model, name) for name in mast3r_model.__all__ if name.endswith("Error")]
    for error in public:
        if error is not Mast3rError:
            row = next(line for line in table.splitlines() if f"`{error.__name__}`" in line)
            assert row.endswith(f"| {error.exit_code} |")


def test_the_bounds_of_expressions_are_the_parsers() -> None:
    text = section(ROOT / "docs" / "expressions.md", "## Grammar")
    for bound in (
        f"{parser.MAX_LENGTH // 1024} KiB",
        f"{parser.MAX_NESTING} levels",
        f"| {parser.MAX_OPERATORS} |",
        f"{parser.MAX_ELEMENTS:,}",
        f"2**{parser.INTEGER_BOUND.bit_length() - 1}",
    ):
        assert bound in text


def test_the_common_options_are_documented() -> None:
    from mast3r_model.cli.command import common_options

    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    spellings = {min(option.opts, key=len) for option in common_options()}
    assert not [spelling for spelling in spellings if f"`{spelling}" not in text]
