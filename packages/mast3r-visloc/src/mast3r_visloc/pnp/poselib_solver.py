"""PnP by PoseLib's LO-RANSAC, registered as ``poselib`` (spec 50 A7, D5): fast, repeatable, the default."""

from __future__ import annotations

import numpy as np
import poselib
from jaxtyping import Float

from mast3r_visloc.cameras import Camera, corner_pixels

from .contract import PnPResult
from .lifting import lift
from .outcome import LEAST_POINTS, solved, unsolved

POSELIB_MODELS = frozenset({"SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"})
"""The models that PoseLib 2.0.5 computes as COLMAP does. It takes others without a word, and is wrong."""

MAX_ITERATIONS = 10_000
CONFIDENCE = 0.9999


def solve_poselib(
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    camera: Camera,
    threshold_px: float,
    seed: int,
    weights: Float[np.ndarray, " n"] | None = None,
) -> PnPResult:
    """Find the pose that most correspondences agree with; see `PnPSolver`.

    Fisheye and other cameras that PoseLib does not know are solved as pinhole cameras, with their points
    lifted by COLMAP. Weights are ignored. PoseLib finds a pose in any noise: look at the inliers.
    """
    if camera.model in POSELIB_MODELS:
        pixels, kept = corner_pixels(points2d), np.ones(len(points2d), dtype=bool)
        made = poselib_camera(camera)
    else:
        lifted = lift(camera, points2d)
        pixels, kept = lifted.points2d, lifted.kept
        made = {
            "model": "SIMPLE_PINHOLE",
            "width": camera.width,
            "height": camera.height,
            "params": [lifted.focal, 0.0, 0.0],
        }
    if len(pixels) < LEAST_POINTS:
        return unsolved(len(points2d), camera, f"only {len(pixels)} points, at least {LEAST_POINTS} needed")
    pose, stats = poselib.estimate_absolute_pose(
        pixels,
        np.ascontiguousarray(points3d[kept], dtype=np.float64),
        made,
        {
            "max_reproj_error": threshold_px,
            "max_iterations": MAX_ITERATIONS,
            "success_prob": CONFIDENCE,
            "seed": seed,
        },
        {},
    )
    info = {"solver": "poselib", "iterations": int(stats["iterations"])}
    return solved(pose.Rt, points2d, points3d, camera, threshold_px, info)


def poselib_camera(camera: Camera) -> dict[str, object]:
    """A camera of one of `POSELIB_MODELS` as PoseLib takes it."""
    return {
        "model": camera.model,
        "width": camera.width,
        "height": camera.height,
        "params": list(camera.params),
    }
