"""Moving spectators: to a photo's camera, from one to the next, back to the overview."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .content import ViewedGroup
from .framing import ViewPose, between, overview, through_camera

if TYPE_CHECKING:
    import viser

FRAMES_PER_SECOND = 25
FLIGHT_SECONDS = 0.8
LEFT_AT = 0.3
"""In view units: further away, one no longer looks through a camera."""


def place(client: viser.ClientHandle, pose: ViewPose) -> None:
    """Put a spectator somewhere at once."""
    camera = client.camera
    with client.atomic():
        camera.position = pose.position
        camera.wxyz = pose.wxyz
        camera.look_at = pose.look_at
        camera.fov = pose.angle


def pose_of(client: viser.ClientHandle) -> ViewPose:
    """Where a spectator is."""
    from scipy.spatial.transform import Rotation

    camera, pose = client.camera, np.eye(4)
    pose[:3, :3] = Rotation.from_quat(np.roll(camera.wxyz, -1)).as_matrix()
    pose[:3, 3] = camera.position
    return ViewPose(pose, float(np.linalg.norm(camera.look_at - camera.position)), camera.fov)


class Walker:
    """Moves spectators, one flight at a time, in a thread of its own.

    Args:
        set_inside: is told whether somebody looks through a camera: this one and its neighbours are in the
            way then.
    """

    def __init__(self, set_inside: Callable[[bool], None]) -> None:
        self._set_inside = set_inside
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._at: np.ndarray | None = None
        self._was_there = False

    def visit(self, clients: list[viser.ClientHandle], group: ViewedGroup, number: int) -> None:
        """Fly to a photo's camera."""
        self._start(lambda stop: self._fly(stop, clients, group, number, FLIGHT_SECONDS))

    def show_all(self, clients: list[viser.ClientHandle], group: ViewedGroup) -> None:
        """Fly to where all can be seen."""

        def fly(stop: threading.Event) -> None:
            self._leave()
            self._move(
                stop, {client: overview(group, client.camera.aspect) for client in clients}, FLIGHT_SECONDS
            )

        self._start(fly)

    def play(
        self,
        clients: list[viser.ClientHandle],
        group: ViewedGroup,
        start: int,
        pace: Callable[[], float],
        on_arrival: Callable[[int], None],
    ) -> None:
        """Fly from photo to photo, round and round, until something else is asked for.

        Args:
            clients: who are moved.
            group: whose cameras.
            start: number of the first photo.
            pace: seconds for each photo, asked anew each time.
            on_arrival: is told the number of each photo.
        """

        def fly(stop: threading.Event) -> None:
            number = start
            while not stop.is_set():
                seconds = pace()
                if self._fly(stop, clients, group, number, 0.6 * seconds):
                    on_arrival(number)
                stop.wait(0.4 * seconds)
                number = (number + 1) % len(group.photos)

        self._start(fly)

    def stop(self) -> None:
        """End the flight; come back when it has ended."""
        with self._lock:
            self._halt()

    def on_moved(self, client: viser.ClientHandle) -> None:
        """A spectator moved: see whether a camera is still looked through.

        Slow browsers tell of the way there long after it has ended: only who was there can leave.
        """
        at = self._at
        if at is None:
            return
        if np.linalg.norm(client.camera.position - at) <= LEFT_AT:
            self._was_there = True
        elif self._was_there:
            self._leave()

    def _start(self, flight: Callable[[threading.Event], object]) -> None:
        with self._lock:
            self._halt()
            stop = self._stop = threading.Event()
            self._thread = threading.Thread(
                target=flight, args=(stop,), name="mast3r-viewer-walk", daemon=True
            )
            self._thread.start()

    def _halt(self) -> None:
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def _fly(
        self,
        stop: threading.Event,
        clients: list[viser.ClientHandle],
        group: ViewedGroup,
        number: int,
        seconds: float,
    ) -> bool:
        """Fly to a photo's camera; False: stopped on the way.

        From one photo to the next, cameras stay out of the way.
        """
        self._at = None
        photo = group.photos[number]
        ends = {client: through_camera(photo, client.camera.aspect) for client in clients}
        if not self._move(stop, ends, seconds):
            self._leave()
            return False
        self._was_there, self._at = False, photo.cam2world[:3, 3]
        self._set_inside(True)
        return True

    def _move(self, stop: threading.Event, ends: dict[viser.ClientHandle, ViewPose], seconds: float) -> bool:
        starts = {client: pose_of(client) for client in ends}
        started = time.monotonic()
        share = 0.0
        while share < 1:
            if stop.wait(1 / FRAMES_PER_SECOND):
                return False
            share = min((time.monotonic() - started) / seconds, 1.0)
            for client, end in ends.items():
                place(client, between(starts[client], end, share))
        return True

    def _leave(self) -> None:
        self._at = None
        self._set_inside(False)
