"""Photos that cannot be used, or not together: named in one line, and the rest completes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_sfm import Scene

from .conftest import EXAMPLES, Commands, Outcome


@pytest.fixture
def photos(place: Path, tmp_path: Path) -> Path:
    """A folder of its own with the good photos."""
    return shutil.copytree(place / "photos", tmp_path / "photos")


def test_bad_ones_among_good_ones(commands: Commands, photos: Path) -> None:
    good = sorted(path.name for path in photos.iterdir())
    data = (photos / "a.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(data[: len(data) // 2])
    (photos / "text.jpg").write_text("no picture")
    (photos / "nothing.png").write_bytes(b"")
    (photos / "z copy.jpg").write_bytes(data)
    (photos / "new\nline.jpg").write_text("no picture")
    Image.new("RGB", (320, 240)).save(photos / "black.png")
    grains = np.random.default_rng(0).integers(0, 5, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(grains).save(photos / "dark.png")
    Image.fromarray(grains * 50).save(photos / "noise.png")
    result = commands.sfm("photos", "-o", "scene", "--json", folder=photos.parent)
    assert result.code == 3, result.stderr
    reasons = {
        "cut.jpg": "truncated",
        "text.jpg": "not an image",
        "nothing.png": "empty",
        "z copy.jpg": "the same picture as a.jpg",
        "new\nline.jpg": "not an image",
        "black.png": "it shows nothing",
        "dark.png": "it shows nothing",
        "noise.png": "fit no common geometry",
    }
    document = result.document
    assert document["ok"] is True
    dropped = document["result"]["dropped"]
    assert dropped.keys() == reasons.keys()
    lines = result.stderr.splitlines()
    for name, reason in reasons.items():
        assert reason in dropped[name], name
        shown = name.replace("\n", "\\n")
        assert sum(f"{shown} is left out" in line and reason in line for line in lines) == 1, shown
    assert "Traceback" not in result.stderr
    scene = Scene.load(photos.parent / "scene")
    assert [image.name for image in scene.images] == good
    assert {drop.name for drop in scene.dropped} == reasons.keys()


def test_nothing_to_reconstruct(commands: Commands, place: Path, tmp_path: Path) -> None:
    for case in ("one", "bad", "black", "blackish", "strangers"):
        (tmp_path / case).mkdir()
    shutil.copy(place / "photos" / "a.jpg", tmp_path / "one")
    (tmp_path / "bad" / "a.jpg").write_text("no picture")
    (tmp_path / "bad" / "b.jpg").write_bytes(b"")
    random = np.random.default_rng(1)
    for number in range(3):
        Image.new("RGB", (320, 240)).save(tmp_path / "black" / f"{number}.png")
        Image.new("RGB", (320, 240), (number,) * 3).save(tmp_path / "blackish" / f"{number}.png")
        noise = random.integers(0, 256, (240, 320, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "strangers" / f"{number}.png")
    cases = {
        "one": (1, "two photos or more, got 1"),
        "bad": (1, "none of the 2 images can be used: not an image"),
        "black": (1, "none of the 3 images can be used: it shows nothing"),
        "blackish": (1, "none of the 3 images can be used: it shows nothing"),
        "strangers": (4, "no two photos match"),
    }
    for case, (code, message) in cases.items():
        result = commands.sfm(case, "-o", f"scene of {case}", "--json", folder=tmp_path)
        assert (result.code, _error(result).count(message)) == (code, 1), (case, result.stderr)
        assert not (tmp_path / f"scene of {case}" / "scene.safetensors").exists()


def _error(result: Outcome) -> str:
    """The one line that says what went wrong."""
    assert result.document["ok"] is False
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert line == f"error: {result.document['error']['message']}"
    return line


@pytest.fixture
def places(photos_of_places: Path, tmp_path: Path) -> Path:
    """Three photos of one real place, and two of another."""
    (tmp_path / "mixed").mkdir()
    for number in range(3):
        _shrink(photos_of_places / "sceaux" / f"100_710{number}.JPG", tmp_path / "mixed" / f"s{number}.jpg")
    for number in (1, 2):
        _shrink(photos_of_places / "chateau" / f"Chateau{number}.png", tmp_path / "mixed" / f"c{number}.jpg")
    return tmp_path


@pytest.fixture
def photos_of_places(request: pytest.FixtureRequest) -> Path:
    """The shared folder of real photos; our own `photos` hides the fixture of this name."""
    shared = Path(request.config.rootpath).parent / "shared" / "images"
    if not shared.is_dir():
        pytest.skip("the folder of real photos (shared/images) is absent")
    return shared


def _shrink(photo: Path, target: Path) -> None:
    image = Image.open(photo).convert("RGB")
    image.thumbnail((640, 640))
    image.save(target, quality=95)


@pytest.mark.slow
@pytest.mark.parametrize("size", [160, 512])
def test_two_places(commands: Commands, places: Path, size: int) -> None:
    """Three photos of a place and two of another are two components, each with a model of its own."""
    for number in (1, 2):
        (places / "mixed" / f"c{number}.jpg").unlink()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(EXAMPLES / name, places / "mixed")
    result = commands.sfm("mixed", "-o", "scene", "--json", "--size", size, folder=places)
    assert result.code == 0, result.stderr
    assert result.document["result"]["components"] == [["s0.jpg", "s1.jpg", "s2.jpg"], ["a.jpg", "b.jpg"]]
    assert "groups that no match connects, of 3, 2 photos" in result.stderr
    assert (places / "scene" / "sparse" / "1" / "images.bin").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("size", [160, 512])
def test_a_stranger_is_left_out(commands: Commands, places: Path, size: int) -> None:
    (places / "mixed" / "c2.jpg").unlink()
    result = commands.sfm("mixed", "-o", "scene", "--json", "--size", size, folder=places)
    assert result.code == 3, result.stderr
    assert result.document["result"]["components"] == [["s0.jpg", "s1.jpg", "s2.jpg"]]
    assert list(result.document["result"]["dropped"]) == ["c1.jpg"]
    assert "c1.jpg is left out" in result.stderr
