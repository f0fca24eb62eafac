"""Lists of many items (``--jsonl``), and what is said in the end."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from mast3r_model import InputError
from mast3r_model.cli import CommandContext, argument, command, run

Capture = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Row:
    """An item."""

    name: str
    size: float


@command("rows", items="rows")
@argument("count", type=int, help="How many.")
def rows(context: CommandContext, count: int) -> None:
    """Rows."""
    context.note_at_the_end("hint: once")
    for number in range(count):
        context.item(Row(f"r{number}", number / 2))
        context.note_at_the_end("hint: once")
    context.item({"name": "extra"}, in_document=False)
    print("somebody else's line")  # noqa: T201
    context.say("rows")
    context.result(total=count)
    context.note("written")
    if count > 2:
        raise InputError("too many", "ask for fewer")


def test_a_line_for_each_item_then_the_rest(capsys: Capture) -> None:
    assert run(rows, ["2", "--jsonl"]) == 0
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert lines[:3] == [{"name": "r0", "size": 0.0}, {"name": "r1", "size": 0.5}, {"name": "extra"}]
    assert len(lines) == 4
    assert lines[3]["schema"] == "mast3r.rows/1"
    assert lines[3]["result"] == {"total": 2}
    assert "somebody" in shown.err


def test_one_document_has_the_items_too(capsys: Capture) -> None:
    assert run(rows, ["1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["result"] == {"rows": [{"name": "r0", "size": 0.0}], "total": 1}


def test_an_error_is_the_last_line(capsys: Capture) -> None:
    assert run(rows, ["3", "--jsonl"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 5
    assert lines[-1]["ok"] is False
    assert lines[-1]["error"]["message"] == "too many"
    assert run(rows, ["no", "--jsonl"]) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["error"]["kind"] == "BadParameter"


def test_what_is_said_in_the_end_is_said_once_and_only_after_success(capsys: Capture) -> None:
    assert run(rows, ["2"]) == 0
    assert capsys.readouterr().err == "written\nhint: once\n"
    assert run(rows, ["2", "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert run(rows, ["3"]) == 1
    assert "hint: once" not in capsys.readouterr().err


def test_commands_without_a_list_have_no_jsonl() -> None:
    @command("single")
    def single(context: CommandContext) -> None:
        context.item({"x": 1})

    assert run(single, ["--jsonl"]) == 2
    assert run(single, []) == 0
