"""The command ``mast3r colmap`` (spec 60 F4); what it does is in `mast3r_sfm.colmap.command`."""

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

from .graph_names import complete_graph

EXAMPLES = [
    "mast3r colmap photos/ -o colmap/ --mapper glomap",
    "mast3r colmap -i kapture/ --pairs pairs.txt -o colmap/",
]
FILE = click.Path(path_type=Path)

_FLAGS: list[Callable[..., Any]] = [
    argument("photos", nargs=-1, type=FILE,
             help="A folder, files, globs, a .txt list, videos, or a kapture folder."),
    option("--recursive", is_flag=True, section="Input", help="Look into folders of folders."),
    option("--strict", is_flag=True, section="Input", help="Stop at a photo that cannot be read."),
    option("--fps", type=click.FloatRange(min=0, min_open=True), metavar="X", section="Input",
           help="Frames a second of videos, the sharpest of each interval (2 if not said)."),
    option("--max-frames", type=click.IntRange(min=2), default=300, metavar="N", section="Input",
           help="Frames of a video at most."),
    option("-i", "--input", "kapture", type=FILE, metavar="DIR", section="Input",
           help="A kapture folder: photos with cameras and, maybe, poses."),
    option("--dir", "folder", type=FILE, hidden=True, help="Upstream's name of a folder of photos."),
    option("--dir-same-camera", type=FILE, hidden=True, help="Upstream's --dir with --shared-camera."),
    option("--shared-camera", is_flag=True, section="Input", help="One camera took all photos."),
    option("--intrinsics", type=FILE, metavar="FILE", section="Input",
           help="Known intrinsics, kept as they are: a 3x3 matrix of all photos, a COLMAP model, or "
           "transforms.json."),
    option("--poses", type=FILE, metavar="FILE", section="Input",
           help="Known poses, for --mapper triangulate: a COLMAP model, or transforms.json."),
    option("--ignore-poses", "--ignore-pose", "ignore_poses", is_flag=True, section="Input",
           help="Do as if a kapture folder had no poses."),
    option("--graph", "--scene-graph", default="auto", metavar="NAME", section="Pairs",
           shell_complete=complete_graph,
           help="complete, swin-N[-noncyclic], logwin-N[-noncyclic], oneref-I, retrieval-NA-K, or auto."),
    option("--pairs", "--pairsfile-path", "pairs_file", type=FILE, metavar="FILE", section="Pairs",
           help="List of pairs, as `mast3r pairs` writes it, instead of a graph."),
    option("--size", "--image-size", type=click.IntRange(min=32), default=512, metavar="N",
           section="Quality", help="Long side of the network's input."),
    option("--dense/--no-dense", "--dense-matching/--no-dense-matching", "dense", default=False,
           section="Quality", help="All mutual neighbours among confident pixels."),
    option("--pixel-tolerance", "--pixel-tol", "pixel_tolerance", type=click.FloatRange(min=0), default=0.0,
           metavar="PX", section="Quality", help="Take one round trip that ends this close to its start."),
    option("--min-confidence", "--conf-thr", "min_confidence", type=float, default=1.001, metavar="X",
           section="Quality", help="Drop matches with a lower score."),
    option("--verify/--no-verify", default=True, section="Quality",
           help="Keep matches that fit one geometry per pair."),
    option("--skip-geometric-verification", is_flag=True, hidden=True, negatable=False,
           help="Upstream's name of --no-verify."),
    option("--min-track", "--min-len-track", "min_track", type=click.IntRange(min=2), default=5, metavar="N",
           section="Quality", help="Drop keypoints whose track has fewer (or than there are photos)."),
    option("--mapper", type=click.Choice(["pycolmap", "glomap", "triangulate"]), section="Quality",
           show_default="triangulate where poses are known, else pycolmap",
           help="pycolmap: incremental; glomap: global; triangulate: points for known poses."),
    option("--use-glomap-mapper", is_flag=True, hidden=True, negatable=False,
           help="Upstream's name of --mapper glomap."),
    option("--glomap-bin", hidden=True, help="Upstream's program; GLOMAP is built in."),
    output_option(help="Folder for database.db and sparse/.", metavar="DIR", default=Path("colmap")),
    model_options,
]  # fmt: skip


@command("colmap", examples=EXAMPLES)
@with_flags(_FLAGS)
def colmap(
    context: CommandContext,
    *,
    model: ModelOptions,
    folder: Path | None,
    dir_same_camera: Path | None,
    skip_geometric_verification: bool,
    use_glomap_mapper: bool,
    glomap_bin: str | None,
    **flags: Any,
) -> None:
    """Match photos by the network, and map them by COLMAP or GLOMAP.

    Writes a COLMAP database, and the models in sparse/0, sparse/1, ...: the largest first.
    """
    from .colmap.command import run_colmap
    from .colmap.inputs import ColmapRequest

    given = [path for path in (*flags["photos"], folder, dir_same_camera) if path is not None]
    if not given and flags["kapture"] is None:
        raise click.UsageError("name a folder of photos, or -i a kapture folder")
    if given and flags["kapture"] is not None:
        raise click.UsageError("name photos, or -i a kapture folder: not both")
    if flags["dense"] and flags["pixel_tolerance"] > 0:
        raise click.UsageError("--pixel-tolerance means nothing with --dense")
    if use_glomap_mapper and flags["mapper"] not in (None, "glomap"):
        raise click.UsageError(f"--use-glomap-mapper and --mapper {flags['mapper']}: give one of them")
    if glomap_bin is not None:
        context.note("--glomap-bin is not needed: GLOMAP runs in this process")
    flags["photos"] = tuple(given)
    flags["shared_camera"] |= dir_same_camera is not None
    flags["verify"] &= not skip_geometric_verification
    flags["mapper"] = "glomap" if use_glomap_mapper else flags["mapper"]
    with model.session():
        run_colmap(context, ColmapRequest(**flags), model)
