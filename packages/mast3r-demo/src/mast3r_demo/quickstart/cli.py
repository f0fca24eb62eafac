"""The command ``mast3r quickstart`` (spec 60 F1); what it does is in `command`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mast3r_model.cli import CommandContext, ModelOptions, command, model_options, option, output_option

EXAMPLES = [
    "mast3r quickstart",
    "mast3r quickstart -m naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric --size 512 -o official",
]


@command("quickstart", examples=EXAMPLES)
@option(
    "--size",
    "--image-size",
    type=click.IntRange(64, 1024),
    default=256,
    metavar="N",
    section="Quality",
    help="Long side of the network's input; the photos have 320.",
)
@output_option(help="Folder for the results.", metavar="DIR", default=Path("mast3r_quickstart"))
@model_options
def quickstart(context: CommandContext, *, model: ModelOptions, **flags: Any) -> None:
    """The first minute: match and reconstruct a shipped scene, and see how near to the truth that comes.

    Needs no network and no GPU. The scene is rendered, so that cameras and depth are known exactly. Writes
    matches.png, report.html, scene.glb, a COLMAP model and more into the output folder.
    """
    from .command import QuickstartRequest, run_quickstart

    with model.session():
        run_quickstart(context, QuickstartRequest(**flags), model)
