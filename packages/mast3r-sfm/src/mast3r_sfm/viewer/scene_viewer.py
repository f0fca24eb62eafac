"""The viewer: a scene, the controls beside it, and what they do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .content import VIEW_SIZE, ViewedGroup, ViewedScene
from .framing import overview
from .latest import LatestOnly
from .nodes import LEAST_GAP, SceneNodes
from .panel import BY_SHARE, Panel, put
from .selection import select_points, select_sparse
from .server import close_server, open_server, server_url
from .walking import Walker, place

if TYPE_CHECKING:
    import viser

DEFAULT_MAX_POINTS = 2_000_000


class SceneViewer:
    """Shows one scene after the other at one address.

    Args:
        server: that listens already; see `open_viewer`.
        host: what it listens at.
        max_points: dense points at once.

    Attributes:
        url: what to type into a browser.
        port: it listens at.
        nodes: what is drawn.
        panel: the controls.
        group: of photos that is shown; None before there is a scene.
    """

    def __init__(self, server: viser.ViserServer, host: str, max_points: int = DEFAULT_MAX_POINTS) -> None:
        self._server = server
        self._max_points = max_points
        self._lock = threading.RLock()
        self._inside = False
        self._playing = False
        self._scene: ViewedScene | None = None
        self.group: ViewedGroup | None = None
        self.port = server.get_port()
        self.url = server_url(host, self.port)
        self.nodes = SceneNodes(server)
        self.panel = Panel(server.gui)
        self._walker = Walker(self._look_through)
        self._connect()

    def show(self, scene: ViewedScene) -> None:
        """Show a scene, in place of what was shown before.

        Args:
            scene: with at least one group.
        """
        first = self._scene is None
        self._stop_walking()
        with self._lock:
            self._scene = scene
            self.panel.progress.visible = False
            self.panel.fit_scene(scene)
            self._show_group(self._chosen_group(scene), first=first)

    def wait_for(self, stage: str, percent: float | None) -> None:
        """Say what is being computed; percent None: nobody knows how much of it is done."""
        self.panel.wait_for(stage, percent)

    def close(self) -> None:
        """End the walk and the server; the port is free afterwards."""
        self._walker.stop()
        close_server(self._server)

    # What the controls do

    def _connect(self) -> None:
        panel = self.panel
        redraw = LatestOnly(self._draw_points)
        panel.on_change(redraw, panel.points_of, panel.hide_by, panel.percentile, panel.min_confidence)
        panel.on_change(self._resize_points, panel.point_size)
        panel.on_change(self._set_visible, panel.show_points, panel.show_tracks, panel.show_cameras)
        panel.on_change(self._draw_pictures, panel.show_photos)
        panel.on_change(self._resize_cameras, panel.camera_size)
        panel.on_change(self._change_group, panel.group)
        panel.photo.on_update(self._on_photo)
        panel.steps.on_click(self._on_step)
        panel.play.on_click(self._on_play)
        self._server.on_client_connect(self._on_connect)

    def _draw_points(self) -> None:
        with self._lock:
            group, panel = self.group, self.panel
            if group is None:
                return
            by_share = panel.hide_by.value == BY_SHARE
            panel.percentile.visible, panel.min_confidence.visible = by_share, not by_share
            selected = select_points(group, panel.point_filter(group, self._max_points))
            self.nodes.draw_points(selected.positions, selected.colors, self._point_size(group))
            self.nodes.draw_tracks(
                *select_sparse(group, panel.chosen_points_of(group)), self._point_size(group)
            )
            self._set_visible()
            panel.tell(group, selected)

    def _resize_points(self) -> None:
        with self._lock:
            if self.group is not None:
                self.nodes.resize_points(self._point_size(self.group))

    def _draw_pictures(self) -> None:
        with self._lock:
            if self.group is not None:
                self.nodes.show_pictures(self.group, bool(self.panel.show_photos.value))

    def _resize_cameras(self) -> None:
        with self._lock:
            self.nodes.resize_cameras(self._camera_size())

    def _set_visible(self) -> None:
        """Without the lock: the walk's thread comes here, and whoever waits for its end may hold it."""
        if self.nodes.points is not None:
            self.nodes.points.visible = bool(self.panel.show_points.value)
        if self.nodes.tracks is not None:
            self.nodes.tracks.visible = bool(self.panel.show_tracks.value)
        for camera in self.nodes.cameras:
            camera.visible = bool(self.panel.show_cameras.value) and not self._inside

    def _change_group(self) -> None:
        scene = self._scene
        if scene is not None:
            chosen = self._chosen_group(scene)
            if chosen is not self.group:
                self._stop_walking()
                with self._lock:
                    self._show_group(chosen, first=True)

    def _on_photo(self, event: Any) -> None:
        if event.client is not None and self.group is not None:  # else the choice follows the walk
            self._visit(self.panel.chosen_photo(self.group), event.client)

    def _on_step(self, event: Any) -> None:
        group = self.group
        if group is None:
            return
        wanted = event.target.value
        if wanted == "Overview":
            self._stop_walking()
            self._walker.show_all(self._clients(event.client), group)
            return
        step = 1 if wanted == "Next" else -1
        self._visit((self.panel.chosen_photo(group) + step) % len(group.photos), event.client)

    def _on_play(self, event: Any) -> None:
        group = self.group
        if group is None:
            return
        if self._playing:
            self._stop_walking()
            return
        self._playing = True
        self.panel.play.label = "Stop"
        self._walker.play(
            self._clients(event.client),
            group,
            self.panel.chosen_photo(group),
            lambda: float(self.panel.pace.value),
            lambda number: self._name_photo(group, number),
        )

    def _on_connect(self, client: viser.ClientHandle) -> None:
        client.camera.on_update(lambda camera: self._walker.on_moved(camera.client))
        if self.group is not None and client.camera.aspect < 1:  # the usual overview is for wide windows
            place(client, overview(self.group, client.camera.aspect))

    # How it is done

    def _show_group(self, group: ViewedGroup, *, first: bool) -> None:
        """Draw a group; the first one of a kind is looked at from where all of it can be seen."""
        scene = self._scene
        assert scene is not None
        bare = self.group is None or not self.group.count
        self.group = group
        if bare or not group.count:  # sparse points stand in for dense ones, and give way to them
            put(self.panel.show_tracks, not group.count)
        self.panel.fit_group(group, scene.min_confidence)
        with self._server.atomic():
            if first:
                self._look_at_all(group)
            self.nodes.draw_cameras(
                group,
                self._camera_size(),
                pictures=bool(self.panel.show_photos.value),
                on_click=self._visit,
            )
            self._draw_points()

    def _look_at_all(self, group: ViewedGroup) -> None:
        pose, initial = overview(group), self._server.initial_camera
        self._server.scene.set_up_direction(group.up)
        initial.position, initial.look_at = pose.position, pose.look_at
        initial.up, initial.fov = group.up, pose.angle
        for client in self._server.get_clients().values():
            place(client, overview(group, client.camera.aspect))

    def _visit(self, number: int, client: viser.ClientHandle | None) -> None:
        group = self.group
        if group is not None and number < len(group.photos):
            self._stop_walking()
            self._name_photo(group, number)
            self._walker.visit(self._clients(client), group, number)

    def _stop_walking(self) -> None:
        self._walker.stop()
        self._playing = False
        self.panel.play.label = "Play"

    def _name_photo(self, group: ViewedGroup, number: int) -> None:
        if group is self.group:
            put(self.panel.photo, group.photos[number].label)

    def _look_through(self, inside: bool) -> None:
        self._inside = inside
        self._set_visible()

    def _clients(self, client: viser.ClientHandle | None) -> list[viser.ClientHandle]:
        return list(self._server.get_clients().values()) if client is None else [client]

    def _chosen_group(self, scene: ViewedScene) -> ViewedGroup:
        labels = [group.label for group in scene.groups]
        return scene.groups[labels.index(self.panel.group.value)]

    def _point_size(self, group: ViewedGroup) -> float:
        return float(self.panel.point_size.value) * max(group.gap, LEAST_GAP)

    def _camera_size(self) -> float:
        return float(self.panel.camera_size.value) / 100 * VIEW_SIZE


@contextmanager
def open_viewer(
    host: str, port: int, *, exact: bool, max_points: int = DEFAULT_MAX_POINTS
) -> Iterator[SceneViewer]:
    """A viewer that listens for the length of a ``with`` block.

    Args:
        host: address to bind.
        port: to listen at; 0: the system chooses one.
        exact: whether another port will not do; else the next free one is taken.
        max_points: dense points shown at once.

    Raises:
        InputError: the address is none of this machine.
        OutputError: the port cannot be had.
        PluginError: viser is not installed.
    """
    viewer = SceneViewer(open_server(host, port, exact=exact), host, max_points)
    try:
        yield viewer
    finally:
        viewer.close()
