"""The command ``mast3r export`` (spec 60 F4); what it does is in `mast3r_sfm.export_command`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mast3r_model.cli import CommandContext, argument, command, complete_names, option, output_option

from .appearance import ViewFilters
from .view_options import SECTION, view_options

EXAMPLES = [
    "mast3r export scene/ --format glb --percentile 20 --mesh",
    "mast3r export scene/ --format colmap --format ply --mask-sky -o other/",
]
FILE = click.Path(path_type=Path)


@command("export", examples=EXAMPLES)
@argument("scene", type=FILE, help="Folder that `mast3r sfm` wrote.")
@option(
    "--format",
    "formats",
    multiple=True,
    required=True,
    metavar="NAME",
    section="Output",
    shell_complete=complete_names("exporters", listed=True),
    help="cameras, colmap, depth, glb, nerfstudio, ply, report, or a plugin's. May be repeated.",
)
@view_options
@option(
    "--clean-depth/--no-clean-depth",
    default=False,
    section=SECTION,
    help="Hide points in front of what other photos see; sfm has done it unless told not to.",
)
@option(
    "--only-photo",
    "only_photos",
    multiple=True,
    metavar="NAME",
    section=SECTION,
    help="Show the points of this photo alone. May be repeated.",
)
@output_option(help="Folder for the files; by default the scene's own.", metavar="DIR")
def export(context: CommandContext, *, view: ViewFilters, **flags: Any) -> None:
    """Write a saved scene in other formats, or with other points.

    Nothing is computed again by the network, and the scene itself stays as it is: what one export hides, the
    next can show. In the scene's own folder, files of the same names are replaced.
    """
    from .export_command import ExportRequest, run_export

    run_export(context, ExportRequest(view=view, **flags))
