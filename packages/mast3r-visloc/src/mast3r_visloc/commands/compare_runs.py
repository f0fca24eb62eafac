"""Runs and files of poses in one table: the half of ``mast3r visloc evaluate`` that localises nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_model.cli import CommandContext
from mast3r_visloc.datasets import Thresholds
from mast3r_visloc.evaluation import (
    DEFAULT_THRESHOLDS,
    Summary,
    compare_poses,
    read_poses,
    read_run,
    read_truth,
    result_table,
    summarize,
)

MISSING_NAMED = 5
WIDEST = 200
"""Characters of a line of the table, which is not to be folded."""


def compare_runs(
    context: CommandContext, paths: Sequence[Path], truth: Path | None, thresholds: Thresholds | None
) -> None:
    """Runs and files of poses against known poses, or runs against the truth that they know.

    Args:
        context: of the command.
        paths: folders of runs, files of poses.
        truth: known poses; None for the errors that the runs hold.
        thresholds: (metres, degrees) of the recalls; None for the runs' own.

    Raises:
        InputError: a path that is not there or cannot be read, or a file of poses without `truth`.
    """
    summaries: list[Summary] = []
    for given in paths:
        if not given.exists():
            raise InputError(f"no such run or file of poses: {given}", "check the path")
        if truth is None:
            if not given.is_dir():
                raise InputError(f"{given} needs known poses to compare with", "give --truth PATH")
            run = read_run(given)
            summaries.append(
                summarize(
                    run.name,
                    (record.error for record in run.records),
                    thresholds or run.thresholds,
                    localised=sum(record.success for record in run.records),
                )
            )
            continue
        poses, queries = _poses_of(given)
        compared = compare_poses(
            poses,
            read_truth(truth),
            thresholds or DEFAULT_THRESHOLDS,
            name=given.name,
            queries=queries,
        )
        if compared.missing:
            some = ", ".join(sorted(compared.missing)[:MISSING_NAMED])
            more = ", ..." if len(compared.missing) > MISSING_NAMED else ""
            count = len(compared.missing)
            context.note(f"{given.name}: no pose of {count:,} photos, which count as failures: {some}{more}")
        summaries.append(compared.summary)
    say_table(context, summaries)
    context.result(runs=summaries)


def _poses_of(given: Path) -> tuple[dict[str, Float[np.ndarray, "4 4"]], list[str] | None]:
    """Poses by name, and the names of all queries where that is known."""
    if not given.is_dir():
        return read_poses(given), None
    run = read_run(given)
    poses = {record.name: np.array(record.cam2world) for record in run.records if record.success}
    return poses, [record.name for record in run.records]


def say_table(context: CommandContext, summaries: Sequence[Summary]) -> None:
    """The table, as wide as it needs to be."""
    from rich.console import Console

    console = Console(width=WIDEST, color_system=None)
    with console.capture() as captured:
        console.print(result_table(summaries))
    for line in captured.get().splitlines():
        context.say(line.rstrip())
