"""The command ``mast3r pairs`` (spec 60 F4); what it does is in `mast3r_sfm.pairs.command`."""

from __future__ import annotations

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
)

from .graph_names import complete_graph, complete_retriever

EXAMPLES = [
    "mast3r pairs photos/ -o pairs.txt",
    "mast3r pairs photos/ --graph retrieval-20-10 --format colmap",
]
FILE = click.Path(path_type=Path)


@command("pairs", examples=EXAMPLES, items="pairs")
@argument("photos", nargs=-1, type=FILE, help="A folder, or files, globs and .txt lists of photos.")
@option("--dir", "folder", type=FILE, hidden=True, help="Upstream's name of the folder.")
@option("--recursive", is_flag=True, section="Input", help="Look into folders of folders.")
@option("--strict", is_flag=True, section="Input", help="Stop at a photo that cannot be read.")
@option(
    "--graph",
    "--scene-graph",
    default="auto",
    shell_complete=complete_graph,
    metavar="NAME",
    section="Pairs",
    help="complete, swin-N[-noncyclic], logwin-N[-noncyclic], oneref-I, retrieval-NA-K, or auto: complete up "
    "to 20 photos, else retrieval-20-10.",
)
@option(
    "--prefilter",
    metavar="seqD|cycD",
    section="Pairs",
    help="Keep pairs at most D photos apart; cyc: after the last comes the first.",
)
@option(
    "--symmetrize/--no-symmetrize",
    default=False,
    section="Pairs",
    help="List every pair both ways round.",
)
@option(
    "--retrieval",
    "--retrieval-model",
    default="encoder",
    shell_complete=complete_retriever,
    metavar="NAME|PATH",
    section="Pairs",
    help="Who says which photos look alike: encoder (the model itself), or a retrieval checkpoint "
    "(..._trainingfree.pth).",
)
@option(
    "--similarity",
    type=FILE,
    metavar="FILE.npy",
    section="Pairs",
    help="How alike the photos are: read if the file is there, else written when it was computed.",
)
@option(
    "--size",
    "--image-size",
    type=click.IntRange(min=16),
    default=512,
    metavar="N",
    section="Quality",
    help="Long side of the network's input.",
)
@option(
    "--format",
    type=click.Choice(["kapture", "hloc", "colmap"]),
    default="kapture",
    section="Output",
    help="kapture: name1, name2, score; the others: name1 name2.",
)
@output_option(default=Path("pairs.txt"), help="The list of pairs.", metavar="FILE")
@model_options
def pairs(context: CommandContext, *, model: ModelOptions, folder: Path | None, **flags: Any) -> None:
    """Choose which photos to match, and write a list of pairs.

    Names are relative to the folder. The network is loaded only if similar photos are looked for.
    """
    from .pairs.command import PairsRequest, run_pairs

    if folder is not None:
        flags["photos"] = (*flags["photos"], folder)
    if not flags["photos"]:
        raise click.UsageError("name a folder of photos")
    with model.session():
        run_pairs(context, PairsRequest(**flags), model)
