"""The rest of the page in a real browser: tabs, files, several visitors, refusals, keyboard, looks."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
import trimesh

from mast3r_sfm import Scene

from .browsing import MAX_PHOTOS, NARROW, WIDE, Served, Visitor, points_of

pytestmark = pytest.mark.slow
UNNAMED = """() => [...document.querySelectorAll('input, select, button, [role=tab]')]
    .filter(one => one.offsetParent !== null && one.type !== 'file')
    .filter(one => !((one.labels?.[0]?.innerText || one.getAttribute('aria-label') || one.innerText || '').trim()))
    .map(one => one.outerHTML.slice(0, 200))"""
Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def done(browser: Any, page_server: Served, photo_sets: list[list[Path]]) -> Iterator[Visitor]:
    """Somebody who has run five photos."""
    visitor = Visitor(browser, page_server)
    visitor.start(photo_sets[0])
    visitor.finish()
    yield visitor
    visitor.close()
    assert visitor.faults == []
    assert visitor.foreign == []


@pytest.mark.parametrize("tab", ["Depth", "Confidence", "Normals"])
def test_a_picture_for_every_photo(done: Visitor, tab: str) -> None:
    done.show(tab)
    name = tab.lower()
    picture = f"#mast3r-{name}-picture"
    assert done.sees(lambda: done.page.locator(f"{picture} img").count() > 0)
    first = done.image(picture)
    assert first.std() > 10
    done.page.locator(f"#mast3r-{name}-next").click()
    assert done.sees(lambda: not np.array_equal(done.image(picture), first))
    assert done.page.locator(f"#mast3r-{name}-photo input").input_value().startswith("2: ")
    done.shot(f"demo-{name}")


def test_matches_of_two_photos_and_of_all(done: Visitor) -> None:
    done.show("Matches")
    for picture in ("#mast3r-pair-picture", "#mast3r-similarity"):
        assert done.sees(lambda picture=picture: done.page.locator(f"{picture} img").count() > 0)
        assert done.image(picture).std() > 10
    pair = done.page.locator("#mast3r-pair input")
    assert "matches" in pair.input_value()
    before = done.image("#mast3r-pair-picture")
    pair.click()
    done.page.get_by_role("option").nth(1).click()
    assert done.sees(lambda: not np.array_equal(done.image("#mast3r-pair-picture"), before))
    done.shot("demo-matches")


def test_a_row_for_every_camera(done: Visitor, tmp_path: Path) -> None:
    done.show("Cameras")
    table = done.page.locator("#mast3r-camera-table")
    assert done.sees(lambda: "5.jpg" in table.inner_text())
    rows = done.download("#mast3r-camera-csv", tmp_path).read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 5
    done.shot("demo-cameras")


def test_the_colmap_zip_holds_the_scene(done: Visitor, tmp_path: Path) -> None:
    done.page.locator("#mast3r-with-photos input").check()
    path = done.download("#mast3r-download-colmap", tmp_path)
    assert path.name.endswith("_5photos_colmap.zip")
    whole = done.download("#mast3r-download-everything", tmp_path)
    for archive in (path, whole):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(tmp_path / archive.stem)
    scene = Scene.load(tmp_path / whole.stem)
    model = pycolmap.Reconstruction(tmp_path / path.stem / "sparse" / "0")
    poses = {image.name: np.linalg.inv(image.cam2world) for image in scene.images}
    assert {image.name for image in model.images.values()} == set(poses)
    for image in model.images.values():
        assert (tmp_path / path.stem / "images" / image.name).is_file()
        np.testing.assert_allclose(image.cam_from_world().matrix(), poses[image.name][:3], atol=1e-6)
    again = pycolmap.Reconstruction(tmp_path / whole.stem / "sparse" / "0")
    assert model.num_points3D() == again.num_points3D() > 50
    assert model.num_cameras() == again.num_cameras() >= 1


def test_the_glb_is_what_the_view_shows(done: Visitor, tmp_path: Path) -> None:
    path = done.download("#mast3r-download-glb", tmp_path)
    assert points_of(path.read_bytes()) == done.points()
    ply = trimesh.load(done.download("#mast3r-download-ply", tmp_path))
    assert len(ply.vertices) == done.points()
    cameras = json.loads(done.download("#mast3r-download-cameras", tmp_path).read_text(encoding="utf-8"))
    assert "5.jpg" in json.dumps(cameras) or "0005.jpg" in json.dumps(cameras)
    assert "mast3r sfm 1.jpg" in done.page.locator("#mast3r-command textarea").input_value()


def test_view_switches_change_the_view_alone(done: Visitor, page_server: Served) -> None:
    done.show("3D")
    before = page_server.computed()
    at_first = done.points()
    switch(done, "clean-depth")
    assert done.points() > at_first  # what others contradict comes back
    switch(done, "absolute")
    assert done.points() == 0  # the small network is never as sure as upstream's threshold
    assert "No point" in done.page.locator("#mast3r-threshold").inner_text()
    switch(done, "absolute")
    assert done.points() > at_first
    seen = len(done.views)
    done.page.locator("#mast3r-surface").get_by_label("Mesh").click()
    assert done.sees(lambda: len(done.views) > seen)
    meshes = trimesh.load(io.BytesIO(done.fetch(done.views[-1])), file_type="glb")
    assert any(
        isinstance(part, trimesh.Trimesh) and len(part.faces) > 100 for part in meshes.geometry.values()
    )
    assert page_server.computed() == before


def switch(visitor: Visitor, name: str) -> None:
    """Press a switch of the view, and wait for the view."""
    seen = len(visitor.views)
    visitor.page.locator(f"#mast3r-{name} input[type=checkbox]").click()
    assert visitor.sees(lambda: len(visitor.views) > seen)


def test_a_photo_is_found_in_the_reconstruction(done: Visitor, photo_sets: list[list[Path]]) -> None:
    done.show("Localize a photo")
    done.upload([photo_sets[0][2]], "mast3r-localize-photo")
    assert done.sees(lambda: "3.jpg" in done.page.locator("#mast3r-localize-photo").inner_text())
    done.page.locator("#mast3r-localize-run").click()
    assert done.sees(lambda: "ound at" in done.status("mast3r-localize-status")), done.status(
        "mast3r-localize-status"
    )
    assert done.sees(lambda: done.draws("#mast3r-localize-view3d canvas"))
    done.shot("demo-localize")
    done.show("Reconstruct")


def test_two_photos_are_matched(visit: Visit, photo_sets: list[list[Path]], tmp_path: Path) -> None:
    visitor = visit()
    visitor.show("Match two photos")
    visitor.page.locator("#mast3r-match-run").click()
    assert visitor.sees(lambda: "photo is missing" in visitor.status("mast3r-match-status"))
    visitor.faults.clear()  # the refusal
    for photo, field in zip(photo_sets[0], ("mast3r-match-first", "mast3r-match-second"), strict=False):
        visitor.upload([photo], field)
        name = photo.name
        assert visitor.sees(
            lambda name=name, field=field: name in visitor.page.locator(f"#{field}").inner_text()
        )
    visitor.page.locator("#mast3r-match-run").click()
    assert visitor.sees(lambda: visitor.page.locator("#mast3r-match-picture img").count() > 0)
    assert visitor.image("#mast3r-match-picture").std() > 10
    said = visitor.status("mast3r-match-status")
    csv = visitor.download("#mast3r-match-csv", tmp_path).read_text(encoding="utf-8").splitlines()
    assert said.startswith(f"{len(csv) - 1} matches")
    visitor.shot("demo-match")


def test_two_visitors_at_once_get_their_own_scenes(
    visit: Visit, page_server: Served, photo_sets: list[list[Path]]
) -> None:
    before = page_server.sessions()
    first, second, third = visit(), visit(), visit()
    first.start(photo_sets[0][:3])
    second.start(photo_sets[1][:4])
    third.start(photo_sets[1][:2])
    third.page.locator("#mast3r-cancel").click()  # still in the queue
    assert third.sees(lambda: "Cancelled" in third.status())
    assert first.finish().startswith("3 photos placed")
    assert second.finish().startswith("4 photos placed")
    assert len(page_server.sessions() - before) == 3
    assert not set(first.views) & set(second.views)
    assert third.views == []
    assert "mast3r sfm 1.jpg 2.jpg 3.jpg -o" in first.page.locator("#mast3r-command textarea").input_value()
    third.page.locator("#mast3r-run").click()
    assert third.finish().startswith("2 photos placed")


def test_files_that_are_no_photos_are_told_in_the_page(
    visit: Visit, photo_sets: list[list[Path]], tmp_path: Path
) -> None:
    visitor = visit()
    text = tmp_path / "holiday.jpg"
    text.write_text("not a photo at all\n" * 50, encoding="utf-8")
    visitor.upload([text, *photo_sets[0][:2]])
    assert visitor.sees(lambda: "holiday.jpg is no photo" in visitor.summary())
    assert "2 photos, 1 pair" in visitor.summary()
    visitor.shot("demo-refused")
    many = []
    for k in range(MAX_PHOTOS + 1):
        many.append(tmp_path / f"{k}.jpg")
        many[-1].write_bytes(photo_sets[0][k % 5].read_bytes() + bytes([k]))
    other = visit()
    other.upload(many)
    assert other.sees(lambda: f"more than {MAX_PHOTOS} photos" in other.summary()), other.summary()


def test_only_text_is_refused_when_run_is_pressed(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    visitor.page.locator("#mast3r-run").click()
    assert visitor.sees(visitor.failed)
    assert "no photo was given" in visitor.status()
    assert visitor.sees(lambda: visitor.page.locator("#mast3r-run").is_enabled())
    assert visitor.page.locator("#mast3r-cancel").is_disabled()
    visitor.faults.clear()  # the refusal


def test_an_example_runs_without_any_other_host_and_a_reload_starts_anew(visit: Visit) -> None:
    visitor = visit()
    examples = visitor.page.locator("#mast3r-examples button")
    assert examples.count() >= 2
    examples.last.click()
    assert visitor.sees(lambda: "5 photos, 10 pairs" in visitor.summary())
    visitor.page.locator("#mast3r-run").click()
    visitor.finish()
    assert visitor.foreign == []
    visitor.open()
    assert visitor.summary() == ""
    assert not visitor.page.locator("#mast3r-downloads-panel").is_visible()
    examples.first.click()
    assert visitor.sees(lambda: "5 photos, 10 pairs" in visitor.summary())


def test_clear_forgets_the_scene(visit: Visit, photo_sets: list[list[Path]]) -> None:
    visitor = visit()
    visitor.start(photo_sets[0][:2])
    visitor.finish()
    view = visitor.views[-1]
    visitor.page.locator("#mast3r-clear").click()
    assert visitor.sees(lambda: "press Run" in visitor.status())
    assert visitor.sees(lambda: not visitor.page.locator("#mast3r-downloads-panel").is_visible())
    assert not visitor.page.request.get(view).ok


def test_the_keyboard_is_enough(visit: Visit, photo_sets: list[list[Path]]) -> None:
    visitor = visit()
    assert visitor.page.evaluate(UNNAMED) == []
    visitor.upload(photo_sets[0][:2])
    assert visitor.sees(lambda: "2 photos" in visitor.summary())
    tab_to(visitor, "mast3r-run")
    visitor.page.keyboard.press("Enter")
    visitor.finish()
    seen, slider = len(visitor.views), visitor.page.locator("#mast3r-percentile input[type=range]")
    slider.focus()
    visitor.page.keyboard.press("End")
    assert visitor.sees(lambda: len(visitor.views) > seen)
    assert slider.input_value() == "95"
    assert visitor.page.evaluate(UNNAMED) == []


def tab_to(visitor: Visitor, element: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(80):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("document.activeElement?.id") == element:
            return
    pytest.fail(f"no way to #{element} by the keyboard")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_is_wider_than_the_window(
    visit: Visit, photo_sets: list[list[Path]], size: dict[str, int], dark: bool
) -> None:
    visitor = visit(size=size, dark=dark)
    name = f"demo-{'narrow' if size is NARROW else 'wide'}-{'dark' if dark else 'light'}"
    visitor.shot(f"{name}-empty")
    visitor.start(photo_sets[0][:4])
    visitor.finish()
    for panel in ("mast3r-advanced", "mast3r-known", "mast3r-view-more"):
        visitor.unfold(panel)
    assert visitor.sees(visitor.draws)
    width = visitor.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1]
    ground = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground.strip("rgb()").split(",")[:3]) < 200) is dark
    time.sleep(1.0)
    visitor.shot(name)
