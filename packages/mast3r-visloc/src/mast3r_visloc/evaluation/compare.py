"""A file of poses against the true ones, without running anything (spec 50 C2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError

from .aggregate import Summary, summarize
from .errors import FAILED, PoseError, pose_error
from .names import match_names
from .thresholds import DEFAULT_THRESHOLDS
from .truth import GroundTruth

if TYPE_CHECKING:
    from mast3r_visloc.datasets import Thresholds


@dataclass(frozen=True, eq=False)
class Comparison:
    """How good the poses of a file are.

    Attributes:
        summary: over all queries.
        errors: by name of the query; `FAILED` where the file has no line, None where no truth is known.
        missing: queries without a line in the file: they count as failures.
        without_truth: poses of the file that nothing is known about: they count nowhere.
    """

    summary: Summary
    errors: Mapping[str, PoseError | None]
    missing: tuple[str, ...]
    without_truth: tuple[str, ...]


def compare_poses(
    poses: Mapping[str, Float[np.ndarray, "4 4"]],
    truth: GroundTruth,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    *,
    queries: Iterable[str] | None = None,
    name: str = "poses",
) -> Comparison:
    """Errors of poses that somebody has computed.

    A query without a line counts as a failure: a method that leaves out what it is not sure about is not
    better for it. Which photos are queries must therefore be known where the truth holds other photos too,
    as a model of map and queries does.

    Args:
        poses: 4x4 cam2world by name, see `read_poses`; names may be shorter than those of the truth.
        truth: true poses.
        thresholds: (metres, degrees).
        queries: names of the photos that should have been localised; None for all of the truth.
        name: of the run, for the summary.

    Raises:
        InputError: no pose has a truth, or a query has none.
        ConfigError: thresholds that are not positive.
    """
    true_poses = truth.poses if queries is None else truth.of(queries, complete=True)
    truth_name = match_names(poses, true_poses)
    if not truth_name:
        raise InputError(
            f"none of the {len(poses)} poses has a true pose in {truth.source}",
            f"names of poses are like {next(iter(poses), '-')}, those of the truth like "
            f"{next(iter(true_poses), '-')}",
        )
    estimated = {truth_name[short]: pose for short, pose in poses.items() if short in truth_name}
    errors: dict[str, PoseError | None] = {
        query: pose_error(estimated[query], true_pose) if query in estimated else FAILED
        for query, true_pose in true_poses.items()
    }
    unknown = tuple(short for short in poses if short not in truth_name)
    missing = tuple(query for query in true_poses if query not in estimated)
    errors |= dict.fromkeys(unknown)
    summary = summarize(name, errors.values(), thresholds, localised=len(poses))
    return Comparison(summary, errors, missing, unknown)
