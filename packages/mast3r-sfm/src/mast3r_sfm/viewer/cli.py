"""The command ``mast3r view`` (spec 60 F4, D9); what it does is in `mast3r_sfm.viewer.command`."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from mast3r_model.cli import CommandContext, argument, command, option

EXAMPLES = ["mast3r view scene/ --open", "mast3r view colmap/sparse/0 --port 9000"]
SECTION = "View"


@command("view", examples=EXAMPLES)
@argument(
    "scene",
    type=click.Path(path_type=Path),
    help="Folder that `mast3r sfm` wrote; or a COLMAP model, or transforms.json, with its photos beside it.",
)
@option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    section=SECTION,
    help="Address to listen at; 0.0.0.0: other machines can look too.",
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    metavar="N",
    section=SECTION,
    help="Port to listen at; where it is not said and in use, the next free one.",
)
@option("--open", "open_browser", is_flag=True, section=SECTION, help="Open the browser.")
@option("--max-points", type=click.IntRange(min=1), default=2_000_000, metavar="N", section=SECTION,
        help="Points at once; of more, every photo shows the same share.")  # fmt: skip
def view(
    context: CommandContext, scene: Path, host: str, port: int, open_browser: bool, max_points: int
) -> None:
    """Look at a scene in the browser: photos, cameras, points.

    Nothing is computed or written. Needs the extra `mast3r-sfm[viewer]`. Ctrl-C ends it.
    """
    from .command import ViewRequest, run_view

    named = click.get_current_context().get_parameter_source("port") is not ParameterSource.DEFAULT
    run_view(context, ViewRequest(scene, host, port, named, open_browser, max_points))
