"""Focal lengths that cameras note in their photos."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from mast3r_model import ImageError, exif_focal


def photo(path: Path, size: tuple[int, int] = (400, 300), orientation: int = 1, **tags: Any) -> Path:
    exif = Image.Exif()
    exif[int(ExifTags.Base.Orientation)] = orientation
    exif.get_ifd(ExifTags.IFD.Exif).update({int(ExifTags.Base[name]): value for name, value in tags.items()})
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path, exif=exif)
    return path


def test_35_mm_equivalents_go_by_the_diagonal(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", FocalLengthIn35mmFilm=35)
    assert exif_focal(path) == pytest.approx(500 * 35 / math.hypot(36, 24))
    turned = photo(tmp_path / "b.jpg", orientation=6, FocalLengthIn35mmFilm=35)
    assert exif_focal(turned) == exif_focal(path)


def test_focal_length_and_resolution_of_the_sensor(tmp_path: Path) -> None:
    tags: dict[str, Any] = {
        "FocalLength": 5.0,
        "FocalPlaneXResolution": 2540.0,
        "FocalPlaneResolutionUnit": 2,
    }
    assert exif_focal(photo(tmp_path / "inch.jpg", **tags)) == pytest.approx(500, rel=1e-5)
    tags |= {"FocalPlaneXResolution": 1000.0, "FocalPlaneResolutionUnit": 3}
    assert exif_focal(photo(tmp_path / "cm.jpg", **tags)) == pytest.approx(500, rel=1e-5)
    tags |= {"ExifImageWidth": 800, "ExifImageHeight": 600}
    assert exif_focal(photo(tmp_path / "shrunk.jpg", **tags)) == pytest.approx(250, rel=1e-5)
    tags |= {"FocalLengthIn35mmFilm": 30}
    assert exif_focal(photo(tmp_path / "both.jpg", **tags)) == pytest.approx(500 * 30 / math.hypot(36, 24))


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"FocalLengthIn35mmFilm": 0},
        {"FocalLengthIn35mmFilm": 3},
        {"FocalLengthIn35mmFilm": 5000},
        {"FocalLength": 5.0},
        {"FocalLength": 5.0, "FocalPlaneXResolution": 0.0},
        {"FocalLength": 5.0, "FocalPlaneXResolution": 1000.0, "FocalPlaneResolutionUnit": 9},
        {"FocalLengthIn35mmFilm": 35, "DigitalZoomRatio": 2.0},
        {"FocalLengthIn35mmFilm": 35, "ExifImageWidth": 400, "ExifImageHeight": 400},
    ],
)
def test_what_says_nothing_gives_nothing(tmp_path: Path, tags: dict[str, Any]) -> None:
    assert exif_focal(photo(tmp_path / "a.jpg", **tags)) is None


def test_broken_metadata_costs_only_the_focal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = photo(tmp_path / "a.jpg", FocalLengthIn35mmFilm=35)
    content = path.read_bytes()
    at = content.index(b"Exif\0\0") + 6
    path.write_bytes(content[:at] + b"\xff" * 40 + content[at + 40 :])
    assert exif_focal(path) is None
    (tmp_path / "text.jpg").write_text("no picture")
    assert exif_focal(tmp_path / "text.jpg") is None
    assert "text.jpg" in caplog.text
    with pytest.raises(ImageError, match="no such image"):
        exif_focal(tmp_path / "missing.jpg")
