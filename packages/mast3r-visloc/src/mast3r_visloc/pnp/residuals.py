"""Which correspondences agree with a pose: the one measure by which all solvers' results are counted."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from mast3r_visloc.cameras import Camera, project


def reprojection_errors(
    cam_from_world: Float[np.ndarray, "4 4"],
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    camera: Camera,
) -> Float[np.ndarray, " n"]:
    """How far the camera sees each point from where it was found.

    Args:
        cam_from_world: 4x4, world to camera.
        points2d: (n, 2) pixels (x, y), an integer being a pixel's centre.
        points3d: (n, 3) in the world's frame.
        camera: with its full distortion model.

    Returns:
        (n,) pixels; infinite for points that are not in front of the camera, or not finite.
    """
    with np.errstate(invalid="ignore"):  # of points that are not finite
        in_camera = points3d @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    seen = project(camera, in_camera)
    errors = np.hypot(*(seen - points2d).T)
    return np.where(np.isfinite(errors), errors, np.inf)


def find_inliers(
    cam_from_world: Float[np.ndarray, "4 4"],
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    camera: Camera,
    threshold_px: float,
) -> Bool[np.ndarray, " n"]:
    """Points in front of the camera, at most `threshold_px` from where they were found; see above."""
    return reprojection_errors(cam_from_world, points2d, points3d, camera) <= threshold_px
