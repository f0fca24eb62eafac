"""The command ``mast3r sfm`` (spec 60 F4); what it does is in `mast3r_sfm.sfm_command`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mast3r_model.cli import (
    CommandContext,
    ModelOptions,
    argument,
    command,
    model_options,
    option,
    output_option,
    with_flags,
)

EXAMPLES = [
    "mast3r sfm photos/ -o scene/",
    "mast3r sfm walk.mp4 --fps 2 --graph swin-5-noncyclic -o scene/ --export glb,colmap",
]
FILE = click.Path(path_type=Path)

_FLAGS: list[Callable[..., Any]] = [
    argument("photos", nargs=-1, type=FILE, help="A folder, files, globs, a .txt list, or videos."),
    option("--recursive", is_flag=True, section="Input", help="Look into folders of folders."),
    option("--fps", type=click.FloatRange(min=0, min_open=True), metavar="X", section="Input",
           help="Frames a second of videos, the sharpest of each interval (2 if not said)."),
    option("--max-frames", type=click.IntRange(min=2), default=300, metavar="N", section="Input",
           help="Frames of a video at most."),
    option("--masks", "masks", multiple=True, type=FILE, section="Input",
           help="Image, black where a photo may not match: one for each photo, or a folder."),
    option("--intrinsics", type=FILE, metavar="FILE", section="Input",
           help="Known intrinsics: a 3x3 matrix of all photos, a COLMAP model, or transforms.json."),
    option("--poses", type=FILE, metavar="FILE", section="Input",
           help="Known poses, kept as they are: a COLMAP model, or transforms.json."),
    option("--graph", "--scene-graph", default="auto", metavar="NAME", section="Pairs",
           help="complete, swin-N[-noncyclic], logwin-N[-noncyclic], oneref-I, retrieval-NA-K, or auto."),
    option("--pairs", "pairs_file", type=FILE, metavar="FILE", section="Pairs",
           help="List of pairs, as `mast3r pairs` writes it, instead of a graph."),
    option("--size", "--image-size", type=click.IntRange(min=32), default=512, metavar="N",
           section="Quality", help="Long side of the network's input."),
    option("--quality", type=click.Choice(["coarse", "refine", "refine+depth"]), default="refine+depth",
           section="Quality", help="coarse: 3D matches only; refine: reprojection too; +depth: depths too."),
    option("--solver", type=click.Choice(["lm", "adam"]), default="lm", section="Quality",
           help="lm: second order; adam: upstream's schedule."),
    option("--matching-confidence", type=float, default=0.0, metavar="X", section="Quality",
           help="Pairs whose best match is not above this do not count as matched."),
    option("--shared-intrinsics", is_flag=True, section="Quality",
           help="All photos are from one camera with one zoom."),
    option("--clean-depth/--no-clean-depth", default=True, section="Quality",
           help="Drop points in front of what other photos see."),
    option("--min-confidence", type=float, metavar="X", section="Quality", show_default="by the network",
           help="Of points in the cloud."),
    option("--engine", default="local", metavar="NAME", section="Model and device",
           help="Who computes the predictions: local, multi-gpu, ray."),
    option("--cache", type=FILE, metavar="DIR", section="Output", show_default="DIR/cache of --output",
           help="Where predictions are kept: the next run computes only what is missing."),
    option("--export", default="colmap,nerfstudio,glb,ply,depth", metavar="LIST", section="Output",
           help="Formats, separated by commas."),
    output_option(help="Folder of the scene.", metavar="DIR", default=None),
    model_options,
]  # fmt: skip


@command("sfm", examples=EXAMPLES)
@with_flags(_FLAGS)
def sfm(context: CommandContext, *, model: ModelOptions, **flags: Any) -> None:
    """Photos or a video to cameras, depth and points.

    Writes a COLMAP model in sparse/0, transforms.json, scene.glb, points.ply, depth and confidence maps, and
    report.json into the output folder. Run again, it computes only what is missing.
    """
    from .sfm_command import SfmRequest, run_sfm

    if not flags["photos"]:
        raise click.UsageError("name a folder of photos, or a video")
    with model.session():
        run_sfm(context, SfmRequest(**flags), model)
