"""Pixels of any camera as an equivalent pinhole camera sees them (spec 50 trap 14).

For solvers that know pinhole cameras only, or that know a distortion model wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mast3r_visloc.cameras import Camera, normalized

WIDEST_ANGLE = 80.0
"""Degrees off the optical axis. A pinhole image stretches by 1 / cos^2, 33 times there: further out no
threshold in its pixels means anything. Such points are left out of RANSAC, not of the count of inliers."""

_SAMPLES = 500
_STEP = 0.5


@dataclass(frozen=True, eq=False)
class LiftedPoints:
    """Points of a pinhole camera without distortion, whose pixels are as large as the photo's in the median.

    Attributes:
        points2d: (m, 2) float64 relative to the principal point.
        focal: in those pixels.
        kept: (n,) the original points that are among them.
    """

    points2d: Float[np.ndarray, "m 2"]
    focal: float
    kept: Bool[np.ndarray, " n"]


def lift(camera: Camera, points2d: Float[np.ndarray, "n 2"]) -> LiftedPoints:
    """Undo a camera's distortion.

    Args:
        camera: of any model.
        points2d: (n, 2) pixels, an integer being a pixel's centre.
    """
    flat = normalized(camera, points2d)
    with np.errstate(invalid="ignore"):
        kept = np.hypot(*flat.T) <= np.tan(np.radians(WIDEST_ANGLE))
    focal = _focal_of_equal_pixels(camera, points2d[kept])
    return LiftedPoints(flat[kept] * focal, focal, kept)


def _focal_of_equal_pixels(camera: Camera, points2d: Float[np.ndarray, "m 2"]) -> float:
    """The focal length at which a pixel around the median point is as large after lifting as before."""
    some = points2d[:: max(1, len(points2d) // _SAMPLES)]
    along_x, along_y = (
        (normalized(camera, some + step) - normalized(camera, some - step)) / (2 * _STEP)
        for step in ((_STEP, 0.0), (0.0, _STEP))
    )
    areas = np.abs(along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0])
    areas = areas[np.isfinite(areas) & (areas > 0)]
    return 1 / float(np.sqrt(np.median(areas))) if len(areas) else float(np.mean(camera.focal_lengths))
