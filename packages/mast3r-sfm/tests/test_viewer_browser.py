"""The viewer in a real browser: it draws, its controls change the picture, a click looks through a camera.

Needs playwright and a chromium; `MAST3R_SCREENSHOTS=FOLDER` keeps the pictures.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mast3r_sfm.viewer.content import viewed_scene
from mast3r_sfm.viewer.scene_viewer import SceneViewer, open_viewer

from .viewed_scenes import wall_scene

pytest.importorskip("viser")
sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"),
]
ARGUMENTS = ["--no-sandbox", "--use-gl=swiftshader", "--enable-webgl", "--ignore-gpu-blocklist"]
WIDE, NARROW = {"width": 900, "height": 560}, {"width": 400, "height": 640}
PATIENCE = 90.0
"""Seconds: browsers without a graphics card, on machines that do other things too, take their time."""


@pytest.fixture(scope="module")
def viewer() -> Iterator[SceneViewer]:
    with open_viewer("127.0.0.1", 0, exact=True) as viewer:
        viewer.show(viewed_scene(wall_scene(groups=2)))
        yield viewer


@pytest.fixture(scope="module")
def page(viewer: SceneViewer) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport=WIDE)
        page.faults, page.asked = [], []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(viewer.url)
        page.get_by_text("Points of", exact=True).wait_for(timeout=1000 * PATIENCE)
        assert until(lambda: colored(picture(page)) > 0.05)
        closing = page.locator("button.mantine-Notification-closeButton")
        if closing.count():  # that there is no graphics card
            closing.first.dispatch_event("click")
        yield page
        browser.close()


def picture(page: Any, name: str | None = None) -> np.ndarray:
    """What is drawn, as (h, w, 3); the panel is at its right."""
    shot = page.screenshot(timeout=1000 * PATIENCE)
    folder = os.environ.get("MAST3R_SCREENSHOTS")
    if name and folder:
        (Path(folder) / f"{name}.png").write_bytes(shot)
    whole = np.asarray(Image.open(BytesIO(shot)).convert("RGB"))
    return whole[:, : whole.shape[1] - 340]


def colored(shot: np.ndarray) -> float:
    """Share of the picture in the wall's strong colours."""
    return float((np.ptp(shot.astype(int), axis=2) > 120).mean())


def until(true: Callable[[], bool]) -> bool:
    """Wait for it, but not for ever."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.3)
    return True


def click(page: Any, text: str) -> None:
    """Without waiting for a quiet moment, which a busy page does not have."""
    page.get_by_text(text, exact=True).first.dispatch_event("click")


def client_camera(viewer: SceneViewer) -> Any:
    (client,) = viewer._server.get_clients().values()
    return client.camera


def test_points_and_cameras_are_drawn_and_nothing_comes_from_elsewhere(
    page: Any, viewer: SceneViewer
) -> None:
    shot = picture(page, "viewer-wide")
    for channel in range(3):  # the walls' three colours, or the photos in the cameras
        assert ((shot[..., channel] > 150) & (shot.sum(axis=2) < 350)).mean() > 0.005
    assert all(url.startswith((viewer.url, "data:", "blob:")) for url in page.asked), page.asked
    assert page.faults == []


def test_controls_in_the_browser_change_the_picture(page: Any, viewer: SceneViewer) -> None:
    whole = colored(picture(page))
    shown = page.get_by_label("Show", exact=True)
    boxes = shown if shown.count() else page.locator("input[type=checkbox]")
    boxes.first.dispatch_event("click")
    assert until(lambda: not viewer.panel.show_points.value)
    assert until(lambda: colored(picture(page)) < 0.8 * whole)
    picture(page, "viewer-without-points")
    boxes.first.dispatch_event("click")
    assert until(lambda: bool(viewer.panel.show_points.value))
    assert until(lambda: colored(picture(page)) > 0.95 * whole)


def test_walking_through_the_cameras(page: Any, viewer: SceneViewer) -> None:
    group = viewer.group
    assert group is not None
    click(page, "Next")
    assert until(lambda: viewer.panel.photo.value == "2: 1.jpg")
    there = group.photos[1].cam2world[:3, 3]
    assert until(lambda: bool(np.allclose(client_camera(viewer).position, there, atol=1e-3)))
    assert until(lambda: not any(camera.visible for camera in viewer.nodes.cameras))
    assert until(lambda: colored(picture(page, "viewer-through")) > 0.5)  # the wall fills the window
    click(page, "Overview")
    assert until(lambda: all(camera.visible for camera in viewer.nodes.cameras))
    assert until(lambda: client_camera(viewer).position[2] < there[2] - 1)


def test_play_goes_from_photo_to_photo_until_it_is_stopped(page: Any, viewer: SceneViewer) -> None:
    viewer.panel.pace.value = 0.5
    click(page, "Play")
    assert until(lambda: viewer.panel.play.label == "Stop")
    seen: set[str] = set()
    assert until(lambda: seen.add(viewer.panel.photo.value) or len(seen) == 3)
    click(page, "Stop")
    assert until(lambda: viewer.panel.play.label == "Play")
    click(page, "Overview")
    assert until(lambda: all(camera.visible for camera in viewer.nodes.cameras))


def test_a_click_on_a_camera_looks_through_it(page: Any, viewer: SceneViewer) -> None:
    group = viewer.group
    assert group is not None
    viewer.panel.show_points.value = False  # so that only cameras are hit
    viewer.panel.camera_size.value = 10.0
    wanted = group.photos[0]  # others are below the panel
    plane = 1.0 / 2 / np.tan(wanted.vertical_angle / 2)  # where a picture of height 1 is
    place = wanted.cam2world[:3, 3] + plane * wanted.cam2world[:3, 2]
    time.sleep(2)  # the way back ends
    x, y = on_screen(client_camera(viewer), place)
    viewer.panel.photo.value = "3: 2.jpg"
    page.mouse.move(x, y)
    time.sleep(1)  # a pointer that rests there
    page.mouse.click(x, y, delay=100)
    assert until(lambda: viewer.panel.photo.value == wanted.label)
    there = wanted.cam2world[:3, 3]
    assert until(lambda: bool(np.allclose(client_camera(viewer).position, there, atol=1e-3)))
    viewer.panel.show_points.value = True
    viewer.panel.camera_size.value = 4.0


def on_screen(camera: Any, place: np.ndarray) -> tuple[float, float]:
    """Where a point is seen, in pixels of the page."""
    from mast3r_sfm.viewer.walking import pose_of

    seen = np.linalg.inv(pose_of(camera.client).cam2world) @ [*place, 1]
    focal = camera.image_height / 2 / np.tan(camera.fov / 2)
    return (
        float(camera.image_width / 2 + focal * seen[0] / seen[2]),
        float(camera.image_height / 2 + focal * seen[1] / seen[2]),
    )


def test_a_narrow_window_still_shows_the_scene(page: Any, viewer: SceneViewer) -> None:
    page.set_viewport_size(NARROW)
    click(page, "Overview")
    shot = page.screenshot(timeout=1000 * PATIENCE)
    folder = os.environ.get("MAST3R_SCREENSHOTS")
    if folder:
        time.sleep(4)
        shot = page.screenshot(timeout=1000 * PATIENCE)
        (Path(folder) / "viewer-narrow.png").write_bytes(shot)
    assert colored(np.asarray(Image.open(BytesIO(shot)).convert("RGB"))) > 0.02
    page.set_viewport_size(WIDE)
    assert page.faults == []
