"""Match pictures, report pages and lines for the terminal."""

from __future__ import annotations

import dataclasses
import html.parser
import re

import numpy as np
import pytest
from PIL import Image

from mast3r_model import ImageError, InputError
from mast3r_visloc import Correspondences
from mast3r_visloc.evaluation import (
    ENU,
    Horizon,
    PoseError,
    QueryRecord,
    RunFiles,
    RunWriter,
    result_line,
    summarize,
)
from mast3r_visloc.report import localization_picture, save_localization_picture, write_page

from .run_cases import CANDIDATES, made_pose, made_query, random_pose, write_photo

NORTH_AND_LEVEL = np.array([[1.0, 0, 0, 12.414], [0, 0, 1, -3.08], [0, -1, 0, 1.52], [0, 0, 0, 1]])
"""A camera in a world of x east, y north, z up."""


def nearly(pixel, colour) -> bool:
    return bool(np.abs(np.asarray(pixel, dtype=int) - colour).max() < 40)


@pytest.fixture
def photos(tmp_path):
    for number, name in enumerate(CANDIDATES):
        write_photo(tmp_path / name, number, (320, 240))
    return {name: tmp_path / name for name in CANDIDATES}


def one_match(query_xy, map_xy, *, inlier: bool):
    pose = made_pose("q", random_pose(0))
    matches = Correspondences(
        np.array([query_xy]),
        np.array([1]),
        np.array([map_xy]),
        np.zeros((1, 3)),
        np.ones(1),
        np.array([inlier]),
    )
    return dataclasses.replace(pose, correspondences=matches)


@pytest.mark.parametrize("inlier", [True, False])
def test_matches_are_drawn_where_they_are(tmp_path, photos, inlier):
    query = write_photo(tmp_path / "q.jpg", 5, (160, 120))
    pose = one_match([39.5, 29.5], [159.5, 119.5], inlier=inlier)
    picture = localization_picture(pose, query, photos, height=240)
    assert picture.shape == (240, 320 + 8 + 320, 3)
    colour = (38, 194, 84) if inlier else (226, 48, 44)
    # A quarter of the query, and the middle of the other photo, each at its own scale.
    assert nearly(picture[59:61, 79:81].mean((0, 1)), colour)
    assert nearly(picture[119:121, 328 + 159 : 328 + 161].mean((0, 1)), colour)


def test_the_photo_with_most_inliers_stands_beside(tmp_path, photos):
    query = write_photo(tmp_path / "q.jpg", 5)
    picture = localization_picture(made_pose("q", random_pose(0)), query, photos, height=240)
    second = np.asarray(Image.open(photos["db/2.jpg"]))
    assert np.median(np.abs(picture[:, -320:].astype(int) - second)) < 3
    alone = localization_picture(made_pose("q", None), query, {}, height=240)
    assert alone.shape == (240, 320, 3)
    none = dataclasses.replace(
        made_pose("q", None, count=0),
        candidates=(),
        correspondences=made_pose("q", None, count=0).correspondences,
    )
    assert localization_picture(none, query, photos, height=240).shape == (240, 320, 3)


def test_panoramas_do_not_make_wide_pictures(tmp_path, photos):
    query = write_photo(tmp_path / "wide.png", 5, (1600, 100))
    picture = localization_picture(
        one_match([799.5, 49.5], [159.5, 119.5], inlier=True), query, photos, height=240
    )
    assert picture.shape == (240, 720 + 8 + 320, 3)
    assert nearly(picture[22:24, 359:361].mean((0, 1)), (38, 194, 84))
    assert (picture[50:, :720] > 200).mean() > 0.8


def test_a_candidate_that_comes_twice_shows_its_own_matches(tmp_path, photos):
    query = write_photo(tmp_path / "q.jpg", 5, (160, 120))
    pose = dataclasses.replace(
        one_match([39.5, 29.5], [159.5, 119.5], inlier=True), candidates=("db/2.jpg",) * 2
    )
    picture = localization_picture(pose, query, photos, height=240)
    assert nearly(picture[59:61, 79:81].mean((0, 1)), (38, 194, 84))


def test_pictures_are_saved(tmp_path, photos):
    query = write_photo(tmp_path / "q.png", 5)
    for name in ("match.png", "match.jpg"):
        save_localization_picture(tmp_path / name, made_pose("q", random_pose(0)), query, photos)
        with Image.open(tmp_path / name) as picture:
            assert picture.height == 320
    with pytest.raises(InputError, match=r"\.png or \.jpg"):
        save_localization_picture(tmp_path / "match.tiff", made_pose("q", None), query, photos)
    with pytest.raises(ImageError, match="no such photo"):
        save_localization_picture(tmp_path / "m.png", made_pose("q", None), tmp_path / "none.jpg", photos)


class Reader(html.parser.HTMLParser):
    """Collects what a browser would load, and all words."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.sources += [value for key, value in attributes if key in ("src", "href", "data") and value]
        if tag not in ("meta", "img", "input", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read_page(path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    assert reader.open == []
    return reader


def test_the_page_holds_every_query_and_loads_nothing(tmp_path):
    names = [f'seq/<b>"{number}"&.jpg' for number in range(1000)]
    error = PoseError(0.2, 1.0)
    records = [
        QueryRecord.from_pose(
            name, made_pose(name, random_pose(1)), index=number, position=number, error=error, nearest=None
        )
        for number, name in enumerate(names)
    ]
    summary = summarize("1,000 <queries>", [record.error for record in records])
    write_page(tmp_path, summary, records, options={"topk": 20}, versions={"python": "3"})
    reader = read_page(tmp_path / "report.html")
    cells = set(reader.words)
    assert all(name in cells for name in names)
    assert "1,000 <queries>" in cells
    loaded = [source for source in reader.sources if not source.startswith("#")]
    assert [source[:24] for source in loaded] == ["data:image/svg+xml;base6"], "the curves, nothing else"
    assert "script-src 'sha256-" in (tmp_path / "report.html").read_text("utf-8")
    assert (tmp_path / "report.html").stat().st_size < 2**20


def test_pictures_of_failures_come_first(tmp_path, photos):
    files = RunFiles(matches=False, pictures=4, map_paths=photos)
    query_photo = write_photo(tmp_path / "q.jpg", 5)
    for numbers in (range(11), range(11, 20)):
        # The second run goes on, and finds out which pictures there are.
        with RunWriter(tmp_path / "out", {"topk": 20}, files=files) as run:
            for number in numbers:
                name = f"{number}.jpg"
                pose = made_pose(name, random_pose(number) if number % 5 < 4 else None)
                run.add(dataclasses.replace(made_query(name, tmp_path), path=query_photo), pose)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert re.findall(r'<figure id="q(\d+)"', page) == ["4", "9", "14", "19"]
    assert re.findall(r'<a href="#q(\d+)"', page) == ["4", "9", "14", "19"]
    reader = read_page(tmp_path / "out" / "report.html")
    assert sum(source.startswith("data:image/jpeg") for source in reader.sources) == 4
    assert "4 of 20 photos are shown, failures first" in "".join(reader.words)


def test_a_page_without_truth_has_no_curve(tmp_path):
    with RunWriter(tmp_path, {"topk": 20}, files=RunFiles(matches=False)) as run:
        run.add(made_query("a", tmp_path), made_pose("a", random_pose(1)))
    words = "".join(read_page(tmp_path / "report.html").words)
    assert "Accuracy" not in words
    assert "median position error" not in words


def test_a_photo_that_is_gone_costs_only_its_picture(tmp_path, photos, caplog):
    files = RunFiles(matches=False, map_paths=photos)
    with RunWriter(tmp_path / "out", {"topk": 20}, files=files) as run:
        run.add(made_query("a", tmp_path), made_pose("a", random_pose(1)))
    assert "no match picture of a" in caplog.text
    assert "<figure" not in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_lines_for_people():
    pose = made_pose("IMG_0412.jpg", NORTH_AND_LEVEL)
    assert result_line(pose, min_inliers=12, horizon=ENU, seconds=0.42) == (
        "IMG_0412.jpg   localised   26 of 40 inliers (65 %)        "
        "x 12.41  y -3.08  z 1.52   heading 0.0°   0.42 s"
    )
    assert "heading" not in result_line(pose, min_inliers=12)
    failed = dataclasses.replace(made_pose("b.jpg", None), timings={})
    assert result_line(failed, min_inliers=12, name_width=12) == (
        "b.jpg          failed      too few inliers (3 < 12)       nearest photo: db/1.jpg"
    )
    nothing = dataclasses.replace(failed, reason="no_candidates", candidates=())
    assert result_line(nothing, min_inliers=12) == "b.jpg   failed      no photo of the map to try"
    few = dataclasses.replace(failed, reason="few_matches")
    assert "too few matches (40)" in result_line(few, min_inliers=41)
    assert "40 matches that fix no pose" in result_line(few, min_inliers=12)


@pytest.mark.parametrize(
    ("degrees", "shown"), [(0, 0.0), (90, 90.0), (128.4, 128.4), (270, 270.0), (-10, 350.0)]
)
def test_headings_run_clockwise_from_north(degrees, shown):
    angle = np.radians(degrees)
    pose = np.eye(4)
    pose[:3, 2] = [np.sin(angle), np.cos(angle), 0.3]
    assert ENU.heading(pose) == pytest.approx(shown)
    # The same view in a world with y down and north along z.
    turned = np.eye(4)
    turned[:3, 2] = [np.sin(angle), -0.3, np.cos(angle)]
    assert Horizon(up=(0, -1, 0), north=(0, 0, 1)).heading(turned) == pytest.approx(shown)


def test_a_view_straight_down_has_no_heading():
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    assert ENU.heading(pose) is None
    assert "heading" not in result_line(made_pose("a", pose), min_inliers=12, horizon=ENU)
