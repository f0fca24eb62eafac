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
    complete_names,
    model_options,
    option,
    output_option,
    with_flags,
)

from .appearance import ViewFilters
from .graph_names import complete_graph, complete_retriever
from .view_options import view_options

EXAMPLES = [
    "mast3r sfm photos/ -o scene/",
    "mast3r sfm walk.mp4 --fps 2 --graph swin-5-noncyclic -o scene/ --export glb,colmap",
    "mast3r sfm more_photos/ --add-to scene/",
]
FILE = click.Path(path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)
STEPS = click.IntRange(min=0)

_INPUT: list[Callable[..., Any]] = [
    argument("photos", nargs=-1, type=FILE, help="A folder, files, globs, a .txt list, or videos."),
    option("--recursive", is_flag=True, section="Input", help="Look into folders of folders."),
    option("--strict", is_flag=True, section="Input", help="Stop at a photo that cannot be read."),
    option("--fps", type=POSITIVE, metavar="X", section="Input",
           help="Frames a second of videos, the sharpest of each interval (2 if not said)."),
    option("--max-frames", type=click.IntRange(min=2), default=300, metavar="N", section="Input",
           help="Frames of a video at most."),
    option("--masks", "masks", multiple=True, type=FILE, section="Input",
           help="Image, black where a photo may not match: one for each photo, or a folder."),
    option("--intrinsics", type=FILE, metavar="FILE", section="Input",
           help="Known intrinsics: a 3x3 matrix of all photos, a COLMAP model, or transforms.json."),
    option("--poses", type=FILE, metavar="FILE", section="Input",
           help="Known poses, kept as they are: a COLMAP model, or transforms.json."),
    option("--exif/--no-exif", default=True, section="Input",
           help="Expect the focal lengths that cameras noted in the photos."),
    option("--distance", nargs=3, metavar="A B METRES", section="Input",
           help="A known distance, which fixes the scale: A and B are photos (their cameras), or photo@x,y "
           "(what is seen at that pixel)."),
    option("--add-to", type=FILE, metavar="SCENE", section="Input",
           help="Add the photos to a finished scene, whose own photos stay as they are."),
]  # fmt: skip
_PAIRS: list[Callable[..., Any]] = [
    option("--graph", "--scene-graph", default="auto", metavar="NAME", section="Pairs",
           shell_complete=complete_graph,
           help="complete, swin-N[-noncyclic], logwin-N[-noncyclic], oneref-I, retrieval-NA-K, or auto."),
    option("--retrieval", "--retrieval-model", default="encoder", metavar="NAME|PATH", section="Pairs",
           shell_complete=complete_retriever,
           help="Who says which photos look alike, for a retrieval graph: encoder (the model itself), or a "
           "retrieval checkpoint."),
    option("--pairs", "pairs_file", type=FILE, metavar="FILE", section="Pairs",
           help="List of pairs, as `mast3r pairs` writes it, instead of a graph."),
    option("--verify/--no-verify", default=True, section="Pairs",
           help="Leave out pairs whose matches agree with no common geometry."),
    option("--matching-confidence", type=float, default=0.0, metavar="X", section="Pairs",
           help="Pairs whose best match is below are held by the network's points only."),
]  # fmt: skip
_QUALITY: list[Callable[..., Any]] = [
    option("--size", "--image-size", type=click.IntRange(min=32), default=512, metavar="N",
           section="Quality", help="Long side of the network's input."),
    option("--mapper", type=click.Choice(["sparse", "dense", "colmap", "glomap"]), default="sparse",
           section="Quality", help="sparse: matches and depth; dense: all points of all pairs (DUSt3R); "
           "colmap, glomap: COLMAP's mappers on the matches."),
    option("--quality", type=click.Choice(["coarse", "refine", "refine+depth"]), default="refine+depth",
           section="Quality", help="coarse: 3D matches only; refine: reprojection too; +depth: depths too."),
    option("--solver", type=click.Choice(["lm", "adam"]), default="lm", section="Quality",
           help="lm: second order; adam: upstream's schedule."),
    option("--lr1", type=POSITIVE, metavar="X", section="Quality", rare=True, show_default="0.07",
           help="Of --solver adam: learning rate of the coarse stage."),
    option("--iters1", type=STEPS, metavar="N", section="Quality", rare=True, show_default="300",
           help="Of --solver adam: steps of the coarse stage."),
    option("--lr2", type=POSITIVE, metavar="X", section="Quality", rare=True, show_default="0.01",
           help="Of --solver adam: learning rate of the fine stage."),
    option("--iters2", type=STEPS, metavar="N", section="Quality", rare=True, show_default="300",
           help="Of --solver adam: steps of the fine stage."),
    option("--schedule", type=click.Choice(["linear", "cosine"]), section="Quality", rare=True,
           show_default="linear", help="Of --mapper dense: how its steps fall."),
    option("--iters", type=STEPS, metavar="N", section="Quality", rare=True, show_default="300",
           help="Of --mapper dense: its steps."),
    option("--shared-intrinsics", is_flag=True, section="Quality", help="One camera took all photos."),
    option("--refine", type=click.Choice(["auto", "ba", "none"]), default="auto", section="Quality",
           help="auto: a bundle adjustment of poses and tracks in the end, kept if held-out tracks fit "
           "better; ba: of focal lengths too, kept in any case."),
    option("--clean-depth/--no-clean-depth", default=True, section="Quality",
           help="Drop points in front of what other photos see."),
]  # fmt: skip
_OUTPUT: list[Callable[..., Any]] = [
    option("--engine", default="local", metavar="NAME", section="Model and device",
           shell_complete=complete_names("engines"),
           help="Who computes the predictions: local, multi-gpu, ray."),
    option("--cache", type=FILE, metavar="DIR", section="Output", show_default="DIR/cache of --output",
           help="Where predictions are kept: the next run computes only what is missing."),
    option("--no-cache", is_flag=True, negatable=False, section="Output",
           help="Keep no predictions beyond this run."),
    option("--export", default="colmap,nerfstudio,glb,ply,depth", metavar="LIST", section="Output",
           shell_complete=complete_names("exporters", listed=True),
           help="Formats, separated by commas."),
    option("--viewer", is_flag=True, section="Output",
           help="Watch in the browser: cameras and sparse points as soon as they are there, then the scene, "
           "until Ctrl-C. Needs the extra mast3r-sfm[viewer]."),
    option("--dry-run", is_flag=True, section="Output",
           help="Only say which photos and pairs, and about how long and how much memory."),
    output_option(help="Folder of the scene.", metavar="DIR", default=None),
    model_options,
]  # fmt: skip


@command("sfm", examples=EXAMPLES)
@with_flags([*_INPUT, *_PAIRS, *_QUALITY, view_options, *_OUTPUT])
def sfm(context: CommandContext, *, model: ModelOptions, view: ViewFilters, **flags: Any) -> None:
    """Photos or a video to cameras, depth and points.

    Writes a COLMAP model in sparse/0, transforms.json, scene.glb, points.ply, depth and confidence maps,
    report.json and report.html into the output folder. Run again, it computes only what is missing.
    """
    from .sfm_command import run_sfm
    from .sfm_request import SfmRequest

    if not flags["photos"]:
        raise click.UsageError("name a folder of photos, or a video")
    with model.session():
        run_sfm(context, SfmRequest(view=view, **flags), model)
