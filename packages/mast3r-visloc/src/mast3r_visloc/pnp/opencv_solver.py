"""PnP by OpenCV's SQPNP in RANSAC, registered as ``cv2`` (spec 50 A7): upstream's default, often slow."""

from __future__ import annotations

import logging

import cv2
import numpy as np
from jaxtyping import Float

from mast3r_visloc.cameras import Camera

from .contract import PnPResult
from .lifting import lift
from .outcome import LEAST_POINTS, solved, unsolved

_logger = logging.getLogger("mast3r.visloc")

MAX_ITERATIONS = 10_000
CONFIDENCE = 0.9999


def solve_opencv(
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    camera: Camera,
    threshold_px: float,
    seed: int,
    weights: Float[np.ndarray, " n"] | None = None,
) -> PnPResult:
    """Find the pose that most correspondences agree with; see `PnPSolver`.

    OpenCV sees undistorted pixels. It has a seed of its own, so `seed` changes nothing, but the order of the
    points does (spec 50 B). Weights are ignored.
    """
    lifted = lift(camera, points2d)
    info = {"solver": "cv2"}
    if len(lifted.points2d) <= LEAST_POINTS:  # OpenCV takes four, and calls any pose of theirs a success
        return unsolved(
            len(points2d),
            camera,
            f"only {len(lifted.points2d)} points, at least {LEAST_POINTS + 1} needed",
            info,
        )
    try:
        success, rotation_vector, translation, _ = cv2.solvePnPRansac(
            np.ascontiguousarray(points3d[lifted.kept], dtype=np.float64),
            lifted.points2d,
            np.diag([lifted.focal, lifted.focal, 1.0]),
            None,
            flags=cv2.SOLVEPNP_SQPNP,
            iterationsCount=MAX_ITERATIONS,
            reprojectionError=threshold_px,
            confidence=CONFIDENCE,
        )
    except cv2.error as error:  # OpenCV's way to say of degenerate points that they are
        reason = str(error).strip().splitlines()[-1]
        _logger.debug("OpenCV's PnP refused the points: %s", reason)
        return unsolved(len(points2d), camera, f"OpenCV refused the points: {reason}", info)
    if not success:
        return unsolved(len(points2d), camera, "RANSAC found no pose", info)
    matrix = np.column_stack([cv2.Rodrigues(rotation_vector)[0], translation.ravel()])
    return solved(matrix, points2d, points3d, camera, threshold_px, info)
