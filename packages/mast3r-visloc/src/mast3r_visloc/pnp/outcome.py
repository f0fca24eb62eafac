"""Results of PnP, made the same way by every solver."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from mast3r_visloc.cameras import Camera

from .contract import PnPResult
from .residuals import find_inliers

LEAST_POINTS = 4
"""Three give up to four poses, a fourth chooses."""


def solved(
    rotation_translation: Float[np.ndarray, "3 4"],
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    camera: Camera,
    threshold_px: float,
    info: Mapping[str, object],
) -> PnPResult:
    """A solver's pose with the inliers that our own measure finds.

    Args:
        rotation_translation: 3x4, world to camera.
        points2d: (n, 2) pixels, an integer being a pixel's centre.
        points3d: (n, 3) in the world's frame.
        camera: of the photo.
        threshold_px: largest reprojection error of an inlier.
        info: what else the solver says.
    """
    if not np.isfinite(rotation_translation).all():
        return unsolved(len(points2d), camera, "the solver's pose is not finite", info)
    pose = np.vstack([np.asarray(rotation_translation, dtype=np.float64), [0, 0, 0, 1]])
    inliers = find_inliers(pose, points2d, points3d, camera, threshold_px)
    return PnPResult(True, pose, inliers, int(inliers.sum()), camera, info=dict(info))


def unsolved(number: int, camera: Camera, reason: str, info: Mapping[str, object] | None = None) -> PnPResult:
    """No pose of `number` correspondences; `reason` is for people, and lies in ``info["reason"]``."""
    return PnPResult(
        False, None, np.zeros(number, dtype=bool), 0, camera, info={**(info or {}), "reason": reason}
    )
