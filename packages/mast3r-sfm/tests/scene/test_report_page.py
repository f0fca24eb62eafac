"""The page report.html."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_sfm.report.loss_curves import ticks
from mast3r_sfm.report.match_matrix import MAX_SIDE, match_matrix
from mast3r_sfm.report.page import report_page
from mast3r_sfm.report.thumbnails import BUDGET_BYTES, depth_picture, thumbnails
from mast3r_sfm.report.top_view import ground_of
from mast3r_sfm.scene import DroppedImage, PointCloud, Scene, SceneImage, Tracks

HOSTILE = """<script>alert("x")</script>'&\udcff.jpg"""
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The texts of a page by element, and a check that all elements are closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self.open:
            self.texts[tag][-1] += data

    def count(self, tag: str, name: str, value: str) -> int:
        return self.attributes.count((tag, name, value))


def full_report(scene: Scene) -> dict[str, Any]:
    names = [image.name for image in scene.images]
    stage = {"name": "coarse", "losses": [5.0, 0.5, 0.04], "seconds": 0.3}
    return {
        "images": len(names) + len(scene.dropped),
        "pairs": [
            {"image0": names[0], "image1": name, "matches": 100 * k, "inliers": 90 * k, "same_place": k != 2}
            for k, name in enumerate(names[1:])
        ],
        "mapper": "sparse",
        "alignment": [
            {"solver": "lm", "stages": [stage, stage | {"name": "fine", "losses": [3.0, float("nan"), 2.9]}]}
        ]
        * 2,
        "stages": [
            {"name": "pairs", "seconds": 0.2, "peak_bytes": 2**29},
            {"name": "alignment", "seconds": 75.0, "peak_bytes": 2**30, "gpu_peak_bytes": 3 * 2**30},
        ],
        "refinement": {"accepted": True, "held_out_error_before": 1.25, "held_out_error_after": 1.125},
        "scale": [{"component": 0, "from": "network", "factor": 1.5}],
        "versions": {"mast3r": "0.1.0"},
        "options": {"graph": "complete"},
        "min_confidence": 1.5,
    }


@pytest.fixture
def told(scene: Scene) -> Scene:
    return replace(scene, report=full_report(scene))


def headings(page: Page) -> list[str]:
    return page.texts.get("h2", [])


def test_all_sections_of_a_scene_of_two_groups(told: Scene) -> None:
    source = report_page(told)
    page = Page(source)
    assert headings(page) == [
        "Photos that are left out",
        "Cameras from above",
        "What was matched with what",
        "Loss",
        "Time and memory",
        "Photos",
    ]
    assert page.texts["h3"] == ["Group 0: 3 photos", "Group 1: 2 photos"]
    assert page.count("svg", "class", "above") == 2
    assert page.count("g", "class", "camera") == 5
    assert page.count("polyline", "class", "line") == 4
    assert page.count("rect", "class", "refused") == 2
    assert page.texts["b"][:2] == ["5 of 6", "2 of 4"]
    for words in (
        "dark.jpg",
        "no image shares anything with it",
        "1.250 px before, 1.125 px after",
        "1 min 15 s",
        "3.0 GiB",
        "loss, logarithmic",
        "mast3r 0.1.0",
        "component 0, from network, factor 1.5",
    ):
        assert words in source


def test_numbers_of_photos_and_of_cameras_agree_where_groups_alternate(told: Scene) -> None:
    images = tuple(told.images[k] for k in (0, 3, 1, 4, 2))
    page = Page(report_page(replace(told, images=images, tracks=Tracks.empty())))
    titles = [words for words in page.texts["g"] if "photo_" in words]
    for number, image in enumerate(images):
        assert sum(words.startswith(f"{number}: {image.name}") for words in titles) == 1


def test_the_page_loads_nothing(told: Scene) -> None:
    page = Page(report_page(told))
    sources = [value for _, name, value in page.attributes if name in ("src", "href", "action", "srcset")]
    assert len(sources) == 2 * len(told.images)
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import", page.texts["style"][0])


def hostile(scene: Scene) -> Scene:
    images = tuple(replace(image, name=f"{k}{HOSTILE}") for k, image in enumerate(scene.images))
    named = replace(scene, images=images, dropped=(DroppedImage(HOSTILE, HOSTILE),))
    report = full_report(named)
    for row in (*report["stages"], *report["alignment"][0]["stages"]):
        row["name"] = HOSTILE
    report |= {
        "mapper": HOSTILE,
        "versions": {HOSTILE: HOSTILE},
        "options": {HOSTILE: HOSTILE},
        "scale": HOSTILE,
    }
    return replace(named, report=report)


def test_names_are_no_markup(scene: Scene, tmp_path: Path) -> None:
    source = report_page(hostile(scene))
    page = Page(source)
    assert len(page.texts["script"]) == 1
    assert "<script>alert" not in source
    assert any('<script>alert("x")</script>' in words for words in page.texts["bdi"])
    hostile(scene).save(tmp_path, formats=())
    assert (tmp_path / "report.html").read_bytes().decode("utf-8")


@pytest.mark.parametrize(
    "key",
    ["images", "pairs", "mapper", "alignment", "stages", "refinement", "scale", "versions", "options"],
)
@pytest.mark.parametrize("value", [None, [], {}, [[0, 1]], [{}], "words", 3, [None]])
def test_parts_of_the_report_that_are_missing_or_odd(told: Scene, key: str, value: object) -> None:
    report = dict(told.report)
    Page(report_page(replace(told, report={**report, key: value})))
    del report[key]
    left = headings(Page(report_page(replace(told, report=report))))
    assert len(left) == (5 if key in ("pairs", "alignment", "stages") else 6)


def test_an_empty_scene_has_a_page() -> None:
    assert headings(Page(report_page(Scene((), PointCloud.empty(), Tracks.empty())))) == []


def many(image: SceneImage, count: int, shape: tuple[int, int] = (384, 512)) -> Scene:
    """Noise, which JPEG and PNG cannot shrink, on a long walk; every photo with the next ten."""
    random = np.random.default_rng(0)
    color = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    depth = random.uniform(1, 9, shape).astype(np.float32)
    transform = replace(image.transform, network_shape=shape)
    images = []
    for k in range(count):
        pose = np.eye(4)
        pose[:3, 3] = [k, 0, np.sin(k / 9)]
        images.append(
            replace(
                image, name=f"a folder/photo {k:05}.jpg", cam2world=pose, transform=transform,
                color=color, depth=depth, confidence=depth,
            )
        )  # fmt: skip
    tracks = 200 * count
    observations = np.arange(2 * tracks)
    pairs = [
        {"image0": images[i].name, "image1": images[j].name, "matches": 1000 - 50 * (j - i)}
        for i in range(count)
        for j in range(i + 1, min(i + 11, count))
    ]
    return Scene(
        tuple(images),
        PointCloud.empty(),
        Tracks(
            random.uniform(0, count, (tracks, 3)), np.zeros((tracks, 3)), observations // 2,
            observations % count, np.zeros((2 * tracks, 2)), np.ones(2 * tracks),
        ),
        report={"pairs": pairs},
    )  # fmt: skip


@pytest.mark.parametrize(("count", "megabytes"), [(300, 12), (1000, 15)])
def test_the_page_of_many_photos_stays_small(scene: Scene, count: int, megabytes: int) -> None:
    page = report_page(many(scene.images[0], count))
    assert len(page.encode()) < megabytes * 1e6
    assert page.count("<img") == 2 * count + 1  # all small pictures, and the matrix
    assert f"{10 * count - 55:,} pairs with their matches" in page


def test_small_pictures_keep_the_budget(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    made = thumbnails(many(scene.images[0], 20).images, budget=100_000)
    assert 1 < len(made) < 20
    assert sum(len(picture.color) + len(picture.depth) for picture in made) <= 100_000 < BUDGET_BYTES
    assert (made[0].width, made[0].height) == (144, 108)
    monkeypatch.setattr("mast3r_sfm.report.tables.thumbnails", lambda images: made)
    assert f"the last {20 - len(made)} photos have no picture here" in report_page(many(scene.images[0], 20))


def test_depth_in_colours() -> None:
    depth = np.array([[1.0, 2.0, 8.0, 0.0, np.nan]], np.float32)
    near, _, far, *unknown = depth_picture(depth)[0].astype(int)
    assert near[0] > 200
    assert near[1] > 200 > near[2] + 100  # yellow
    assert far[1] < 50  # violet
    assert (np.array(unknown) == 128).all()
    assert (depth_picture(np.zeros((2, 3), np.float32)) == 128).all()


@pytest.mark.parametrize("tilt", [0, 25])
def test_above_is_above_whatever_the_frame_of_the_world(tilt: float) -> None:
    """Cameras on a ring that look inwards and downwards, in a world that is turned somehow."""
    world = Rotation.from_euler("xyz", [0.3, -2.0, 1.1]).as_matrix()
    poses = np.tile(np.eye(4), (12, 1, 1))
    for k, angle in enumerate(np.linspace(0, 2 * np.pi, 12, endpoint=False)):
        inwards = Rotation.from_euler("YX", [angle, -np.deg2rad(tilt)]).as_matrix()
        poses[k, :3, :3] = world @ inwards
        poses[k, :3, 3] = world @ [-3 * np.sin(angle), -1, -3 * np.cos(angle)]
    ground = ground_of(poses)
    assert ground.by_cameras
    np.testing.assert_allclose(ground.axes @ ground.axes.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(ground.axes @ world[:, 1], 0, atol=1e-9)
    flat = ground.project(poses[:, :3, 3])
    np.testing.assert_allclose(np.linalg.norm(flat - flat.mean(0), axis=1), 3, atol=1e-9)


def test_right_is_right_from_above() -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = [0, 1, 2]
    np.testing.assert_allclose(ground_of(poses).axes, [[1, 0, 0], [0, 0, 1]], atol=1e-12)


def test_cameras_held_in_all_directions_are_drawn_on_their_own_plane() -> None:
    poses = np.tile(np.eye(4), (8, 1, 1))
    for k in range(8):
        poses[k, :3, :3] = Rotation.from_euler("z", 45 * k, degrees=True).as_matrix()  # around their view
        poses[k, :2, 3] = [k % 3, k // 3]
    ground = ground_of(poses)
    assert not ground.by_cameras
    np.testing.assert_allclose(ground.axes @ [0, 0, 1], 0, atol=1e-12)


def test_a_matrix_of_many_photos_is_a_picture() -> None:
    from base64 import b64decode
    from io import BytesIO

    from mast3r_sfm.report.contents import PairRow

    names = [str(k) for k in range(2 * MAX_SIDE)]
    drawn = match_matrix(names, [PairRow("0", "999", 50, None, None), PairRow("3", "6", 5, 0, False)])
    encoded = re.search(r"base64,([^\"]+)", drawn)
    assert encoded
    pixels = np.array(Image.open(BytesIO(b64decode(encoded[1]))))
    assert pixels.shape == (MAX_SIDE, MAX_SIDE, 4)
    assert set(zip(*np.nonzero(pixels[..., 3]), strict=True)) == {(0, 499), (499, 0), (1, 3), (3, 1)}
    assert pixels[0, 499, 3] == 255
    assert pixels[1, 3, 0] > 200


@pytest.mark.parametrize(
    ("low", "high", "logarithmic"),
    [(0.187, 0.209, False), (-3, 900, False), (2.58, 3.02, False), (-5.2, 3, True)],
)
def test_ticks_are_few_and_inside(low: float, high: float, logarithmic: bool) -> None:
    found = ticks(low, high, logarithmic)
    assert 3 <= len(found) <= 9
    assert low <= found[0] < found[-1] <= high


Opened = Callable[..., np.ndarray]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Opens a page in a browser and gives its picture, and what is in the page after its script ran."""
    if CHROMIUM is None:
        pytest.skip("no chromium here to open the page in")

    def run(page: str, *flags: str, width: int = 1400) -> np.ndarray:
        (tmp_path / "page.html").write_text(page, encoding="utf-8")
        flags = (
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1600", *flags,
            f"--screenshot={tmp_path / 'page.png'}",
        )  # fmt: skip
        subprocess.run(
            [CHROMIUM, *flags, (tmp_path / "page.html").as_uri()],
            check=True, capture_output=True, timeout=120, env=browser_environment(tmp_path),
        )  # fmt: skip
        return np.array(Image.open(tmp_path / "page.png").convert("RGB"))

    return run


def browser_environment(home: Path) -> Mapping[str, str]:
    return {**os.environ, "HOME": str(home)}


@pytest.mark.slow
@pytest.mark.parametrize("width", [1400, 500])
def test_a_browser_shows_the_page(told: Scene, opened: Opened, width: int) -> None:
    picture = opened(report_page(hostile(told)), width=width)
    assert picture.shape[1] == width
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000  # thumbnails and drawings are there
    # Nothing sticks out to the right: the margin is empty.
    assert (picture[:, -5:] == picture[0, -1]).all()


@pytest.mark.slow
def test_the_page_is_dark_where_the_system_is(told: Scene, opened: Opened) -> None:
    light = opened(report_page(told))
    dark = opened(report_page(told), "--force-dark-mode", "--enable-features=WebUIDarkMode")
    assert light[0, 0].min() > 240
    assert dark[0, 0].max() < 40
