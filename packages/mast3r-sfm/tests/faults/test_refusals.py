"""Flags that cannot be meant: refused in one line, before anything long."""

from __future__ import annotations

from pathlib import Path

from .conftest import Commands


def test_flags_that_cannot_be_meant(commands: Commands, place: Path, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(bytes(range(256)))
    (tmp_path / "pairs.txt").write_text("nobody.jpg, noone.jpg, 1.0\n")
    (tmp_path / "film.mp4").write_text("no film")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    cases: list[tuple[int, str, tuple[object, ...]]] = [
        (2, "'foo' is not one of 'sparse'", ("--mapper", "foo")),
        (2, "--lr1 belongs to --solver adam", ("--lr1", "0.1")),
        (1, "foo", ("--graph", "foo")),
        (1, "expected A B METRES", ("--distance", "a.jpg", "b.jpg", "x")),
        (1, "it must be above 0", ("--distance", "a.jpg", "b.jpg", "-1")),
        (1, "nobody.jpg, which is none of the 4", ("--distance", "nobody.jpg", "b.jpg", "1")),
        (1, "which has 320x240 pixels", ("--distance", "a.jpg@320,10", "b.jpg", "1")),
        (1, "no such file or folder", ("--poses", tmp_path / "missing")),
        (1, "is no transforms.json", ("--poses", tmp_path / "garbage")),
        (1, "cannot read intrinsics", ("--intrinsics", tmp_path / "garbage")),
        (1, "'nobody.jpg', which is not among the 4", ("--pairs", tmp_path / "pairs.txt")),
        (1, "cannot read the list of pairs", ("--pairs", tmp_path / "garbage")),
        (1, "no plugin gives 'foo' among the exporters", ("--export", "foo")),
        (1, "no plugin gives 'foo' among the engines", ("--engine", "foo")),
        (1, "holds other files", ("-o", tmp_path / "mine")),
        (1, "cannot decode any frame", (tmp_path / "film.mp4",)),
        (1, "is a file, expected a folder", ("--cache", tmp_path / "garbage")),
    ]
    for code, message, flags in cases:
        result = commands.sfm("photos", "-o", "refused", *flags, folder=place)
        assert result.code == code, (flags, result.stderr)
        assert message in result.stderr, (flags, result.stderr)
        assert "Traceback" not in result.stderr
        assert "encoding" not in result.stderr
        assert not list((place / "refused").rglob("*.safetensors")), flags
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
