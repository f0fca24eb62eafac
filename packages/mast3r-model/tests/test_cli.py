"""The program: fast start, sections, missing packages, unknown names, exit codes, closed pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mast3r_model import CommandSpec, InputError, NothingFoundError, hookimpl, registry, temporary_plugin
from mast3r_model.cli import CommandContext, argument, command, option, root, run
from mast3r_model.cli.catalog import KNOWN_COMMANDS, MissingCommand

Capture = pytest.CaptureFixture[str]


@command("fail")
@argument("how", help="In which way.")
def fail(context: CommandContext, how: str) -> None:
    """Fail in some way."""
    if how == "nothing":
        raise NothingFoundError("no matches were found", "use other photos")
    if how == "input":
        raise InputError("the photo is empty", "take another")
    if how == "disk":
        raise OSError(28, "No space left on device", "matches.npz")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "pipe":
        raise BrokenPipeError
    if how == "memory":
        raise MemoryError
    if how == "bug":
        raise ZeroDivisionError("division by zero")
    if how == "partial":
        context.partial("one photo is unreadable")
    context.say("done")
    context.result(how=how)


@click.command("plain")
@click.option("--two-words", default=1)
def plain(two_words: int) -> None:
    """A command of somebody who does not use our class."""
    click.echo(f"plain {two_words}")


class Plugin:
    @hookimpl
    def mast3r_commands(self) -> dict[str, CommandSpec]:
        here = __name__
        return {
            "fail": CommandSpec(f"{here}:fail", "Fail.", "Evaluate"),
            "plain": CommandSpec(f"{here}:plain", "Plain.", "Own heading"),
            "group one": CommandSpec(f"{here}:plain", "First of the group."),
            "broken": CommandSpec("no_such_module_here:x", "Broken."),
            "no-command": CommandSpec(f"{here}:Plugin", "Wrong."),
        }


@pytest.fixture(autouse=True)
def _own_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    # Whichever of our packages are installed: one that never is.
    for name in ("far", "away here"):
        monkeypatch.setitem(KNOWN_COMMANDS, name, MissingCommand("mast3r-far", "Go far.", "Show"))
    with temporary_plugin(Plugin(), "of-the-test"):
        yield


def called(*words: str) -> int:
    return run(root(), words)


def test_help_lists_commands_in_sections(capsys: Capture) -> None:
    assert called("--help") == 0
    text = capsys.readouterr().out
    assert text.index("Train:") < text.index("Models and setup:") < text.index("Own heading:")
    assert "doctor " in text
    assert "group one" in text
    assert "pip install mast3r-far" in text
    assert max(map(len, text.splitlines())) <= 100


def test_help_imports_nothing_heavy() -> None:
    line = [sys.executable, "-X", "importtime", "-m", "mast3r_model", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    imported = {entry.rpartition("|")[2].strip().partition(".")[0] for entry in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & {"torch", "numpy", "PIL", "rich", "safetensors", "huggingface_hub", "einops"}


def test_no_listed_module_of_a_command_is_imported_by_help(capsys: Capture) -> None:
    assert called("--help") == 0
    assert "broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("nothing", 4, "error: no matches were found\nhint: use other photos\n"),
        ("input", 1, "error: the photo is empty\nhint: take another\n"),
        ("disk", 1, "error: matches.npz: No space left on device\n"),
        ("interrupt", 130, "error: interrupted\n"),
        ("pipe", 141, ""),
        ("memory", 1, "error: out of memory\n"),
        ("partial", 3, "warning: one photo is unreadable\n"),
        ("well", 0, ""),
    ],
)
def test_exit_codes(how: str, code: int, words: str, capsys: Capture) -> None:
    assert called("fail", how) == code
    shown = capsys.readouterr()
    assert shown.err.startswith(words)
    assert "Traceback" not in shown.err
    assert called("fail", how, "--json") == code
    shown = capsys.readouterr()
    if how != "pipe":
        document = json.loads(shown.out)
        assert document["schema"] == "mast3r.fail/1"
        assert document["ok"] is (code in (0, 3))
        assert ("error" in document) is (code not in (0, 3))


def test_traceback_only_when_asked(capsys: Capture) -> None:
    assert called("fail", "input", "-v") == 1
    assert "Traceback" in capsys.readouterr().err
    assert called("fail", "bug") == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError" in shown
    assert "report" in shown


def test_unknown_names(capsys: Capture) -> None:
    assert called("docter") == 2
    assert "did you mean doctor" in capsys.readouterr().err
    assert called("models", "lst") == 2
    assert "did you mean list" in capsys.readouterr().err
    assert called("fail", "--bogus") == 2
    assert "--bogus" in capsys.readouterr().err
    assert called("fail") == 2
    assert called("fail", "--json") == 2
    document = json.loads(capsys.readouterr().out)
    assert document["error"]["kind"] == "MissingParameter"


def test_missing_package(capsys: Capture) -> None:
    assert called("far", "photos", "--any", "--option", "1") == 1
    shown = capsys.readouterr().err
    assert "error: `mast3r far` is part of mast3r-far, which is not installed" in shown
    assert "hint: pip install mast3r-far" in shown
    assert called("away", "here", "x") == 1
    assert "mast3r-far" in capsys.readouterr().err


def test_every_command_of_the_program_is_registered_or_known_to_be_missing() -> None:
    """Spec 60 F1."""
    groups = {
        "visloc": "localize index evaluate prepare export",
        "data": "prepare list check sky",
        "evaluate": "pairs scenes",
        "models": "list info download convert path",
        "cache": "info clear",
    }
    single = (
        "match pairs sfm colmap export view train pretrain-croco quickstart demo plugins doctor completion"
    )
    names = {f"{group} {word}" for group, words in groups.items() for word in words.split()} | {
        *single.split()
    }
    assert names - {*KNOWN_COMMANDS, *registry("commands")} == set()


def test_broken_commands(capsys: Capture) -> None:
    assert called("broken") == 1
    assert "cannot be loaded" in capsys.readouterr().err
    assert called("no-command") == 1
    assert "not a click command" in capsys.readouterr().err


def test_plain_click_commands_and_groups(capsys: Capture) -> None:
    assert called("plain", "--two_words", "1_000") == 0
    assert called("group", "one", "--two-words", "3") == 0
    assert capsys.readouterr().out == "plain 1000\nplain 3\n"
    assert called("group", "--help") == 0
    assert "First of the group." in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    assert called("--version") == 0
    assert "mast3r-model " in capsys.readouterr().out


def test_completion_is_answered_without_imports(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("_MAST3R_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", "mast3r br")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert called() == 0
    assert "broken" in capsys.readouterr().out


def test_a_closed_pipe_is_silent() -> None:
    line = f"{sys.executable} -m mast3r_model plugins | true; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 141)
    assert done.stderr == ""


def test_a_command_alone_uses_its_own_variables(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    @command("alone")
    @option("--x", default=3)
    def alone(context: CommandContext, x: int) -> None:
        context.say(str(x))

    monkeypatch.setenv("MAST3R_ALONE_X", "1_7")
    assert run(alone, [], "python -m my_package") == 0
    assert capsys.readouterr().out == "17\n"
    assert run(alone, ["--help"], "python -m my_package") == 0
    assert capsys.readouterr().out.startswith("Usage: python -m my_package")
