"""How sure a pose is (spec 50 D5)."""

from __future__ import annotations

import numpy as np
import pycolmap
from jaxtyping import Bool, Float

from mast3r_visloc.cameras import Camera, corner_pixels

from .residuals import reprojection_errors

POSE_PARAMETERS = 6

_UNROBUST = 1e3
"""Width of the loss in thresholds, so wide that it is a square for all inliers."""


def pose_covariance(
    cam_from_world: Float[np.ndarray, "4 4"],
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    inliers: Bool[np.ndarray, " n"],
    camera: Camera,
    threshold_px: float,
) -> Float[np.ndarray, "6 6"] | None:
    """Covariance of a pose, for the noise that its inliers show.

    Args:
        cam_from_world: 4x4, world to camera, fitted to the inliers.
        points2d: (n, 2) float64 pixels, an integer being a pixel's centre.
        points3d: (n, 3) float64 in the world's frame.
        inliers: (n,) which of them are finite and agree with the pose.
        camera: of the photo.
        threshold_px: largest reprojection error of an inlier.

    Returns:
        6x6 of (w, d): the true rotation is ``exp([w]x) R`` and the true translation ``t + d``, radians and
        units of the world. None where the inliers leave no freedom to measure noise by, or do not fix the
        pose.
    """
    points2d, points3d = points2d[inliers], points3d[inliers]
    freedom = 2 * len(points2d) - POSE_PARAMETERS
    if freedom < 1:
        return None
    found = pycolmap.refine_absolute_pose(
        pycolmap.Rigid3d(cam_from_world[:3]),
        corner_pixels(points2d),
        points3d,
        np.ones(len(points2d), dtype=bool),
        camera.to_colmap(),
        pycolmap.AbsolutePoseRefinementOptions(loss_function_scale=_UNROBUST * threshold_px),
        return_covariance=True,
    )
    if found is None or not np.isfinite(found["covariance"]).all():
        return None
    errors = reprojection_errors(cam_from_world, points2d, points3d, camera)
    variance = float((errors**2).sum()) / freedom
    # COLMAP's rotation parameters are those of its quaternion's vector part: half the rotation vector.
    units = np.repeat([2.0, 1.0], 3)
    return np.array(found["covariance"]) * np.outer(units, units) * variance
