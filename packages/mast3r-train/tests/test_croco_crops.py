"""Cutting crops out of photos: the list, the pixels, and going on after an interruption."""

from __future__ import annotations

import json
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_model import InputError, OutputError
from mast3r_model.cli import run
from mast3r_train.croco import CropPair, extract_crops, find_sources, read_crop_list
from mast3r_train.croco.cli import crops_command
from mast3r_train.croco.crops import crop_stems, cut_crop, turns_of


def _photos(folder: Path, names: tuple[str, ...], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        coarse.resize((160, 120), Image.Resampling.BICUBIC).save(folder / name)


@pytest.fixture
def release(tmp_path: Path) -> tuple[Path, Path]:
    """A crop list and its photos."""
    _photos(tmp_path / "raw", ("s/a.png", "s/b.png", "c.png"))
    crops = tmp_path / "crops.txt"
    crops.write_text(
        "# made up\n"
        "s/a.png, s/b.png, 88.5\n"
        "10, 110, 5, 105, 0, 40, 20, 60\n"
        "0, 16, 0, 16, 0, 160, 0, 120\n"
        "\n"
        "s/b.png, c.png, -3\n"
        "1, 33, 2, 34, 3, 35, 4, 36\n"
    )
    return crops, tmp_path / "raw"


def test_the_list_is_read(release: tuple[Path, Path]) -> None:
    assert list(read_crop_list(release[0])) == [
        CropPair(
            ("s/a.png", "s/b.png"),
            88.5,
            (((10, 5, 110, 105), (0, 20, 40, 60)), ((0, 0, 16, 16), (0, 0, 160, 120))),
        ),
        CropPair(("s/b.png", "c.png"), -3.0, (((1, 2, 33, 34), (3, 4, 35, 36)),)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1, 2, 3, 4, 5, 6, 7, 8\n", "line 1: crops before any photos"),
        ("a, b, 0\n1, 2, 3\n1, 2\n", "line 3 has 2 fields"),
        ("a, b, x\n", "the rotation is 'x'"),
        ("a, b, 0\n0, 9, 0, 9, 0, 9, 0, x\n", "line 2: expected 8 whole numbers"),
        ("a, b, 0\n0, 9, 0, 9, 9, 9, 0, 9\n", "line 2: an empty or negative box"),
        ("../a, b, 0\n", "leads out of the folder"),
    ],
)
def test_a_broken_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "crops.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        list(read_crop_list(tmp_path / "crops.txt"))


@pytest.mark.parametrize(
    ("rotation", "turns"),
    [
        (0, 0),
        (50, 0),
        (60, 0),
        (-60, 0),
        (61, 1),
        (134, 1),
        (-61, 3),
        (-90, 3),
        (170, 2),
        (-170, 2),
        (350, 0),
    ],
)
def test_quarter_turns(rotation: float, turns: int) -> None:
    assert turns_of(rotation) == turns


def test_filter_follows_the_area(release: tuple[Path, Path]) -> None:
    photo = Image.open(release[1] / "s" / "a.png").convert("RGB")
    box = (10, 5, 110, 105)
    for size, method in ((49, Image.Resampling.LANCZOS), (50, Image.Resampling.BICUBIC)):
        expected = photo.crop(box).resize((size, size), method)
        np.testing.assert_array_equal(np.asarray(cut_crop(photo, box, size)), np.asarray(expected))
    upright, turned = np.asarray(cut_crop(photo, box, 50)), np.asarray(cut_crop(photo, box, 50, turns=1))
    np.testing.assert_array_equal(turned, np.rot90(upright))


def test_stems_fill_hexadecimal_folders() -> None:
    assert list(islice(crop_stems(3), 3)) == ["00/0", "00/1", "00/2"]
    stems = list(crop_stems(500 * 257))
    assert len(set(stems)) == len(stems)
    assert (stems[0], stems[500], stems[-1]) == ("00/00/00000", "00/01/001f4", "01/00/1f5f3")


@pytest.mark.parametrize("workers", [1, 2])
def test_crops_are_written_and_found(release: tuple[Path, Path], tmp_path: Path, workers: int) -> None:
    out = tmp_path / "data" / "Mine_crops"
    report = extract_crops(*release, out, size=32, workers=workers)
    assert (report.made, report.kept, report.failed) == (2, 0, {})
    assert (out / "listing.txt").read_text() == "00/0\n00/1\n00/2\n"
    photo = Image.open(release[1] / "s" / "b.png").convert("RGB")
    expected = np.rot90(np.asarray(photo.crop((0, 20, 40, 60)).resize((32, 32), Image.Resampling.BICUBIC)))
    written = np.asarray(Image.open(out / "00" / "0_2.jpg")).astype(int)
    assert written.shape == (32, 32, 3)
    assert np.abs(written - expected).mean() < 3  # JPEG's loss; unturned it would be over 30
    (source,) = find_sources("Mine", tmp_path / "data")
    assert all(file.is_file() for index in range(len(source)) for file in source.pair(index))


def test_only_what_is_missing_is_cut_again(release: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract_crops(*release, out, size=32)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    os.unlink(out / "00" / "2_2.jpg")
    report = extract_crops(*release, out, size=32)
    assert (report.made, report.kept) == (1, 1)
    rewritten = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert rewritten == {"2_1.jpg", "2_2.jpg"}
    with pytest.raises(OutputError, match="another list"):
        extract_crops(*release, out, size=48)


def test_a_folder_with_other_things_is_left_alone(release: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        extract_crops(*release, tmp_path / "out")


def test_command_names_photos_that_cannot_be_used(
    release: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops, raw = release
    (raw / "c.png").write_bytes(b"broken")
    Image.open(raw / "s" / "b.png").crop((0, 0, 100, 120)).save(raw / "s" / "b.png")
    out = tmp_path / "out"
    words = [str(crops), "--images", str(raw), "--output", str(out), "--size", "32", "--json"]
    assert run(crops_command, words) == 3
    result = json.loads(capsys.readouterr().out)["result"]
    assert (result["made"], set(result["failed"])) == (0, {"s/a.png, s/b.png", "s/b.png, c.png"})
    assert "100x120" in result["failed"]["s/a.png, s/b.png"]
    assert (out / "listing.txt").read_text() == ""
