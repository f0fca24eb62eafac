"""Every block of code in the pages: Python is run, commands are parsed by the commands themselves, cheap ones run."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import click
import pytest

from mast3r_model.cli import root, run

from .docs_pages import NETWORK_SIDE, PAGES, ROOT, Block, blocks, name_of, sample_folder, shell_lines

NANO = ROOT / "packages" / "mast3r-model" / "src" / "mast3r_model" / "weights" / "nano"
SLOW = {"packages/croco-backbone/README.md", "docs/howto/training.md", "docs/migration.md"}
"""Pages whose code builds a network of the published size, trains, or is that of another page."""

LANGUAGES = {"", "python", "sh", "toml", "json", "yaml", "text", "html"}
FOREIGN_COMMANDS = {"hello"}
"""Commands of plugins that the pages make up, or show how to write."""
FOREIGN_PROGRAMS = {
    *("git", "docker", "tensorboard", "cd", "unzip", "mkdir", "ffmpeg", "exiftool"),
    *("ruff", "mkdocs", "mypy", "ns-train", "colmap", "gcc", "npx", "curl"),
}
"""Programs that are not ours: that they are called as they should is for their own pages."""

SIZED_COMMANDS = ("MATCH", "PAIRS", "SFM", "COLMAP", "VISLOC_LOCALIZE", "VISLOC_INDEX", "EVALUATE_PAIRS")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos and their finished scene; copied for each page."""
    if not NANO.is_dir():
        pytest.skip("the built-in checkpoint is not in this checkout")
    folder = sample_folder(tmp_path_factory.mktemp("docs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(root(), ["sfm", "photos/", "-o", "scene/", "--size", str(NETWORK_SIDE), "-q"]) == 0
    return folder


@pytest.fixture
def workplace(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is a copy of the samples, and the network's input is small unless a page says a size."""
    import mast3r_match
    import mast3r_sfm

    folder = tmp_path / "place"
    shutil.copytree(samples, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for command in SIZED_COMMANDS:
        monkeypatch.setenv(f"MAST3R_{command}_SIZE", str(NETWORK_SIDE))
    monkeypatch.setenv(
        "MAST3R_COLMAP_SIZE", "160"
    )  # COLMAP's mapper wants more matches than a small input has
    monkeypatch.setenv("MAST3R_SFM_CACHE", str(samples / "scene" / "cache"))
    monkeypatch.setenv("MAST3R_VISLOC_LOCALIZE_MIN_INLIERS", "6")
    for function in (mast3r_match.match_images, mast3r_match.match_pairs, mast3r_sfm.reconstruct):
        monkeypatch.setitem(function.__kwdefaults__, "size", NETWORK_SIDE)
    return folder


def with_language(language: str) -> list[Path]:
    return [page for page in PAGES if any(block.language == language for block in blocks(page))]


def marked(page: Path) -> object:
    return pytest.param(page, marks=pytest.mark.slow) if name_of(page) in SLOW else page


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_are_of_a_kind_that_is_tested(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES
        assert block.word in {"", "run", "no-run"}
        if block.language == "toml":
            tomllib.loads(block.body)
        if block.language == "json":
            json.loads(block.body)


@pytest.mark.parametrize("page", with_language("python"), ids=name_of)
def test_python_is_valid_and_imports_what_there_is(page: Path) -> None:
    for block in blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.body)):
            ours = isinstance(node, ast.ImportFrom) and re.match(r"(mast3r_|curope|croco)", node.module or "")
            if isinstance(node, ast.ImportFrom) and ours:
                module = importlib.import_module(node.module or "")
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert not missing, f"{node.module} has no {missing}"


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("page", [marked(page) for page in with_language("python")], ids=name_of)
def test_python_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module_of_page = ModuleType("page")  # dataclasses look their module up by name
    monkeypatch.setitem(sys.modules, "page", module_of_page)
    namespace = vars(module_of_page)
    for block in blocks(page):
        if block.language != "python" or block.word == "no-run":
            continue
        module = file_of(block)
        if module is not None:
            (Path.cwd() / module).parent.mkdir(parents=True, exist_ok=True)
            (Path.cwd() / module).write_text(block.body, encoding="utf-8")
            if module.name == "__main__.py":
                run_package(module.parent.name, monkeypatch)
                continue
        code: CodeType = compile(block.body, name_of(page), "exec")
        FunctionType(code, namespace)()


def file_of(block: Block) -> Path | None:
    """The file that a block shows, if its first line says so: ``# my_package/cli.py``."""
    first = re.match(r"# (\w+/\w+\.py)$", block.body.partition("\n")[0])
    return Path(first[1]) if first else None


def run_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m NAME a.jpg``, a command that a page has shown how to write."""
    monkeypatch.setattr(sys, "argv", [name, "a.jpg"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert ended.value.code == 0


def commands_in(page: Path) -> Iterator[tuple[Block, str]]:
    for block in blocks(page):
        for line in shell_lines(block):
            yield block, line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(click.Path, "convert", lambda self, value, *context: Path(value))
    for _, line in commands_in(page):
        words = shlex.split(re.sub(r"( \.\.\.)+$", "", line))
        try:
            understand(words)
        except (click.ClickException, AssertionError, StopIteration) as problem:
            text = problem.format_message() if isinstance(problem, click.ClickException) else str(problem)
            pytest.fail(f"{name_of(page)}: {line}\n{text}")


@pytest.mark.parametrize(
    "page", [marked(page) for page in PAGES if any(b.word == "run" for b in blocks(page))], ids=name_of
)
@pytest.mark.usefixtures("workplace")
def test_commands_run(page: Path) -> None:
    for block, line in commands_in(page):
        if block.word != "run":
            continue
        words = shlex.split(line)
        assert words[0] == "mast3r", f"only our own commands are run, not {line}"
        assert run(root(), words[1:]) == 0, line


def understand(words: list[str]) -> None:
    """See that a command line names things that exist, and is parsed."""
    while words and re.fullmatch(r"[A-Z_0-9]+=.*", words[0]):
        words = words[1:]
    if not words:
        return
    if "&&" in words:
        place = words.index("&&")
        understand(words[:place])
        understand(words[place + 1 :])
        return
    program, *rest = words
    checks: dict[str, Callable[[list[str]], None]] = {
        "mast3r": parse,
        "pip": check_installation,
        "uv": lambda rest: check_uv(rest),
        "python": check_python,
        "python3": check_python,
        "torchrun": lambda rest: check_python(rest[rest.index("-m") :]),
        "pytest": check_pytest,
        "bash": lambda rest: check_script(rest[0]),
        "eval": lambda rest: understand(shlex.split(rest[0].removeprefix("$(").removesuffix(")"))),
    }
    if "/" in program:
        check_script(program)
    elif program not in FOREIGN_PROGRAMS:
        assert program in checks, f"who is {program!r}?"
        checks[program](rest)


def parse(words: list[str]) -> None:
    """Let the command itself parse its words; files need not exist."""
    for sign in (">", "|"):
        words = words[: words.index(sign)] if sign in words else words
    command: click.Command = root()
    context = click.Context(command, info_name="mast3r")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name in FOREIGN_COMMANDS:
            return
        below = command.get_command(context, name)
        assert below is not None, f"no command {name!r}"
        command, context = below, click.Context(below, info_name=name, parent=context)
    asks_for_help = {"--help", "-h", "--version", "--help-all"} & set(words)
    if isinstance(command, click.Group) or asks_for_help:
        assert asks_for_help or not words, f"{words} is no command"
        return
    command.make_context(command.name, list(words), parent=context.parent)


def check_installation(words: list[str]) -> None:
    """``pip install``: distributions of ours exist, and have the extras."""
    assert words[0] == "install"
    for word in words[1:]:
        found = re.fullmatch(r"((?:mast3r|curope|croco)[\w-]*)(?:\[([\w,]+)\])?", word)
        if found is None:
            continue
        folder = ROOT if found[1] == "mast3r" else ROOT / "packages" / found[1]
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert project["name"] == found[1]
        extras = set(found[2].split(",")) if found[2] else set()
        assert extras <= set(project.get("optional-dependencies", {})), word


def check_uv(words: list[str]) -> None:
    if words[0] == "run":
        rest = words[1:]
        while rest and rest[0].startswith("-"):
            rest = rest[2:] if rest[0] in ("--group", "--extra") else rest[1:]
        understand(rest)
    else:
        assert words[0] in {"sync", "build", "venv", "pip", "lock"}


def check_python(words: list[str]) -> None:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None, f"no module {words[1]}"
        if words[1] == "mast3r_train" and words[2:]:
            parse(["train", *words[2:]])
    elif words[0].endswith(".py") and words[0].partition("/")[0] in {
        "benchmarks",
        "tools",
        "examples",
        "packages",
    }:
        check_script(words[0])


def check_pytest(words: list[str]) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]
    markers = {line.partition(":")[0] for line in settings["ini_options"]["markers"]}
    for before, word in zip(["", *words], words, strict=False):
        if before == "-m":
            assert word in markers
        elif before == "-n":
            assert word == "auto" or word.isdecimal()
        elif not word.startswith("-"):
            check_script(word)


def check_script(path: str) -> None:
    assert (ROOT / path).exists(), f"{path} is not in the repository"


def test_every_guide_has_code_that_is_run() -> None:
    guides = [*sorted((ROOT / "docs" / "howto").glob("*.md")), ROOT / "docs" / "start.md"]
    assert len(guides) > 6
    for page in guides:
        ran = [b for b in blocks(page) if b.word == "run" or (b.language == "python" and b.word != "no-run")]
        assert ran, f"nothing of {name_of(page)} is run"
