"""The command ``mast3r evaluate scenes``; what it does is in `command`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mast3r_model.cli import CommandContext, argument, command, option, output_option

FILE = click.Path(path_type=Path)


@command(
    "scenes",
    examples=[
        "mast3r evaluate scenes scene/ truth/sparse/0",
        "mast3r evaluate scenes scene/ transforms.json --per-image -o errors.json",
    ],
    items="cameras",
)
@argument(
    "reconstruction", type=FILE, help="Folder that `mast3r sfm` wrote, a COLMAP model, or transforms.json."
)
@argument("truth", type=FILE, help="Known cameras: a COLMAP model, transforms.json, or a scene's folder.")
@option("--per-image", is_flag=True, section="Output", help="Show each image's errors too.")
@output_option(help="JSON file with all numbers.")
def evaluate_scenes(context: CommandContext, **flags: Any) -> None:
    """Measure a reconstruction's cameras against known ones.

    Rotations and centres are compared after one similarity of the whole; RRA, RTA and mAA(30) over pairs of
    images, where a pair with an image that is missing counts as wrong. Images are matched by name.
    """
    from .command import SceneEvaluationRequest, run_scene_evaluation

    run_scene_evaluation(context, SceneEvaluationRequest(**flags))
