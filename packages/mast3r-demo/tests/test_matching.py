"""Two photos of the visitor, matched."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_demo.jobs import Cancelled, JobControl
from mast3r_demo.matching import TwoPhotoMatches, match_two
from mast3r_match import Matches
from mast3r_model import AsymmetricCroCo3DStereo, ImageError, InputError, load_model

from .small_scene import shade


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two crops of a textured picture, landscape and portrait."""
    random = np.random.default_rng(3)
    noise = Image.fromarray(random.integers(0, 255, (24, 30, 3), np.uint8)).resize((300, 240))
    folder = tmp_path_factory.mktemp("two")
    paths = folder / "a.png", folder / "b.png"
    noise.crop((0, 0, 240, 180)).save(paths[0])
    noise.crop((30, 0, 210, 240)).save(paths[1])
    return paths


@pytest.fixture(scope="module")
def model() -> AsymmetricCroCo3DStereo:
    return load_model("nano", device="cpu")


@pytest.mark.parametrize("fine", [False, True])
def test_two_photos_are_matched_and_drawn(
    model: AsymmetricCroCo3DStereo, photos: tuple[Path, Path], fine: bool
) -> None:
    found = match_two(
        model, *photos, fine=fine, control=JobControl(60), size=112, names=("left.png", "right.png")
    )
    assert len(found.matches) > 10
    assert (found.matches.name0, found.matches.name1) == ("left.png", "right.png")
    assert found.matches.image_shape0 == (180, 240)
    picture = found.picture()
    assert picture.shape == (514, 640 + 12 + 360, 3)
    low, high = found.confidence_range()
    assert low < high
    assert len(found.above(high)) <= len(found.above(low)) == len(found.matches)


def synthetic() -> TwoPhotoMatches:
    xy = np.stack(np.meshgrid(np.arange(8) * 20.0, np.arange(5) * 20.0), axis=-1).reshape(-1, 2)
    matches = Matches(xy, xy + 3, np.linspace(1, 4, 40), image_shape0=(100, 160), image_shape1=(200, 160))
    grid = np.stack(np.meshgrid(np.linspace(0, 2, 80), np.linspace(0, 1, 50)), axis=-1)
    small = shade(grid)
    return TwoPhotoMatches(matches, small, small.swapaxes(0, 1).repeat(2, axis=0)[:100])


def test_files_hold_the_matches_that_are_sure_enough(tmp_path: Path) -> None:
    found = synthetic()
    kept = len(found.above(2.5))
    assert 0 < kept < 40
    found.save(tmp_path / "m.csv", 2.5)
    with open(tmp_path / "m.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == kept
    assert min(float(row["score"]) for row in rows) >= 2.5
    found.save(tmp_path / "m.npz", 2.5)
    np.testing.assert_array_equal(Matches.load(tmp_path / "m.npz").keypoints0, found.above(2.5).keypoints0)
    with pytest.raises(InputError, match="exe"):
        found.save(tmp_path / "m.exe")
    found.save_picture(tmp_path / "m.png", 2.5)
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.size[1] == 514


def test_no_match_is_a_picture_too() -> None:
    found = synthetic()
    assert found.picture(99).shape == found.picture().shape
    none = TwoPhotoMatches(found.above(99), found.small0, found.small1)
    assert none.confidence_range() == (0.0, 1.0)


def test_cancelled_and_unreadable_photos_end_it(
    model: AsymmetricCroCo3DStereo, photos: tuple[Path, Path], tmp_path: Path
) -> None:
    control = JobControl(60)
    control._cancelled.set()
    with pytest.raises(Cancelled):
        match_two(model, *photos, control=control, size=112)
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photo")
    with pytest.raises(ImageError):
        match_two(model, photos[0], bad, control=JobControl(60), size=112)
