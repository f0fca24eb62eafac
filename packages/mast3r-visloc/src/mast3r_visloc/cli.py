"""The commands ``mast3r visloc ...`` (spec 60 F4); what they do is in `mast3r_visloc.commands`."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

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

from .cli_flags import (
    BENCHMARKS,
    COUNT,
    FILE,
    MAP,
    MATCHING,
    NAME_STYLES,
    ON_FAILURE,
    OUTPUT,
    POSE,
    PRIOR,
    QUERIES,
    SIZE,
)


@command("localize", examples=[
    "mast3r visloc localize scene/ photo.jpg",
    "mast3r visloc localize sparse/0 --images photos/ queries/ -o out/ --fine",
], items="queries")  # fmt: skip
@with_flags([
    *MAP, *QUERIES, *PRIOR, *MATCHING, *POSE,
    option("--on-failure", type=click.Choice(ON_FAILURE), default="skip", section="Output",
           help="What poses.txt holds for a failure."),
    *OUTPUT,
    output_option(help="Folder of poses.txt, report.json, report.html, colmap/ and matches/.", metavar="DIR"),
    model_options,
])  # fmt: skip
def localize(context: CommandContext, *, model: ModelOptions, **flags: Any) -> None:
    """Where were these photos taken? Their poses in a map of photos with known cameras and 3D points.

    Each photo is encoded once, matched with the photos of the map that look most like it, and its pose is
    solved from the map's 3D points.
    """
    from .commands.termination import ends_on_sigterm

    if not flags["photos"] and not flags["queries"]:
        raise click.UsageError("name photos to localise, or --queries FILE")
    with ends_on_sigterm(), model.session():
        from .commands.localize_command import LocalizeRequest, run_localize

        run_localize(context, LocalizeRequest(matching=_taken(flags), **flags), model)


@command("index", examples=["mast3r visloc index scene/", "mast3r visloc index sparse/0 --images photos/"])
@with_flags([
    *MAP,
    SIZE,
    option("--densify", is_flag=True, section="Matching", rare=True,
           help="Predict points of photos without 3D too, for localize --densify."),
    model_options,
])  # fmt: skip
def index(context: CommandContext, *, model: ModelOptions, **flags: Any) -> None:
    """Encode a map's photos once, into MAP/.mast3r, so that every later query is quicker."""
    from .commands.termination import ends_on_sigterm

    with ends_on_sigterm(), model.session():
        from .commands.index_command import IndexRequest, run_index

        run_index(context, IndexRequest(**flags), model)


@command("evaluate", examples=[
    "mast3r visloc evaluate \"VislocSevenScenes('7-scenes', subscene='chess', "
    "pairsfile='APGeM-LM18_top20', topk=1)\" -o chess/",
    "mast3r visloc evaluate out/ other/poses.txt --truth full_model/sparse/0",
], items="queries")  # fmt: skip
@with_flags([
    argument("data", nargs=-1, help="A dataset expression; or runs and files of poses to compare."),
    option("--dataset", hidden=True, help="Upstream's spelling of the expression."),
    option("--truth", type=FILE, metavar="PATH", section="Input",
           help="For runs and files of poses: true ones (COLMAP model, kapture folder, file of poses)."),
    option("--limit", type=COUNT, metavar="N", section="Input", help="Only the first queries."),
    option("--shard", metavar="I/N", section="Input",
           help="Only every N-th query, from number I on; `mast3r visloc merge` joins them."),
    option("--parity", is_flag=True, section="Matching",
           help="Upstream's way to the number, its errors included."),
    option("--matcher", type=click.Choice(["descriptors", "points3d"]), default="descriptors",
           section="Matching", rare=True, help="Of --parity: points3d is the script of plain DUSt3R."),
    option("--retrieval", metavar="NAME|PATH", section="Matching", show_default="the dataset's pairs",
           help="Which photos of the map to try: auto, encoder, all, near, or a retrieval checkpoint."),
    option("--topk", type=COUNT, metavar="N", section="Matching", show_default="the dataset's, else 20",
           help="Of --retrieval: photos of the map to try for each query, at most."),
    *PRIOR, *MATCHING, *POSE,
    option("--thresholds", metavar="LIST", section="Output", show_default="the dataset's",
           help='Of the recalls, "0.25,2 0.5,5 5,10" (metres, degrees), or hloc for those that it prints.'),
    option("--label", "--output-label", default="", metavar="TEXT", section="Output",
           help="Prefix of upstream's result files."),
    option("--on-failure", type=click.Choice(ON_FAILURE), section="Output",
           show_default="skip, with --parity identity", help="What poses.txt holds for a failure."),
    option("--viz-matches", type=int, hidden=True, help="Upstream's window of matches: see report.html."),
    option("--output-dir", type=FILE, hidden=True, help="Upstream's spelling of --output."),
    *OUTPUT,
    output_option(help="Folder of the run.", metavar="DIR"),
    model_options,
])  # fmt: skip
def evaluate(context: CommandContext, *, model: ModelOptions, **flags: Any) -> None:
    """Localise a benchmark's queries and compare with the truth; or compare poses that are there.

    Upstream's command lines run as they are written, with `python3 visloc.py` replaced by
    `mast3r visloc evaluate`.
    """
    from .commands.termination import ends_on_sigterm

    dataset, viz = flags.pop("dataset"), flags.pop("viz_matches")
    output_dir = flags.pop("output_dir")
    if output_dir is not None:
        flags["output"] = flags["output"] or output_dir
    flags["data"] = (*flags["data"], *((dataset,) if dataset else ()))
    if not flags["data"]:
        raise click.UsageError("name a dataset expression, or runs to compare")
    if viz:
        context.note("--viz-matches: the matches are drawn in report.html of --output, not in a window")
    with ends_on_sigterm(), model.session():
        from .commands.evaluate_command import EvaluateRequest, run_evaluate

        run_evaluate(context, EvaluateRequest(matching=_taken(flags), **flags), model)


@command("prepare", examples=[
    "mast3r visloc prepare 7scenes --raw raw/7scenes --out 7-scenes --pairs pairs/",
    "mast3r visloc prepare cambridge --raw raw/cambridge --out cambridge --retrieval encoder",
])  # fmt: skip
@with_flags([
    argument("benchmark", type=click.Choice(BENCHMARKS), help="aachen, cambridge, 7scenes or inloc."),
    option("--raw", type=FILE, required=True, metavar="DIR", section="Input",
           help="The public release, unpacked; it is never written to."),
    option("--scene", "scenes", multiple=True, metavar="NAME", section="Input",
           help="Only these scenes; all that are there if not said."),
    option("--pairs", type=FILE, metavar="PATH", section="Pairs",
           help="Photos of the map to try for each query: a file, or a folder with one for each scene."),
    option("--retrieval", metavar="NAME|PATH", section="Pairs",
           help="Make these pairs: encoder, or a retrieval checkpoint."),
    option("--topk", type=COUNT, default=20, metavar="N", section="Pairs",
           help="Photos of the map for each query."),
    option("--points", type=click.Choice(["nvm", "triangulate"]), default="nvm", section="Map",
           help="cambridge: the release's own points, or new ones from our matches at its poses."),
    option("--neighbours", type=COUNT, default=20, metavar="N", section="Map",
           help="Of --points triangulate: photos that each is matched with."),
    option("--legacy-registration", is_flag=True, section="Map",
           help="7scenes: register depth as kapture's importer does, errors included."),
    option("--cutout-poses", is_flag=True, section="Map",
           help="inloc: work out the pose of every cutout from its scan."),
    option("--workers", type=COUNT, default=1, metavar="N", section="Model and device", help="Processes."),
    option("--out", type=FILE, required=True, metavar="DIR", section="Output",
           help="Folder to write; what is finished there stays."),
    model_options,
])  # fmt: skip
def prepare(context: CommandContext, *, model: ModelOptions, **flags: Any) -> None:
    """Prepare a localisation benchmark from its public release, for `mast3r visloc evaluate`."""
    from .commands.termination import ends_on_sigterm

    with ends_on_sigterm(), model.session():
        from .commands.prepare_command import run_prepare_command

        run_prepare_command(context, flags, model)


@command("export", examples=[
    "mast3r visloc export out/ --format ltvl -o submission.txt",
    "mast3r visloc export out/ --format colmap -o model/",
])  # fmt: skip
@with_flags([
    argument("run", type=FILE, help="Folder of `localize` or `evaluate`."),
    option("--format", type=click.Choice(["ltvl", "hloc", "colmap", "csv"]), required=True,
           section="Output", help="ltvl: the online benchmark's; hloc: the same, the nearest photo's pose "
           "for failures; colmap: a model of the photos; csv: a table."),
    option("--name-style", type=click.Choice(NAME_STYLES), section="Output",
           show_default="base for ltvl and hloc", help="How much of the names to write."),
    option("--on-failure", type=click.Choice(ON_FAILURE), section="Output",
           show_default="skip, for hloc nearest", help="What stands for a failure."),
    output_option(help="File, or folder of the COLMAP model."),
])  # fmt: skip
def export(context: CommandContext, **flags: Any) -> None:
    """Write a run's poses in the formats of others."""
    from .commands.export_command import ExportRequest, run_export

    run_export(context, ExportRequest(**flags))


@command("merge", examples=[
    "mast3r visloc merge shard0/ shard1/ -o chess/",
    "mast3r visloc merge shards/* -o chess/ --no-report",
])  # fmt: skip
@with_flags([
    argument("runs", nargs=-1, required=True, type=FILE, help="Folders of `evaluate --shard I/N`."),
    option("--name-style", type=click.Choice(NAME_STYLES), default="full", section="Output",
           help="Names in poses.txt: the file's, with its folder, or all."),
    option("--on-failure", type=click.Choice(ON_FAILURE), section="Output",
           show_default="skip, of --parity identity", help="What poses.txt holds for a failure."),
    option("--report/--no-report", default=True, section="Output", help="Write report.html."),
    output_option(help="Folder of the whole run.", metavar="DIR", required=True),
])  # fmt: skip
def merge(context: CommandContext, **flags: Any) -> None:
    """Put the parts of a benchmark that were evaluated apart together: one run, one table."""
    from .commands.merge_command import MergeRequest, run_merge

    run_merge(context, MergeRequest(**flags))


def _taken(flags: dict[str, Any]) -> Any:
    """Take the matching flags out of all flags."""
    import dataclasses

    from .commands.matching_flags import MatchingFlags

    shown = click.get_current_context()
    given = frozenset(
        name for name in shown.params if shown.get_parameter_source(name) is not ParameterSource.DEFAULT
    )
    names = [field.name for field in dataclasses.fields(MatchingFlags) if field.name != "given"]
    return MatchingFlags(**{name: flags.pop(name) for name in names}, given=given)
