"""Every command and flag of spec 60 part F and D7 is there, with its default and choices; `cli_tables` has them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mast3r_model import CommandSpec, registry
from mast3r_model.cli import Command, run
from mast3r_model.plugins import resolve_import_string

from .cli_tables import COMMON, FLAGS, HIDDEN, LISTS, MODEL, SECTIONS, USES_MODEL, Flag

LAST_HEADINGS = ["Output", "Model and device", "Common", "Examples"]
"""Of F2, in this order where a command has them; its own, such as Input and Quality, stand before."""


def spec_of(name: str) -> CommandSpec:
    spec = registry("commands")[name]
    assert isinstance(spec, CommandSpec)
    return spec


def command_of(name: str) -> click.Command:
    command = resolve_import_string(spec_of(name).target)
    assert isinstance(command, click.Command)
    return command


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that we register, with those of `data prepare`."""
    for name in registry("commands").names():
        if registry("commands").owner(name).startswith("mast3r-"):
            command = command_of(name)
            if isinstance(command, click.Group):
                context = click.Context(command, info_name=name)
                for word in command.list_commands(context):
                    below = command.get_command(context, word)
                    assert below is not None
                    yield f"{name} {word}", below
            else:
                yield name, command


ALL = dict(commands())


def parameter_of(command: click.Command, spelling: str) -> click.Option:
    found = [each for each in command.params if spelling in (*each.opts, *each.secondary_opts)]
    assert len(found) == 1, f"{spelling}: {found}"
    assert isinstance(found[0], click.Option)
    return found[0]


def shown_default(parameter: click.Option) -> object:
    """As a person sees it: the words of the help, else the value."""
    if isinstance(parameter.show_default, str):
        return parameter.show_default.partition(", with --parity")[0]
    default = parameter.to_info_dict()["default"]
    return str(default) if hasattr(default, "__fspath__") else default


@pytest.mark.parametrize("name", SECTIONS)
def test_every_command_stands_under_its_heading(name: str) -> None:
    assert spec_of(name).section == SECTIONS[name]


def flags() -> list[tuple[str, str, Flag]]:
    table = [(name, flag, facts) for name, flags in FLAGS.items() for flag, facts in flags.items()]
    table += [(name, flag, facts) for name in USES_MODEL for flag, facts in MODEL.items()]
    return [*table, *((name, flag, facts) for name in SECTIONS for flag, facts in COMMON.items())]


@pytest.mark.parametrize("name", SECTIONS)
def test_flags_are_those_of_the_specification(name: str) -> None:
    if name == "data prepare":
        pytest.skip("a group, whose commands are the registered preprocessors")
    command = command_of(name)
    wrong = []
    for flag, facts in ((flag, facts) for command_name, flag, facts in flags() if command_name == name):
        parameter = parameter_of(command, flag)
        default = shown_default(parameter)
        if default != facts.default and not (facts.default is None and default in ((), [], False)):
            wrong.append(f"{flag}: the default is {default!r}, not {facts.default!r}")
        if facts.choices is not None:
            assert isinstance(parameter.type, click.Choice)
            if tuple(parameter.type.choices) != tuple(facts.choices):
                wrong.append(f"{flag}: the choices are {parameter.type.choices}")
        known = {spelling for each in command.params for spelling in each.opts}
        wrong += [f"{flag}: no {alias}" for alias in facts.aliases if alias not in known]
    assert wrong == []


@pytest.mark.parametrize("name", HIDDEN)
def test_upstreams_spellings_are_taken_and_not_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = command_of(name)
    assert run(command, ["--help"]) == 0
    text = capsys.readouterr().out
    for spelling in HIDDEN[name]:
        assert parameter_of(command, spelling).hidden
        assert f"{spelling} " not in text


@pytest.mark.parametrize("name", LISTS)
def test_commands_about_lists_have_jsonl(name: str) -> None:
    command = command_of(name)
    assert isinstance(command, Command)
    assert command.items is not None
    assert parameter_of(command, "--jsonl").is_flag


@pytest.mark.parametrize("name", ALL)
def test_help_is_in_one_style(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ALL[name]
    assert isinstance(command, Command), f"{name} is not made by mast3r_model.cli"
    assert len(command.examples) >= 2, f"{name} has {len(command.examples)} examples"
    assert not [line for line in command.examples if f"mast3r {name}" not in line]
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or not isinstance(parameter, click.Option):
            continue
        assert "_" not in "".join(parameter.opts), f"{name}: {parameter.opts}"
        assert parameter.help, f"{name} {parameter.opts}: no help"
        # A sentence, or one that begins with the name of a value.
        assert re.match(r"[A-Z0-9]|--|[\w+-]+(\[|[,:])", parameter.help), (
            f"{name} {parameter.opts}: {parameter.help}"
        )
        assert parameter.help.rstrip().endswith((".", ")", "?")), f"{name} {parameter.opts}: {parameter.help}"
        assert getattr(parameter, "section", "") != "Options", f"{name} {parameter.opts}: no heading"
    assert run(command, ["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    options = [line for line in lines[: lines.index("Examples:")] if line.startswith("  ")]
    assert max(map(len, options)) <= 100
    headings = [line.rstrip(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    last = [heading for heading in LAST_HEADINGS if heading in headings]
    assert headings[-len(last) :] == last
    assert last[-2:] == ["Common", "Examples"]


@pytest.mark.parametrize("name", ALL)
def test_examples_are_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example parses up to its files, which are not there: nothing of it is run."""
    for line in getattr(ALL[name], "examples", ()):
        if f"$(mast3r {name}" in line:
            continue
        words = shlex.split(line.split(" > ")[0])[1 + len(name.split()) :]
        for parameter in ALL[name].params:
            if isinstance(parameter.type, click.Path):
                monkeypatch.setattr(parameter.type, "exists", False)
        with ALL[name].make_context(name, list(words)):
            pass


@pytest.mark.parametrize("name", ALL)
def test_settings_of_every_command_can_be_shown_and_read_back(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ALL[name], ["--show-config", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"schema", "ok", "result", "warnings", "timings", "versions"}
    assert set(document["result"]["origins"].values()) <= {"default", "environment"}
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(document))
    assert run(ALL[name], ["--show-config", "--json", "--config", str(settings)]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["result"]["settings"] == document["result"]["settings"]
