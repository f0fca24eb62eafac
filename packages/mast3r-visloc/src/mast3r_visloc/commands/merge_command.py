"""What ``mast3r visloc merge`` does: the shards of ``evaluate --shard I/N`` become one run (spec 50 D6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mast3r_model.cli import CommandContext
from mast3r_visloc.evaluation import Run, RunFiles, merge_runs, read_run, summary_line
from mast3r_visloc.evaluation.names import NameStyle
from mast3r_visloc.evaluation.pose_files import OnFailure
from mast3r_visloc.evaluation.reading import missing_shards

from .compare_runs import say_table

_RESULTS, _BENCHMARK = "_results.txt", "_ltvl.txt"


@dataclass(frozen=True)
class MergeRequest:
    """The flags of the command; their help texts say what they are."""

    runs: tuple[Path, ...]
    name_style: NameStyle
    on_failure: OnFailure | None
    report: bool
    output: Path
    overwrite: bool


def run_merge(context: CommandContext, request: MergeRequest) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    shards = [read_run(folder) for folder in request.runs]
    parity = all(bool(shard.options.get("parity")) for shard in shards)
    label = _upstream_label(context, shards)
    whole = merge_runs(
        request.runs,
        request.output,
        files=RunFiles(
            name_style=request.name_style,
            on_failure=request.on_failure or ("identity" if parity else "skip"),
            upstream_label=label,
            page=request.report,
        ),
        overwrite=request.overwrite,
    )
    missing = missing_shards(shards)
    if missing:
        context.partial(f"shards are missing: {', '.join(missing)}; {whole.folder} holds the others")
    say_table(context, [whole.summary])
    context.say(summary_line(whole.summary))
    context.note(f"written: {whole.folder} ({len(shards)} runs, {len(whole.records):,} queries)")
    context.result(
        output=whole.folder, queries=len(whole.records), summary=whole.summary, missing=list(missing)
    )


def _upstream_label(context: CommandContext, shards: Sequence[Run]) -> str | None:
    """The label of upstream's result files, where every shard has them under the same one."""
    found = {_labels(shard.folder) for shard in shards}
    if len(found) == 1 and len(labels := found.pop()) == 1:
        return next(iter(labels))
    if any(found) or len(found) > 1:
        context.warn("upstream's result files are not merged: the runs have none, or several, of one --label")
    return None


def _labels(folder: Path) -> frozenset[str]:
    names = {path.name for path in folder.glob("*.txt")}
    labels = (name.removesuffix(_RESULTS) for name in names if name.endswith(_RESULTS))
    return frozenset(label for label in labels if label + _BENCHMARK in names)
