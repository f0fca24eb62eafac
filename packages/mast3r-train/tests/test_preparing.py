"""How preparations run: what is made, kept, broken, and what stops them all (spec 41 section 0)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from mast3r_model import InputError, OutputError, registry
from mast3r_model.cli import option, root, run
from mast3r_train.errors import SampleError
from mast3r_train.preparing import Frame, Preparation, PrepareRequest, prepare_command, run_preparation


@dataclass(frozen=True)
class Note:
    """Writes a text, or cannot."""

    path: Path
    text: str = "made"

    def __call__(self) -> None:
        if self.text == "broken":
            raise SampleError(f"{self.path.name} is broken")
        if self.text == "full":
            raise OutputError("cannot write: no space left")
        self.path.write_text(self.text)


def make(job: Note) -> None:
    job()


def plan_of(out: Path, texts: dict[str, str], finished: list[str] | None = None) -> Preparation:
    frames = [Frame(name, out / name, Note(out / name, text)) for name, text in texts.items()]
    return Preparation(
        [*frames, Frame.broken("scene", "cameras.txt is broken")],
        make,
        lambda: (finished if finished is not None else []).append("lists"),
        lambda: (name for name in texts if not (out / name).exists()),
    )


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_was_made_kept_and_broken(
    tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a").write_text("before")
    finished: list[str] = []
    plan = plan_of(tmp_path, {"a": "made", "b": "broken", "c": "made"}, finished)
    report = run_preparation(plan, workers=workers)
    assert (report.made, report.kept) == (1, 1)
    assert report.failed == {"scene": "cameras.txt is broken", "b": "b is broken"}
    assert report.missing == ("b",)
    assert not report.complete
    assert finished == ["lists"]
    assert (tmp_path / "a").read_text() == "before"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["scene: cameras.txt is broken", "b: b is broken"]


def test_a_full_disk_is_no_frames_fault(tmp_path: Path) -> None:
    finished: list[str] = []
    with pytest.raises(OutputError, match="no space left"):
        run_preparation(plan_of(tmp_path, {"a": "made", "b": "full", "c": "made"}, finished))
    assert (tmp_path / "a").exists()
    assert not (tmp_path / "c").exists()
    assert finished == []


def test_progress_counts_what_is_to_be_made(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    totals = []

    def track(results: object, total: int) -> object:
        totals.append(total)
        return results

    run_preparation(plan_of(tmp_path, {"a": "made", "b": "made"}), track=track)
    assert totals == [1]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit codes: 0 all there, 1 nothing can be made, 2 wrong words, 3 some frames are missing."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    out.mkdir()

    def plan(request: PrepareRequest) -> Preparation:
        text = request.options["text"]
        if text == "nothing":
            raise InputError(f"Toys: {request.raw} has no toys")
        frames = [Frame("a", request.out / "a", Note(request.out / "a", text))]
        return Preparation(frames, make, lambda: None, lambda: ())

    command = prepare_command("toys", plan, help="Toys.", options=(option("--text", default="made"),))
    words = ["--raw", str(raw), "--out", str(out)]
    assert run(command, [*words, "--text", "nothing"]) == 1
    assert run(command, [*words, "--text", "full"]) == 1
    assert run(command, [*words, "--text", "broken"]) == 3
    assert "1 frames could not be made: a" in capsys.readouterr().err
    assert run(command, words) == 0
    assert run(command, words) == 0
    assert "0 frames made, 1 were there" in capsys.readouterr().out
    assert run(command, words[:2]) == 2
    assert run(command, [*words, "--pairs", "x"]) == 2


def preparations() -> list[str]:
    return [name for name in registry("preprocessors").names() if not name.startswith("sky-")]


@pytest.mark.parametrize("name", preparations())
def test_what_a_command_says_of_itself(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line in the list that is not cut off; what `--raw` is; examples whose words are understood."""
    command = registry("preprocessors")[name]
    assert command.help == command.get_short_help_str(70)
    raw = next(parameter for parameter in command.params if parameter.name == "raw")
    assert raw.help.startswith(("Folder ", "Folder `"))
    assert raw.help != "Folder of the public release."
    monkeypatch.chdir(tmp_path)
    for folder in ("RAW", "PAIRS", "DEPTH", "RUNS"):
        (tmp_path / folder).mkdir()
    (tmp_path / "PAGE").write_text("no labels")
    assert len(command.examples) >= 2
    for example in command.examples:
        assert run(root(), example.split()[1:]) == 1
        written = capsys.readouterr()
        error = written.out + written.err
        assert "error" in error
        assert any(name in error for name in ("RAW", "PAIRS", "PAGE", "dense0")), error
        assert not (tmp_path / "data").exists()


def test_nothing_is_written_where_files_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("raw", "depth"):
        (tmp_path / folder).mkdir()
    for out, place in (("raw", "the raw folder"), ("raw/out", "the raw folder"), ("depth/out", "depth")):
        words = ["--raw", "raw", "--import", "depth", "--out", out]
        assert run(registry("preprocessors")["dl3dv"], words) == 1
        assert f"--out {out} lies in {place}, which is never written to" in capsys.readouterr().err
    assert not (tmp_path / "raw/out").exists()
