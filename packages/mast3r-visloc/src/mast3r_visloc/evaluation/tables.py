"""Several runs side by side, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from mast3r_model import InputError

from .aggregate import Summary


def result_table(summaries: Sequence[Summary]) -> Table:
    """A row for each run, a column for each threshold.

    Args:
        summaries: of one or more runs with the same thresholds.

    Raises:
        InputError: no run, or runs with different thresholds.
    """
    if not summaries:
        raise InputError("a table of results needs at least one run")
    thresholds = summaries[0].thresholds
    for summary in summaries[1:]:
        if summary.thresholds != thresholds:
            raise InputError(
                f"{summary.name} has other thresholds than {summaries[0].name}:"
                f" {summary.thresholds} and {thresholds}",
                "evaluate all runs with the same --thresholds",
            )
    table = Table(box=None, pad_edge=False)
    table.add_column("run", overflow="fold")
    heads = ["queries", "localised", "median m", "median deg"]
    heads += [f"{position:.12g} m, {rotation:.12g}°" for position, rotation in thresholds]
    for head in heads:
        table.add_column(head, justify="right")
    missing = any(summary.without_truth for summary in summaries)
    if missing:
        table.add_column("without truth", justify="right")
    for summary in summaries:
        table.add_row(*_cells(summary), *([str(summary.without_truth)] if missing else []))
    return table


def _cells(summary: Summary) -> list[str]:
    recalls = [f"{percent:.1f} %" for percent in summary.recalls] or ["–"] * len(summary.thresholds)
    return [
        summary.name,
        str(summary.queries),
        str(summary.localised),
        _number(summary.median_position, 3),
        _number(summary.median_rotation, 2),
        *recalls,
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
