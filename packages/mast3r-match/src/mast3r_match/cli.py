"""The commands ``mast3r match`` and ``mast3r evaluate pairs`` (spec 60 F4); what they do is elsewhere."""

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
    complete_dataset,
    model_options,
    option,
    output_option,
    with_flags,
)

EXAMPLES = [
    "mast3r match a.jpg b.jpg --viz matches.png",
    "mast3r match photos/ --pairs pairs.txt -o matches/ --max-matches 2000 --verify fundamental",
]
FILE = click.Path(path_type=Path)

_MATCH_FLAGS: list[Callable[..., Any]] = [
    argument(
        "photos", nargs=-1, type=FILE, help="Two files, a folder, a glob, a .txt list of photos or pairs."
    ),
    option("--recursive", is_flag=True, section="Input", help="Look into folders of folders."),
    option("--strict", is_flag=True, section="Input", help="Stop at a photo that cannot be read."),
    option(
        "--mask",
        "masks",
        multiple=True,
        type=FILE,
        section="Input",
        help="Image, black where a photo may not match: one for each photo, in their order, or a folder.",
    ),
    option(
        "--intrinsics",
        type=FILE,
        section="Input",
        metavar="FILE",
        help="3x3 matrix of the photos' camera in their pixels: for --verify essential, and --fine turns its "
        "windows to the front with it.",
    ),
    option(
        "--pairs",
        "pairs_file",
        type=FILE,
        section="Pairs",
        metavar="FILE",
        help="Two photos a line; without it every photo is matched with every other.",
    ),
    option(
        "--size",
        "--image-size",
        type=click.IntRange(min=16),
        default=512,
        metavar="N",
        section="Quality",
        help="Long side of the network's input.",
    ),
    option(
        "--subsample",
        type=click.IntRange(min=0),
        default=8,
        metavar="N",
        section="Quality",
        help="Step of the grid of pixels to start from; 0: all mutual neighbours.",
    ),
    option(
        "--pixel-tolerance",
        "--pixel-tol",
        "pixel_tol",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="PX",
        section="Quality",
        help="Take one round trip that ends this close to its start.",
    ),
    option(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="X",
        section="Quality",
        help="Drop matches with a lower score.",
    ),
    option(
        "--max-matches",
        type=click.IntRange(min=1),
        metavar="N",
        section="Quality",
        help="Keep the best, spread over the photo.",
    ),
    option(
        "--border",
        type=click.IntRange(min=0),
        default=3,
        metavar="PX",
        section="Quality",
        help="Drop matches closer to the border, in network pixels.",
    ),
    option(
        "--symmetric/--no-symmetric",
        default=False,
        section="Quality",
        help="Decode both ways: twice the work, more matches.",
    ),
    option(
        "--fine/--no-fine",
        "--coarse-to-fine/--no-coarse-to-fine",
        "fine",
        default=False,
        section="Quality",
        help="Match large photos again, window by window.",
    ),
    option(
        "--max-image-size",
        type=click.IntRange(min=64),
        metavar="N",
        section="Quality",
        help="Shrink larger photos to this before --fine.",
    ),
    option(
        "--verify",
        type=click.Choice(["fundamental", "essential", "none"]),
        default="none",
        section="Quality",
        help="Keep the matches that fit one epipolar geometry (RANSAC).",
    ),
    option(
        "--threshold",
        type=click.FloatRange(min=0, min_open=True),
        default=1.5,
        metavar="PX",
        section="Quality",
        help="Of --verify, in pixels of the images as they were matched.",
    ),
    option(
        "--viz",
        type=FILE,
        section="Output",
        metavar="FILE.png",
        help="Picture of the matches (many: a folder).",
    ),
    option(
        "--viz-count",
        type=click.IntRange(min=1),
        default=50,
        metavar="N",
        section="Output",
        help="Lines in the picture.",
    ),
    output_option(
        help="File (.npz, .csv, .json, or .h5 for hloc) for one pair, a folder for many; default "
        "matches.npz, matches/."
    ),
    model_options,
]


@command("match", examples=EXAMPLES, items="pairs")
@with_flags(_MATCH_FLAGS)
def match(context: CommandContext, *, model: ModelOptions, **flags: Any) -> None:
    """Match two photos, or many pairs: keypoints in the photos' own pixels, with scores.

    Writes keypoints0, keypoints1 (N x 2) and scores, with the model and options that made them.
    """
    from .match_command import run_match
    from .match_outputs import MatchRequest

    if not flags["photos"] and flags["pairs_file"] is None:
        raise click.UsageError("name two photos, a folder, or --pairs FILE")
    if flags["verify"] == "essential" and flags["intrinsics"] is None:
        raise click.UsageError("--verify essential needs --intrinsics FILE")
    with model.session():
        run_match(context, MatchRequest(**flags), model)


@command(
    "pairs",
    examples=[
        "mast3r evaluate pairs \"100 @ SyntheticScenes(resolution=(320, 240), split='test', seed=7)\"",
        "mast3r evaluate pairs scannet_pairs_with_gt.txt --json",
    ],
    items="pairs",
)
@with_flags(
    [
        argument(
            "data",
            shell_complete=complete_dataset,
            help="Dataset expression, or a list of pairs with intrinsics and poses (38 columns).",
        ),
        option("--limit", type=click.IntRange(min=1), metavar="N", section="Input", help="Pairs at most."),
        option(
            "--min-covisibility",
            type=click.FloatRange(0, 1),
            default=0.0,
            metavar="X",
            section="Input",
            help="Skip pairs of a dataset whose views share less.",
        ),
        option(
            "--size",
            type=click.IntRange(min=16),
            default=512,
            metavar="N",
            section="Quality",
            help="Long side of the network's input, for a list of pairs.",
        ),
        option("--symmetric/--no-symmetric", default=False, section="Quality", help="Decode both ways."),
        option(
            "--threshold",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            metavar="PX",
            section="Quality",
            help="Of RANSAC, in network pixels.",
        ),
        output_option(help="JSON file with every pair's scores."),
        model_options,
    ]
)
def evaluate_pairs(context: CommandContext, *, model: ModelOptions, **flags: Any) -> None:
    """Measure matches, relative poses and points on pairs of known pose.

    Matches are all mutual nearest neighbours; poses come from them (essential matrix, RANSAC), and again from
    the network's points alone (PnP), both with the known intrinsics.
    """
    from .evaluation.command import EvaluationRequest, run_evaluation

    with model.session():
        run_evaluation(context, EvaluationRequest(**flags), model)
