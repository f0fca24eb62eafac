"""Before the first query and after each: whether a map can localise at all, and what is told of a query."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence

from mast3r_model import InputError
from mast3r_visloc.cameras import QueryCamera
from mast3r_visloc.datasets import Query
from mast3r_visloc.maps import LocalizationMap
from mast3r_visloc.poses import Failure, Pose

from .options import LocalizationOptions
from .search import Solution

LEAST_POSED = 2
"""Images with poses that a map without 3D needs."""


def check_map(localization_map: LocalizationMap, options: LocalizationOptions) -> None:
    """See that queries can be localised at all.

    Args:
        localization_map: in which.
        options: how.

    Raises:
        InputError: no image of the map has 3D points, and its cameras alone are not to be used either.
    """
    if any(image.load_points is not None for image in localization_map.images):
        return
    posed = sum(image.cam2world is not None for image in localization_map.images)
    if not (options.align or options.densify):
        hint = ", or use its cameras alone (--align, --densify)" if posed >= LEAST_POSED else ""
        raise InputError(
            f"{localization_map.source}: no image of the map has 3D points",
            f"give a map with points or depth, such as what `mast3r sfm DIR -o MAP` makes{hint}",
        )
    if posed < LEAST_POSED:
        raise InputError(
            f"{localization_map.source}: {posed} images of the map have a pose and none has 3D points",
            f"--align and --densify need {LEAST_POSED} images with poses",
        )


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The stage that ends now."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now


def not_aligned(solution: Solution, names: Sequence[str]) -> Solution:
    """A failure of PnP where alignment failed too: it tried images without 3D as well.

    Args:
        solution: of PnP.
        names: of the map images that alignment tried.
    """
    if solution.names or not names:
        return solution
    info = {**solution.result.info, "failed": "few_inliers"}
    return dataclasses.replace(
        solution, names=tuple(names), result=dataclasses.replace(solution.result, info=info)
    )


def as_pose(query: Query, camera: QueryCamera, solution: Solution, seconds: Mapping[str, float]) -> Pose:
    """What the user is told of a query.

    Args:
        query: the photo.
        camera: that its pose was looked for with.
        solution: what was found.
        seconds: by stage.
    """
    result = solution.result
    reason: Failure | None = None
    if not result.success:
        known: dict[object, Failure] = {"few_matches": "few_matches", "chance": "chance"}
        reason = known.get(result.info.get("failed"), "few_inliers") if solution.names else "no_candidates"
    warnings = result.info.get("warnings", ())
    return Pose(
        name=query.name,
        success=result.success,
        cam2world=result.cam2world,
        camera=result.camera,
        camera_source=camera.source,
        num_inliers=result.num_inliers,
        candidates=tuple(solution.names),
        correspondences=solution.correspondences,
        method=solution.method if result.success else None,
        reason=reason,
        covariance=result.covariance,
        warnings=tuple(map(str, warnings)) if isinstance(warnings, (list, tuple)) else (),
        timings=dict(seconds),
    )
