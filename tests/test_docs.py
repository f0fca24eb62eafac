"""What the pages say is so: hooks and their contracts, snippets, commands, links, errors."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType

import click
import pytest

from mast3r_model import CommandSpec, HeadPair, HeadSpec, Mast3rError, ModelPreset
from mast3r_model.cli import root
from mast3r_model.expressions import parser
from mast3r_model.plugins import Mast3rHooks
from mast3r_train import DatasetAlgebra
from mast3r_train.loop.loading import BatchedDataset
from mast3r_train.losses import Loss, MatchingCriterion, PixelCriterion, PixelLoss

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "packages/*/*.md", "packages/*/docs/*.md", "examples/**/*.md")
    for page in ROOT.glob(pattern)
)
RUN = (
    "docs/conventions.md",
    "docs/expressions.md",
    "docs/plugins.md",
    "packages/mast3r-model/README.md",
    "packages/mast3r-train/README.md",
)
"""Pages whose snippets are run, one after the other in one namespace; elsewhere they are only read."""

NANO = ROOT / "packages" / "mast3r-model" / "src" / "mast3r_model" / "weights" / "nano"
FOREIGN_COMMANDS = {"hello"}
"""Commands of plugins that the pages make up."""

HOOKS = {name: hook for name, hook in vars(Mast3rHooks).items() if isinstance(hook, FunctionType)}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def spelled(function: Callable[..., object]) -> str:
    """A function or method with the names of its arguments, as the pages write it."""
    words: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        if parameter.name != "self":
            words.append(("**" if parameter.kind is parameter.VAR_KEYWORD else "") + parameter.name)
    return f"{function.__name__}({', '.join(words)})"


def blocks(page: Path, language: str) -> Iterator[str]:
    """The page's code blocks of a language; none that is marked ``no-run``."""
    text = page.read_text(encoding="utf-8")
    for words, body in re.findall(r"^```(\w[^\n]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if words.split()[0] == language:
            yield body


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
def test_snippets_are_valid_and_import_what_there_is(page: Path) -> None:
    for body in blocks(page, "toml"):
        tomllib.loads(body)
    for body in blocks(page, "json"):
        json.loads(body)
    for body in blocks(page, "python"):
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                ("mast3r_", "curope", "croco")
            ):
                module = importlib.import_module(node.module or "")
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert not missing, f"{node.module} has no {missing}"


@pytest.mark.parametrize("page", RUN)
def test_snippets_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not NANO.is_dir():
        pytest.skip("the built-in checkpoint is not in this checkout")
    for photo in ("a.jpg", "b.jpg"):
        shutil.copy(ROOT / "examples" / photo, tmp_path)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text(encoding="utf-8")
    bodies = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    namespace: dict[str, object] = {}
    for body in bodies:
        code: CodeType = compile(body, page, "exec")
        FunctionType(code, namespace)()


def command_lines(page: Path) -> Iterator[str]:
    """Lines that call the program, in code blocks of any kind."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^    [^\n]*\n)+", text, re.MULTILINE)
    for body in [*fenced, *indented]:
        for line in re.sub(r"\\\n", " ", body).splitlines():
            found = re.search(r"^\s*(?:(?:uv run|pip install uv && uv run) )?mast3r (.*)", line)
            if found:
                yield found[1]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_command_lines_are_understood(page: Path) -> None:
    for line in command_lines(page):
        words = shlex.split(line, comments=True)
        command: click.Command = root()
        context = click.Context(command)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            name = words.pop(0)
            if name in FOREIGN_COMMANDS or not name.islower():
                break
            below = command.get_command(context, name)
            assert below is not None, f"{name_of(page)}: no command {name!r} in: {line}"
            command = below
        else:
            known = {
                option
                for parameter in command.params
                for option in [*parameter.opts, *parameter.secondary_opts]
            }
            given = {
                word.partition("=")[0].replace("_", "-") for word in words if re.match(r"--?[a-z]", word)
            }
            assert given <= known | {"--help", "-h", "--version"}, f"{name_of(page)}: {line}"


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
