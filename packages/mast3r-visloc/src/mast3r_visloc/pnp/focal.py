"""Cameras whose focal length is unknown, or known roughly (spec 50 D4)."""

from __future__ import annotations

import numpy as np
import pycolmap
from jaxtyping import Float

from mast3r_visloc.cameras import Camera, corner_pixels, with_focal

from .contract import PnPResult
from .outcome import LEAST_POINTS, solved, unsolved
from .pycolmap_solver import estimation_options

SUSPICIOUS_CHANGE = 0.3
FOCAL_BOUNDS = (0.1, 30.0)
"""Of a focal length that is believed, in units of the photo's longer side: views of 157 to 2 degrees."""


def solve_unknown_focal(
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    camera: Camera,
    threshold_px: float,
    seed: int,
    initial_focal: float | None = None,
) -> PnPResult:
    """Find the pose and the focal length that most correspondences agree with, by COLMAP.

    Args:
        points2d: (n, 2) float64 pixels, an integer being a pixel's centre.
        points3d: (n, 3) float64 in the world's frame.
        camera: its focal length is where the search starts; the rest is taken as known.
        threshold_px: largest reprojection error of an inlier.
        seed: of the random choices.
        initial_focal: where the search starts instead, in pixels.

    Returns:
        A result whose camera has the focal length that was found.

    Raises:
        InputError: a start that is not positive.
    """
    if initial_focal is not None:
        camera = with_focal(camera, initial_focal)
    info = {"solver": "pycolmap, focal length unknown"}
    if len(points2d) < LEAST_POINTS:
        return unsolved(len(points2d), camera, f"only {len(points2d)} points", info)
    tried = camera.to_colmap()
    found = pycolmap.estimate_and_refine_absolute_pose(
        corner_pixels(points2d),
        points3d,
        tried,
        estimation_options=estimation_options(threshold_px, seed, estimate_focal=True),
        refinement_options=pycolmap.AbsolutePoseRefinementOptions(refine_focal_length=True),
    )
    if found is None or found["num_inliers"] == 0:
        return unsolved(len(points2d), camera, "RANSAC found no pose and focal length", info)
    focals = tried.params[tried.focal_length_idxs()] / max(camera.shape)
    if not ((focals > FOCAL_BOUNDS[0]) & (focals < FOCAL_BOUNDS[1])).all():
        return unsolved(len(points2d), camera, "the points do not fix the focal length", info)
    matrix = found["cam_from_world"].matrix()
    return solved(matrix, points2d, points3d, Camera.from_colmap(tried), threshold_px, info)


def suspicious_change(before: Camera, after: Camera) -> str | None:
    """A warning where a refined focal length is more than 30 % off the one that was known; else None."""
    old, new = float(np.mean(before.focal_lengths)), float(np.mean(after.focal_lengths))
    change = new / old - 1
    if abs(change) <= SUSPICIOUS_CHANGE:
        return None
    return f"the focal length moved by {100 * change:+.0f} %, from {old:.0f} to {new:.0f} pixels"
