"""The command class: options, settings and their origin, the JSON document, colours, progress, logs, help."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path

import click
import numpy as np
import pytest

from mast3r_model import OutputError
from mast3r_model.cli import (
    Command,
    CommandContext,
    ModelOptions,
    argument,
    command,
    model_options,
    option,
    output_option,
    refuse_existing,
    run,
)

Capture = pytest.CaptureFixture[str]
LOGGER = logging.getLogger("mast3r_model.test")


@command("work", examples=["mast3r work a.jpg --max-matches 10", "mast3r work a.jpg --json"])
@argument("photos", nargs=-1, required=True, type=Path, help="Photos.")
@option("--max-matches", default=100, section="Quality", help="At most so many.")
@option("--threshold", default=0.5, section="Quality", rare=True, help="Rarely changed.")
@option("--fine/--no-fine", default=True, section="Quality", help="Coarse to fine.")
@option(
    "--kind", type=click.Choice(["first_kind", "other"]), default="other", section="Quality", help="Which."
)
@output_option(help="Where to.", default=Path("out.npz"))
@model_options
def work(
    context: CommandContext,
    photos: tuple[Path, ...],
    max_matches: int,
    threshold: float,
    fine: bool,
    kind: str,
    output: Path | None,
    overwrite: bool,
    model: ModelOptions,
) -> None:
    """Do some work."""
    with context.timed("looking"):
        for _ in context.track(photos, "looking"):
            LOGGER.info("looked")
    context.warn("this is a warning")
    context.say(click.style(f"{len(photos)} photos", fg="green"))
    context.note("next: something else")
    print("a library prints")  # noqa: T201
    context.result(
        max_matches=max_matches,
        threshold=threshold,
        fine=fine,
        kind=kind,
        output=output,
        overwrite=overwrite,
        model=model,
        array=np.eye(2, dtype=np.float32),
        number=np.float64(1.5),
        infinite=math.inf,
    )


@pytest.fixture(autouse=True)
def settings_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's settings folder, empty; no variable of the tester's own shell plays a part."""
    for name in ("NO_COLOR", "FORCE_COLOR", "MAST3R_MODEL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "mast3r").mkdir()
    return tmp_path / "mast3r"


def result_of(capsys: Capture, *words: str) -> dict[str, object]:
    assert run(work, [*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    result: dict[str, object] = document["result"]
    return result


def test_document(capsys: Capture) -> None:
    assert run(work, ["a.jpg", "--json"]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert list(document) == ["schema", "ok", "result", "warnings", "timings", "versions"]
    assert document["schema"] == "mast3r.work/1"
    assert document["ok"] is True
    assert document["warnings"] == ["this is a warning"]
    assert set(document["timings"]) == {"looking", "total"}
    assert {"python", "mast3r-model", "torch"} <= set(document["versions"])
    result = document["result"]
    assert result["array"] == [[1.0, 0.0], [0.0, 1.0]]
    assert result["number"] == 1.5
    assert result["infinite"] is None
    assert result["output"] == "out.npz"
    assert result["model"]["device"] == "auto"
    assert "a library prints" in shown.err


def test_human_output(capsys: Capture) -> None:
    assert run(work, ["a.jpg", "b.jpg"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "2 photos\na library prints\n"
    assert shown.err == "warning: this is a warning\nnext: something else\n"
    assert run(work, ["a.jpg", "--quiet"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("1 photos")
    assert shown.err == ""
    assert run(work, ["a.jpg", "-v"]) == 0
    assert "looked" in capsys.readouterr().err


def test_spellings(capsys: Capture) -> None:
    words = ["--max_matches", "1_000", "--kind=first_kind", "--no_fine", "--batch_size=auto", "a_b.jpg"]
    result = result_of(capsys, *words)
    assert (result["max_matches"], result["kind"], result["fine"]) == (1000, "first_kind", False)
    assert run(work, ["a.jpg", "--max-matches", "many"]) == 2
    assert "many" in capsys.readouterr().err


def test_model_options(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(*words: str) -> object:
        model = result_of(capsys, "a.jpg", *words)["model"]
        assert isinstance(model, dict)
        return model["model"]

    assert chosen() == "nano"
    assert chosen("-m", "folder/x.pth") == "folder/x.pth"
    assert chosen("--weights", "x.pth") == "x.pth"
    assert chosen("--model_name", "MASt3R_X") == "naver/MASt3R_X"
    assert chosen("--model_name", "someone/X") == "someone/X"
    monkeypatch.setenv("MAST3R_MODEL", "shared")
    assert chosen() == "shared"
    monkeypatch.setenv("MAST3R_WORK_MODEL", "own")
    assert chosen() == "own"
    model = result_of(capsys, "a.jpg", "--batch-size", "4", "--threads", "2", "--dtype", "bf16")["model"]
    assert isinstance(model, dict)
    assert (model["batch_size"], model["threads"], model["dtype"]) == (4, 2, "bf16")
    assert run(work, ["a.jpg", "--weights", "x", "--model-name", "y"]) == 2
    assert run(work, ["a.jpg", "--batch-size", "0"]) == 2


def test_settings_come_in_order(
    settings_folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert result_of(capsys, "a.jpg")["max_matches"] == 100
    user_file = settings_folder / "config.toml"
    user_file.write_text("[work]\nmax-matches = 1\nthreshold = 0.25\n[other]\nx = 1\n")
    assert result_of(capsys, "a.jpg")["max_matches"] == 1
    config = tmp_path / "mine.toml"
    config.write_text("[work]\nmax_matches = 2\nfine = false\n")
    result = result_of(capsys, "a.jpg", "--config", str(config))
    assert (result["max_matches"], result["threshold"], result["fine"]) == (2, 0.25, False)
    monkeypatch.setenv("MAST3R_WORK_MAX_MATCHES", "3")
    assert result_of(capsys, "a.jpg", "--config", str(config))["max_matches"] == 3
    assert result_of(capsys, "a.jpg", "--config", str(config), "--max-matches", "4")["max_matches"] == 4

    assert run(work, ["--show-config", "--config", str(config), "--json", "--kind", "first_kind"]) == 0
    document = json.loads(capsys.readouterr().out)
    origins = document["result"]["origins"]
    assert origins["kind"] == "flag"
    assert origins["max-matches"] == "environment"
    assert origins["fine"] == str(config)
    assert origins["threshold"] == str(user_file)
    assert origins["device"] == "default"

    monkeypatch.delenv("MAST3R_WORK_MAX_MATCHES")
    user_file.unlink()
    again = tmp_path / "again.json"
    again.write_text(json.dumps(document))
    result = result_of(capsys, "a.jpg", "--config", str(again))
    assert (result["max_matches"], result["threshold"], result["fine"]) == (3, 0.25, False)
    assert result["kind"] == "first_kind"


def test_settings_of_the_working_directory(
    settings_folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    monkeypatch.chdir(folder)
    project = folder / "mast3r.toml"
    project.write_text("[work]\nmax-matches = 5\nkind = 'first_kind'\n")
    (settings_folder / "config.toml").write_text("[work]\nmax-matches = 1\nthreshold = 0.25\n")
    result = result_of(capsys, "a.jpg")
    assert (result["max_matches"], result["threshold"], result["kind"]) == (5, 0.25, "first_kind")
    (tmp_path / "mine.toml").write_text("[work]\nmax-matches = 6\n")
    result = result_of(capsys, "a.jpg", "--config", str(tmp_path / "mine.toml"))
    assert (result["max_matches"], result["kind"]) == (6, "first_kind")
    assert run(work, ["--show-config", "--json"]) == 0
    origins = json.loads(capsys.readouterr().out)["result"]["origins"]
    assert (origins["max-matches"], origins["seed"]) == ("mast3r.toml", "default")
    # Never unnoticed: whoever steps into a folder of somebody else sees that it has a say.
    assert run(work, ["a.jpg"]) == 0
    assert capsys.readouterr().err.startswith("settings: mast3r.toml of this folder\n")
    assert run(work, ["a.jpg", "--kind", "other", "--max-matches", "2"]) == 0
    assert "settings:" not in capsys.readouterr().err
    project.write_text("[other]\nx = 1\n")
    assert run(work, ["a.jpg"]) == 0
    assert "settings:" not in capsys.readouterr().err


def test_where_a_refused_value_stands(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[work]\nmax-matches = 'many'\n")
    assert run(work, ["a.jpg", "--config", str(config)]) == 2
    assert f"hint: it is 'max-matches' in {config}\n" in capsys.readouterr().err
    monkeypatch.setenv("MAST3R_WORK_MAX_MATCHES", "few")
    assert run(work, ["a.jpg"]) == 2
    assert "hint: it is the value of MAST3R_WORK_MAX_MATCHES\n" in capsys.readouterr().err
    assert run(work, ["a.jpg", "--max-matches", "none"]) == 2
    assert capsys.readouterr().err.endswith("'none' is not a valid integer.\nhint: mast3r --help\n")


def test_every_flag_can_be_taken_back(tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[work]\noffline = true\nfine = false\noverwrite = true\n")

    def settings(*words: str) -> dict[str, object]:
        assert run(work, ["--config", str(config), "--show-config", "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)["result"]["settings"]["work"]

    flags = ("offline", "fine", "overwrite")
    assert [settings()[name] for name in flags] == [True, False, True]
    taken_back = settings("--no-offline", "--fine", "--no_overwrite")
    assert [taken_back[name] for name in flags] == [False, True, False]
    assert run(work, ["a.jpg", "--no-json"]) == 2


def test_a_table_for_no_command_is_warned_about(tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[work]\nfine = false\n[mdels.info]\noffline = true\n[visloc.localize]\n[plugins]\n")
    assert run(work, ["a.jpg", "--config", str(config)]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "no command" in line]
    assert len(warnings) == 1
    assert "no command 'mdels', did you mean models?" in warnings[0]


def test_show_config_for_people(capsys: Capture) -> None:
    assert run(work, ["--show_config", "--max-matches", "7"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["max-matches", "7", "flag"] in lines
    assert ["seed", "0", "default"] in lines
    assert run(work, []) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[work]\nmax-machtes = 1\n", "did you mean max-matches"),
        ("[work\n", "not valid"),
        ("work = 3\n", "not a table"),
        ("{bad", "not valid"),
    ],
)
def test_bad_settings(text: str, words: str, tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "bad.toml"
    config.write_text(text)
    assert run(work, ["a.jpg", "--config", str(config)]) == 1
    shown = capsys.readouterr().err
    assert words in shown
    assert "bad.toml" in shown


def test_colour(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def coloured(*words: str) -> bool:
        assert run(work, ["a.jpg", *words]) == 0
        shown = capsys.readouterr()
        assert ("\x1b[" in shown.out) is ("\x1b[" in shown.err)
        return "\x1b[" in shown.out

    assert not coloured()
    assert coloured("--color", "always")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert coloured()
    assert not coloured("--color", "never")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured()


def test_log_file(tmp_path: Path, capsys: Capture) -> None:
    log = tmp_path / "logs" / "run.log"
    assert run(work, ["a.jpg", "--log-file", str(log)]) == 0
    assert "looked" not in capsys.readouterr().err
    assert "looked" in log.read_text()
    assert "WARNING" in log.read_text()
    (tmp_path / "occupied").write_text("")
    assert run(work, ["a.jpg", "--log-file", str(tmp_path / "occupied" / "x.log")]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_plain_progress(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    assert run(work, ["a", "b", "c", "d", "e", "f"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("looking:")]
    assert lines == ["looking: 3/6, 12 s", "looking: 6/6, 24 s"]
    assert run(work, ["a", "b", "c", "d", "e", "f", "--progress", "none"]) == 0
    assert "looking:" not in capsys.readouterr().err


def test_bars_on_a_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from mast3r_model.cli import console

    monkeypatch.setattr(console.Console, "bars", lambda self: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")

    @command("nested")
    def nested(context: CommandContext) -> None:
        for _ in context.track(range(2), "outer"):
            with context.progress("inner", 3) as advance:
                advance(3)
        context.say("finished")

    assert run(nested, []) == 0
    shown = capsys.readouterr()
    assert shown.out == "finished\n"
    assert "outer" in shown.err


def test_help(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert run(work, ["--help"]) == 0
    text = capsys.readouterr().out
    headings = ["Input:", "Quality:", "Output:", "Model and device:", "Common:", "Examples:"]
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)
    assert "[default: 100]" in text
    assert "--threshold" not in text
    assert "--weights" not in text
    assert "  mast3r work a.jpg --max-matches 10\n" in text
    assert run(work, ["--help-all"]) == 0
    assert "--threshold" in capsys.readouterr().out


def test_output_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refuse_existing(tmp_path / "empty", overwrite=False)
    refuse_existing(tmp_path / "new", overwrite=False)
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(OutputError, match="exists already") as caught:
            refuse_existing(path, overwrite=False)
        assert "--overwrite" in str(caught.value.hint)
        refuse_existing(path, overwrite=True)


def test_own_options_go_before_common_ones() -> None:
    @command("own")
    @option("-v", "--volume", default=1)
    def own(context: CommandContext, volume: int) -> None:
        context.say(str(volume))

    assert isinstance(own, Command)
    assert [parameter.name for parameter in own.params if "-v" in parameter.opts] == ["volume"]


def test_a_talkative_command_shows_its_log_but_no_traceback(capsys: Capture) -> None:
    @command("talkative", verbosity=1)
    def talkative(context: CommandContext) -> None:
        LOGGER.info("step 1")
        raise OutputError("cannot go on")

    assert run(talkative, []) == 1
    assert capsys.readouterr().err == "step 1\nerror: cannot go on\n"
    assert run(talkative, ["-q"]) == 1
    assert capsys.readouterr().err == "error: cannot go on\n"
    assert run(talkative, ["-v"]) == 1
    assert "Traceback" in capsys.readouterr().err
