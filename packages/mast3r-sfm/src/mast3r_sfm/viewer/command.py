"""What ``mast3r view`` does: a saved scene at an address for the browser, until Ctrl-C."""

from __future__ import annotations

import time
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mast3r_model.cli import CommandContext

from .content import ViewedScene
from .inputs import read_viewed
from .scene_viewer import SceneViewer, open_viewer
from .server import LOOPBACK, require_viser


@dataclass(frozen=True)
class ViewRequest:
    """The flags of the command; their help texts say what they are.

    Attributes:
        port_named: whether the user said the port, so that no other will do.
    """

    scene: Path
    host: str
    port: int
    port_named: bool
    open_browser: bool
    max_points: int


def run_view(context: CommandContext, request: ViewRequest) -> None:
    """Show the scene until Ctrl-C, which is how this command is done.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    require_viser()
    with context.timed("read"):
        viewed = read_viewed(request.scene)
    with open_viewer(
        request.host, request.port, exact=request.port_named, max_points=request.max_points
    ) as viewer:
        viewer.show(viewed)
        _tell(context, request, viewed, viewer)
        if request.open_browser and not webbrowser.open(viewer.url):
            context.warn("no browser could be opened; type the address into one")
        wait_for_interrupt()
    context.result(scene=request.scene, url=viewer.url, port=viewer.port, photos=_count(viewed))
    context.note("viewer closed")


def wait_for_interrupt() -> None:
    """Do nothing until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


def warn_of_port(context: CommandContext, wanted: int, taken: int) -> None:
    """Say that another port than usual is used."""
    if wanted not in (0, taken):
        context.note(f"port {wanted} is in use: {taken} is taken instead")


def _tell(context: CommandContext, request: ViewRequest, viewed: ViewedScene, viewer: SceneViewer) -> None:
    context.say(
        f"{'photos':<24} {_count(viewed)}"
        + (f" in {len(viewed.groups)} groups" if len(viewed.groups) > 1 else "")
    )
    points = sum(group.count for group in viewed.groups)
    limited = (
        f", of which {request.max_points} at most are shown at once" if points > request.max_points else ""
    )
    context.say(f"{'points':<24} {points}{limited}")
    context.say(f"{'address':<24} {viewer.url}")
    warn_of_port(context, request.port, viewer.port)
    if request.host not in LOOPBACK:
        context.warn(
            "whoever reaches this machine can look at the scene, photos included, without a password"
        )
    context.note(f"{viewer.url}: Ctrl-C ends it" if context.json else "Ctrl-C ends it")


def _count(viewed: ViewedScene) -> int:
    return sum(len(group.photos) for group in viewed.groups)
