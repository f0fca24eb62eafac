"""The viewer while ``mast3r sfm --viewer`` runs: what is being done, then cameras, then the scene."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mast3r_model.cli import CommandContext
from mast3r_sfm.progress import Advance
from mast3r_sfm.scene import Scene

from .command import wait_for_interrupt, warn_of_port
from .content import ViewedGroup, viewed_scene
from .scene_viewer import SceneViewer, open_viewer
from .server import DEFAULT_HOST, DEFAULT_PORT

TOLD_EVERY_SECONDS = 0.25


class LiveView:
    """Follows one reconstruction.

    Args:
        context: of the command.
        viewer: that is open.
    """

    def __init__(self, context: CommandContext, viewer: SceneViewer) -> None:
        self._context = context
        self._viewer = viewer
        self._partial: dict[int, ViewedGroup] = {}

    @contextmanager
    def progress(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """Show a bar in the terminal and in the browser."""
        done, told = 0, time.monotonic()
        self._viewer.wait_for(description, 0.0 if total else None)
        with self._context.progress(description, total) as advance:

            def both(steps: int) -> None:
                nonlocal done, told
                advance(steps)
                done += steps
                if total and time.monotonic() - told > TOLD_EVERY_SECONDS:
                    told = time.monotonic()
                    self._viewer.wait_for(f"{description}: {done} of {total}", 100 * done / total)

            yield both

    def show_partial(self, scene: Scene) -> None:
        """Show the groups of photos that are placed so far, without depth."""
        partial = viewed_scene(scene)
        for group in partial.groups:  # one
            self._partial[scene.images[0].component] = group
        groups = tuple(group for _, group in sorted(self._partial.items()))
        self._viewer.show(replace(partial, groups=groups))

    def show(self, scene: Scene) -> None:
        """Show the finished scene."""
        self._viewer.show(viewed_scene(scene))

    def stay(self) -> None:
        """Leave the scene open until Ctrl-C."""
        self._context.note(f"the scene stays at {self._viewer.url} until Ctrl-C")
        wait_for_interrupt()


@contextmanager
def live_view(context: CommandContext) -> Iterator[LiveView]:
    """A viewer at the usual address, or at the next free port.

    Raises:
        PluginError: viser is not installed.
    """
    with open_viewer(DEFAULT_HOST, DEFAULT_PORT, exact=False) as viewer:
        warn_of_port(context, DEFAULT_PORT, viewer.port)
        context.note(f"watch at {viewer.url}")
        yield LiveView(context, viewer)
