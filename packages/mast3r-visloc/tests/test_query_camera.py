"""Where the camera of a query comes from (spec 50 D4)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import ExifTags, Image

from mast3r_model import ConfigError, InputError
from mast3r_visloc.cameras import Camera, parse_camera, query_camera

CAMERA = Camera("OPENCV", 800, 600, (700, 710, 380, 310, 0.01, 0.02, 0.003, 0.004))


def photo(path: Path, size_wh: tuple[int, int] = (800, 600), exif: Mapping[str, float] = {}) -> Path:
    """A grey photo with EXIF tags."""
    tags = Image.Exif()
    details = tags.get_ifd(ExifTags.IFD.Exif)
    for name, value in exif.items():
        (tags if name == "Orientation" else details)[ExifTags.Base[name]] = value
    Image.new("RGB", size_wh, (90, 90, 90)).save(path, exif=tags)
    return path


def test_the_first_that_there_is(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", exif={"FocalLengthIn35mmFilm": 28})
    other = Camera("SIMPLE_PINHOLE", 800, 600, (650, 400, 300))
    spec = "opencv, 800, 600, 700, 710, 380, 310, 0.01, 0.02, 0.003, 0.004"
    given = query_camera(path, (600, 800), spec=spec, listed=other, from_map=other)
    assert (given.camera, given.source, given.focal) == (CAMERA, "given", "known")
    listed = query_camera(path, (600, 800), listed=CAMERA, from_map=other)
    assert (listed.camera, listed.source, listed.focal_known) == (CAMERA, "listed for this photo", True)
    from_map = query_camera(path, (600, 800), from_map=CAMERA)
    assert (from_map.camera, from_map.source) == (CAMERA, "of a map image")
    noted = query_camera(path, (600, 800))
    assert (noted.source, noted.focal_known, noted.focal) == ("EXIF", True, "refine")


@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_as_colmap_reads_it(tmp_path: Path, orientation: int) -> None:
    path = photo(tmp_path / "a.jpg", exif={"FocalLengthIn35mmFilm": 28, "Orientation": orientation})
    found = query_camera(path, (600, 800)).camera
    colmap = pycolmap.infer_camera_from_image(path)
    assert colmap.has_prior_focal_length
    assert (found.model, found.width, found.height) == (colmap.model_name, colmap.width, colmap.height)
    np.testing.assert_allclose(found.params, colmap.params, rtol=1e-3)


@pytest.mark.parametrize(
    ("size_wh", "exif"),
    [
        ((800, 600), {}),
        ((600, 600), {"FocalLengthIn35mmFilm": 28, "ExifImageWidth": 800, "ExifImageHeight": 600}),
        ((800, 600), {"FocalLengthIn35mmFilm": 28, "DigitalZoomRatio": 2.0}),
    ],
    ids=["no tags", "cropped", "zoomed"],
)
def test_unknown(tmp_path: Path, size_wh: tuple[int, int], exif: Mapping[str, float]) -> None:
    path = photo(tmp_path / "a.jpg", size_wh, exif)
    shape = size_wh[::-1]
    found = query_camera(path, shape)
    width, height = size_wh
    assert found.camera == Camera("SIMPLE_RADIAL", width, height, (1.2 * width, width / 2, height / 2, 0))
    assert (found.focal_known, found.focal) == (False, "estimate")
    assert query_camera(path, shape, focal="refine").focal == "refine"
    with pytest.raises(InputError, match="do not tell it"):
        query_camera(path, shape, focal="known")


def test_a_choice_overrules(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", exif={"FocalLengthIn35mmFilm": 28})
    assert query_camera(path, (600, 800), focal="known").focal == "known"
    assert query_camera(path, (600, 800), listed=CAMERA, focal="refine").focal == "refine"
    assert query_camera(path, (600, 800), listed=CAMERA, focal="estimate").focal == "estimate"
    with pytest.raises(ConfigError, match="focal must be one of"):
        query_camera(path, (600, 800), focal="guess")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("orientation", "params", "words"),
    [
        (6, (710, 700, 310, 420), "as the photo's EXIF orientation says"),
        (8, (710, 700, 290, 380), "as the photo's EXIF orientation says"),
        (1, (710, 700, 290, 380), "taken as clockwise"),
    ],
)
def test_turned(tmp_path: Path, orientation: int, params: tuple[float, ...], words: str) -> None:
    """The camera of an upright photo of 800x600; the file holds it lying on its side."""
    path = photo(tmp_path / "a.jpg", (600, 800), {"Orientation": orientation})
    found = query_camera(path, (800, 600), listed=Camera("PINHOLE", 800, 600, (700, 710, 380, 310)))
    assert found.camera == Camera("PINHOLE", 600, 800, params)
    assert found.source == f"listed for this photo, turned by 90 degrees from 800x600, {words}"


def test_turned_as_pillow_turns(tmp_path: Path) -> None:
    """A mark at the principal point of the upright photo is at that of the file's pixels."""
    for orientation, to_raw in ((6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)):
        upright = Image.new("L", (800, 600))
        upright.putpixel((380, 310), 255)
        raw = upright.transpose(to_raw)
        tags = Image.Exif()
        tags[ExifTags.Base.Orientation] = orientation
        raw.save(tmp_path / "a.png", exif=tags)
        camera = Camera("SIMPLE_PINHOLE", 800, 600, (700, 380.5, 310.5))
        found = query_camera(tmp_path / "a.png", raw.size[::-1], listed=camera).camera
        row, column = np.argwhere(np.asarray(raw))[0]
        assert found.params[1:] == (column + 0.5, row + 0.5)


@pytest.mark.parametrize("size_wh", [(400, 300), (1600, 1200), (1000, 750), (333, 250)])
def test_resized(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    path = photo(tmp_path / "a.jpg", size_wh)
    found = query_camera(path, size_wh[::-1], listed=CAMERA)
    assert found.source == "listed for this photo, resized from 800x600"
    assert found.camera.shape == size_wh[::-1]
    np.testing.assert_allclose(
        found.camera.params[:4], np.array(CAMERA.params[:4]) * size_wh[0] / 800, rtol=2e-3
    )
    assert found.camera.params[4:] == CAMERA.params[4:]


@pytest.mark.parametrize("size_wh", [(800, 500), (600, 600), (300, 400), (810, 600)])
def test_sizes_that_do_not_fit(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    path = photo(tmp_path / "a.jpg", size_wh)
    with pytest.raises(InputError, match=rf"{size_wh[0]}x{size_wh[1]} pixels, its camera 800x600"):
        query_camera(path, size_wh[::-1], listed=CAMERA)


@pytest.mark.parametrize(
    "text", ["", "PINHOLE", "PINHOLE,800", "PINHOLE,8.5,600,1,2,3,4", "PINHOLE,800,600,a,b,c,d"]
)
def test_cameras_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError, match="cannot read the camera"):
        parse_camera(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("PINHOLE,800,600,1,2,3", "4 parameters, got 3"),
        ("HOLGA,800,600,1", "unknown camera model 'HOLGA'"),
        ("PINHOLE,800,600,inf,700,1,1", "inf"),
        ("PINHOLE,-800,600,700,700,1,1", "-800x600"),
    ],
)
def test_cameras_that_are_none(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_camera(text)
