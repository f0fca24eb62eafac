"""Medians and recalls over the queries of a run (spec 50 A8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import PoseError
from .thresholds import DEFAULT_THRESHOLDS, checked_thresholds, threshold_label

if TYPE_CHECKING:
    from mast3r_visloc.datasets import Thresholds


@dataclass(frozen=True)
class Summary:
    """What a run did, over all its queries.

    Attributes:
        name: of the run or the dataset.
        queries: number of all queries.
        localised: number of those with a pose.
        without_truth: number of queries that have no true pose; they are in no figure below.
        median_position: metres; infinite if half of the evaluated queries failed, None if none was evaluated.
        median_rotation: degrees, likewise.
        thresholds: (metres, degrees) of the recalls.
        recalls: percent of the evaluated queries with both errors strictly below each threshold; empty if
            none was evaluated.
    """

    name: str
    queries: int
    localised: int
    without_truth: int
    median_position: float | None
    median_rotation: float | None
    thresholds: tuple[tuple[float, float], ...]
    recalls: tuple[float, ...]

    @property
    def evaluated(self) -> int:
        """Number of queries that the medians and recalls are over."""
        return self.queries - self.without_truth


def recall(errors: Iterable[PoseError], threshold: tuple[float, float]) -> float:
    """Percent of the queries with both errors strictly below the threshold.

    Args:
        errors: of at least one query; failures are infinite.
        threshold: (metres, degrees).
    """
    return 100.0 * float(np.mean([error.below(threshold) for error in errors]))


def summarize(
    name: str,
    errors: Iterable[PoseError | None],
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    *,
    localised: int | None = None,
) -> Summary:
    """Medians and recalls.

    Args:
        name: of the run or the dataset.
        errors: one for each query: `FAILED` for a failure, None where no true pose is known. The latter are
            left out of the figures and counted apart (spec 50 B, trap 16).
        thresholds: (metres, degrees).
        localised: number of queries with a pose; None counts the finite errors.

    Raises:
        ConfigError: thresholds that are not positive.
    """
    pairs, given = checked_thresholds(thresholds), list(errors)
    known = [error for error in given if error is not None]
    found = sum(np.isfinite(error.position) for error in known) if localised is None else localised
    medians: tuple[float | None, float | None] = (None, None)
    if known:
        position, rotation = np.array([(error.position, error.rotation) for error in known]).T
        medians = float(np.median(position)), float(np.median(rotation))
    recalls = tuple(recall(known, pair) for pair in pairs) if known else ()
    return Summary(name, len(given), int(found), len(given) - len(known), *medians, pairs, recalls)


def summary_line(summary: Summary) -> str:
    """One line with upstream's layout and plain numbers (spec 50 A8, trap 25).

    ``NAME: 14 images - median_pos_error=0.2, median_angular_error=2.5  - acc@0.1m,1deg=21.429  - ...``.
    Queries without a true pose are named where there are any: ``NAME: 14 images (3 without ground truth)``.
    """
    line = f"{summary.name}: {summary.queries} images"
    if summary.without_truth:
        line += f" ({summary.without_truth} without ground truth)"
    if not summary.recalls:
        return line
    line += f" - median_pos_error={summary.median_position}, median_angular_error={summary.median_rotation}"
    for threshold, percent in zip(summary.thresholds, summary.recalls, strict=True):
        line += f"  - acc@{threshold_label(threshold)}={percent:.3f}"
    return line
