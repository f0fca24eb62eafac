"""From the matches with all map images to the query's pose, as upstream (spec 50 A5, A7)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float

from mast3r_visloc.cameras import Camera
from mast3r_visloc.pnp.reference import LEAST_POINTS, run_pnp
from mast3r_visloc.poses import Correspondences, Failure, Pose

from .map_matches import MapMatches
from .options import ReferenceOptions
from .views import ReferenceView

_logger = logging.getLogger("mast3r.visloc")


def solve_pose(
    query: ReferenceView,
    candidates: Sequence[str],
    matches: Sequence[MapMatches],
    options: ReferenceOptions,
    timings: Mapping[str, float],
) -> Pose:
    """Find the pose that the matches agree on.

    Upstream reports no inliers: they are counted here, as matches within RANSAC's threshold of the pose.

    Args:
        query: the query's view.
        candidates: names of the map images.
        matches: with each of them, those that are confident enough.
        options: how to solve.
        timings: seconds by stage so far.
    """
    started = time.perf_counter()
    joined = MapMatches.concatenate(matches)
    width, height = query.rgb.size
    threshold = options.threshold_px((width, height))
    drawn = _drawn(len(joined), options)
    _, cam2world = run_pnp(
        joined.query_xy[drawn].astype(np.float32),
        joined.xyz[drawn],
        query.intrinsics,
        list(query.distortion),
        options.pnp_mode,
        threshold,
        (width, height),
    )
    inlier = np.zeros(len(joined), dtype=bool)
    if cam2world is not None:
        inlier = _within(threshold, joined, query, cam2world)
    return Pose(
        name=query.image_name,
        success=cam2world is not None,
        cam2world=cam2world,
        camera=Camera.from_intrinsics(query.intrinsics, (height, width), list(query.distortion)),
        camera_source="dataset",
        num_inliers=int(inlier.sum()),
        candidates=tuple(candidates),
        correspondences=_correspondences(joined, matches, inlier),
        method=None if cam2world is None else "pnp",
        reason=None if cam2world is not None else _reason(candidates, joined),
        timings={**timings, "pnp": time.perf_counter() - started},
    )


def _drawn(count: int, options: ReferenceOptions) -> slice | np.ndarray:
    """Rows that go into PnP: all, or a random subset where there are too many."""
    if count <= options.pnp_max_points:
        return slice(None)
    _logger.info("%d of %d points go into PnP", options.pnp_max_points, count)
    return np.random.default_rng(options.seed).choice(count, options.pnp_max_points, replace=False)


def _within(
    threshold: float, matches: MapMatches, query: ReferenceView, cam2world: Float[np.ndarray, "4 4"]
) -> Bool[np.ndarray, " n"]:
    """Matches in front of the camera whose reprojection error is at most the threshold."""
    world2cam = np.linalg.inv(cam2world)
    in_camera = matches.xyz.astype(np.float64) @ world2cam[:3, :3].T + world2cam[:3, 3]
    projected, _ = cv2.projectPoints(
        in_camera,
        np.zeros(3),
        np.zeros(3),
        np.asarray(query.intrinsics, dtype=np.float64),
        np.asarray(query.distortion, dtype=np.float64),
    )
    error = np.linalg.norm(projected[:, 0] - matches.query_xy, axis=1)
    return (in_camera[:, 2] > 0) & (error <= threshold)


def _correspondences(
    joined: MapMatches, matches: Sequence[MapMatches], inlier: Bool[np.ndarray, " n"]
) -> Correspondences:
    return Correspondences(
        query_xy=joined.query_xy,
        map_image=np.repeat(np.arange(len(matches)), [len(part) for part in matches]),
        map_xy=joined.map_xy,
        xyz=joined.xyz.astype(np.float64),
        confidence=joined.confidence,
        inlier=inlier,
    )


def _reason(candidates: Sequence[str], joined: MapMatches) -> Failure:
    if not candidates:
        return "no_candidates"
    return "few_matches" if len(joined) < LEAST_POINTS else "few_inliers"
