"""The viewer's controls change what is drawn: a server in this process, without a browser."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mast3r_model import InputError, OutputError, PluginError
from mast3r_model.cli import CommandContext, Console
from mast3r_sfm import PointCloud, Scene, Tracks
from mast3r_sfm.viewer.content import viewed_scene
from mast3r_sfm.viewer.latest import LatestOnly
from mast3r_sfm.viewer.live import LiveView
from mast3r_sfm.viewer.scene_viewer import SceneViewer, open_viewer
from mast3r_sfm.viewer.server import find_port, open_server, server_url
from mast3r_sfm.viewer.walking import Walker

from .viewed_scenes import PIXELS, partial_scene, wall_scene

pytest.importorskip("viser")


@pytest.fixture
def viewer() -> Iterator[SceneViewer]:
    with open_viewer("127.0.0.1", 0, exact=True) as viewer:
        viewer.show(viewed_scene(wall_scene()))
        yield viewer


def drawn(viewer: SceneViewer) -> Any:
    assert viewer.nodes.points is not None
    return viewer.nodes.points


def test_a_scene_is_drawn_with_cameras_points_and_tracks(viewer: SceneViewer) -> None:
    assert viewer.group is not None
    assert len(viewer.nodes.cameras) == 3
    for camera, photo in zip(viewer.nodes.cameras, viewer.group.photos, strict=True):
        np.testing.assert_allclose(camera.position, photo.cam2world[:3, 3])
        assert camera.fov == photo.vertical_angle
        assert camera.image is not None
        size = camera.scale * camera.compute_canonical_frustum_size()[1]
        assert size == pytest.approx(0.4)  # 4 percent
    assert len(drawn(viewer).points) == pytest.approx(0.8 * 3 * PIXELS, rel=0.05)
    assert drawn(viewer).visible
    assert viewer.nodes.tracks is not None
    assert not viewer.nodes.tracks.visible
    assert "3 photos, 2 tracks" in viewer.panel.about.content


def test_confidence_by_percentile_and_by_value(viewer: SceneViewer) -> None:
    panel = viewer.panel
    panel.percentile.value = 50
    assert len(drawn(viewer).points) == 3 * PIXELS // 2
    panel.percentile.value = 0
    assert len(drawn(viewer).points) == 3 * PIXELS
    assert panel.min_confidence.value == pytest.approx(1.5)  # the scene's own threshold
    assert not panel.min_confidence.visible
    panel.hide_by.value = "confidence value"
    assert panel.min_confidence.visible
    assert not panel.percentile.visible
    at_own = len(drawn(viewer).points)
    assert at_own == pytest.approx(0.75 * 3 * PIXELS, rel=0.05)
    panel.min_confidence.value = 2.0
    assert len(drawn(viewer).points) == 3 * PIXELS // 2
    assert f"{3 * PIXELS // 2:,} points of confidence above 2" in panel.about.content


def test_points_of_one_photo_and_its_tracks(viewer: SceneViewer) -> None:
    viewer.panel.percentile.value = 0
    viewer.panel.points_of.value = "2: 1.jpg"
    assert len(drawn(viewer).points) == PIXELS
    assert (drawn(viewer).colors == [0, 200, 0]).all()
    viewer.panel.points_of.value = "1: 0.jpg"
    assert viewer.nodes.tracks is not None
    assert len(viewer.nodes.tracks.points) == 1
    viewer.panel.points_of.value = "all photos"
    assert len(drawn(viewer).points) == 3 * PIXELS


def test_sizes_and_what_is_shown(viewer: SceneViewer) -> None:
    panel, nodes = viewer.panel, viewer.nodes
    before = drawn(viewer).point_size
    panel.point_size.value = 3.0
    assert drawn(viewer).point_size == pytest.approx(3 * before)
    scale = nodes.cameras[0].scale
    panel.camera_size.value = 8.0
    assert nodes.cameras[0].scale == pytest.approx(2 * scale)
    panel.show_photos.value = False
    assert [camera.image for camera in nodes.cameras] == [None] * 3
    panel.show_photos.value = True
    assert nodes.cameras[2].image is not None
    panel.show_cameras.value = False
    assert not any(camera.visible for camera in nodes.cameras)
    panel.show_points.value = False
    panel.show_tracks.value = True
    assert not drawn(viewer).visible
    assert nodes.tracks is not None
    assert nodes.tracks.visible
    panel.percentile.value = 40  # drawn anew, and still as hidden as before
    assert not drawn(viewer).visible


def test_one_group_at_a_time(viewer: SceneViewer) -> None:
    assert not viewer.panel.group.visible
    viewer.panel.percentile.value = 0
    viewer.show(viewed_scene(wall_scene(count=3, groups=2)))
    assert viewer.panel.group.visible
    assert viewer.panel.group.options == ("group 1: 3 photos", "group 2: 3 photos")
    first = viewer.group
    viewer.panel.group.value = "group 2: 3 photos"
    assert viewer.group is not first
    assert len(viewer.nodes.cameras) == 3
    assert len(drawn(viewer).points) == 3 * PIXELS
    viewer.show(viewed_scene(wall_scene(count=2)))  # what was chosen is gone
    assert viewer.panel.group.value == "group 1: 2 photos"
    assert len(viewer.nodes.cameras) == 2


def test_photos_left_out_are_named_and_their_names_are_no_markup(viewer: SceneViewer) -> None:
    content = viewer.panel.dropped.content
    assert "&lt;img src=x&gt;" in content
    assert "<img" not in content
    assert "matches no\\nother photo" in content
    viewer.show(viewed_scene(Scene(wall_scene().images, PointCloud.empty(), Tracks.empty())))
    assert "img" not in viewer.panel.dropped.content


def test_first_sparse_points_then_the_scene_and_choices_stay() -> None:
    with open_viewer("127.0.0.1", 0, exact=True) as viewer:
        viewer.wait_for("decoding pairs: 3 of 12", 25.0)
        assert viewer.panel.progress.visible
        assert viewer.panel.progress.value == 25
        assert "decoding pairs: 3 of 12" in viewer.panel.about.content
        viewer.panel.points_of.value = "all photos"  # nothing to draw yet, and no error
        viewer.show(viewed_scene(partial_scene()))
        assert not viewer.panel.progress.visible
        assert viewer.nodes.tracks is not None
        assert viewer.nodes.tracks.visible
        assert len(viewer.nodes.tracks.points) == 50
        assert viewer.panel.percentile.disabled
        viewer.panel.camera_size.value = 2.0
        viewer.show(viewed_scene(wall_scene()))
        assert not viewer.nodes.tracks.visible
        assert not viewer.panel.percentile.disabled
        assert viewer.panel.min_confidence.value == pytest.approx(1.5)
        assert viewer.panel.camera_size.value == 2.0


def test_a_reconstruction_is_followed_group_by_group() -> None:
    context = CommandContext("sfm", Console(progress="none"))
    with open_viewer("127.0.0.1", 0, exact=True) as viewer:
        live = LiveView(context, viewer)
        with live.progress("encoding", 4) as advance:
            assert "encoding" in viewer.panel.about.content
            assert viewer.panel.progress.value == 0
            advance(1)
        for component in range(2):
            images = tuple(replace(image, component=component) for image in partial_scene().images)
            live.show_partial(replace(partial_scene(), images=images))
        assert viewer.panel.group.options == ("group 1: 3 photos", "group 2: 3 photos")
        live.show(wall_scene())
        assert viewer.panel.group.options == ("group 1: 3 photos",)
        assert len(drawn(viewer).points) > 0


def test_cameras_come_back_when_who_looked_through_one_leaves_and_not_before() -> None:
    inside: list[bool] = []
    walker = Walker(inside.append)
    (group,) = viewed_scene(wall_scene()).groups
    walker.visit([], group, 1)
    while inside != [True]:
        time.sleep(0.01)
    there = group.photos[1].cam2world[:3, 3]
    for place in (there + 3, there + 2, there):  # of the way, told late; then of the end of it
        walker.on_moved(spectator_at(place))
        assert inside == [True]
    walker.on_moved(spectator_at(there + 0.01))
    assert inside == [True]
    walker.on_moved(spectator_at(there + 2))
    assert inside == [True, False]
    walker.stop()


def spectator_at(place: np.ndarray) -> Any:
    return SimpleNamespace(camera=SimpleNamespace(position=place))


def test_large_scenes_are_limited_and_say_so() -> None:
    with open_viewer("127.0.0.1", 0, exact=True, max_points=90) as viewer:
        viewer.show(viewed_scene(wall_scene()))
        assert len(drawn(viewer).points) == 90
        assert "--max-points" in viewer.panel.about.content


def test_the_port_is_free_and_the_threads_have_ended_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(threading.enumerate())
    with open_viewer("127.0.0.1", 0, exact=True) as viewer:
        viewer.show(viewed_scene(wall_scene()))
        port = viewer.port
        assert find_port("127.0.0.1", port, exact=False) > port
    assert find_port("127.0.0.1", port, exact=True) == port
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    assert set(threading.enumerate()) <= before
    assert capsys.readouterr().out == ""  # viser's own greetings are kept from stdout


def test_a_port_in_use_is_refused_or_passed_by() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OutputError, match=f"listens at port {port}") as refused:
            open_server("127.0.0.1", port, exact=True)
        assert "--port" in str(refused.value.hint)
        with open_viewer("127.0.0.1", port, exact=False) as viewer:
            assert viewer.port > port


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_a_host_that_is_not_here_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="cannot listen"):
        open_server(host, 0, exact=False)


def test_without_viser_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "viser", None)
    with pytest.raises(PluginError, match=r'pip install "mast3r-sfm\[viewer\]"') as missing:
        open_server("127.0.0.1", 0, exact=False)
    assert "\n" not in str(missing.value)


def test_nobody_can_ask_for_a_public_address(viewer: SceneViewer) -> None:
    assert viewer._server.request_share_url() is None


def test_addresses_are_those_of_a_browser() -> None:
    assert server_url("0.0.0.0", 8080) == "http://localhost:8080"
    assert server_url("127.0.0.1", 1) == "http://127.0.0.1:1"
    assert server_url("::1", 2) == "http://[::1]:2"


def test_only_the_last_of_many_requests_is_done() -> None:
    wanted, done, busy, go = [0], [], threading.Event(), threading.Event()

    def work() -> None:
        done.append(wanted[0])
        busy.set()
        go.wait(10)

    latest = LatestOnly(work)
    worker = threading.Thread(target=latest)
    worker.start()
    assert busy.wait(10)
    for value in range(1, 6):
        wanted[0] = value
        latest()  # comes back at once: somebody is at work
    go.set()
    worker.join(10)
    assert done == [0, 5]
