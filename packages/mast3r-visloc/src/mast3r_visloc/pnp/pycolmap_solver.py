"""PnP by COLMAP's LO-RANSAC, registered as ``pycolmap`` (spec 50 A7, D5): knows every camera model."""

from __future__ import annotations

import numpy as np
import pycolmap
from jaxtyping import Float

from mast3r_visloc.cameras import Camera, corner_pixels

from .contract import PnPResult
from .outcome import LEAST_POINTS, solved, unsolved

MIN_ITERATIONS, MAX_ITERATIONS = 1_000, 100_000
MAX_FOCAL_ITERATIONS = 10_000
"""With an unknown focal length each takes much longer; they suffice for 18 % inliers."""

CONFIDENCE = 0.9999
LEAST_INLIER_RATIO = 0.01


def solve_pycolmap(
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    camera: Camera,
    threshold_px: float,
    seed: int,
    weights: Float[np.ndarray, " n"] | None = None,
) -> PnPResult:
    """Find the pose that most correspondences agree with; see `PnPSolver`. Weights are ignored."""
    if len(points2d) < LEAST_POINTS:
        return unsolved(len(points2d), camera, f"only {len(points2d)} points, at least {LEAST_POINTS} needed")
    found = pycolmap.estimate_and_refine_absolute_pose(
        corner_pixels(points2d),
        np.ascontiguousarray(points3d, dtype=np.float64),
        camera.to_colmap(),
        estimation_options=estimation_options(threshold_px, seed),
    )
    if found is None or found["num_inliers"] == 0:
        return unsolved(
            len(points2d), camera, "RANSAC found no pose that any points agree with", {"solver": "pycolmap"}
        )
    return solved(
        found["cam_from_world"].matrix(), points2d, points3d, camera, threshold_px, {"solver": "pycolmap"}
    )


def estimation_options(
    threshold_px: float, seed: int, *, estimate_focal: bool = False
) -> pycolmap.AbsolutePoseEstimationOptions:
    """Settings of COLMAP's RANSAC.

    Args:
        threshold_px: largest reprojection error of an inlier, in pixels.
        seed: of the random choices.
        estimate_focal: also look for the focal length.
    """
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.estimate_focal_length = estimate_focal
    options.ransac.max_error = threshold_px
    options.ransac.min_inlier_ratio = LEAST_INLIER_RATIO
    options.ransac.min_num_trials = MIN_ITERATIONS
    options.ransac.max_num_trials = MAX_FOCAL_ITERATIONS if estimate_focal else MAX_ITERATIONS
    options.ransac.confidence = CONFIDENCE
    options.ransac.random_seed = seed
    return options
