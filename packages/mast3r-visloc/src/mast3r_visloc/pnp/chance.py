"""Whether chance alone would support a pose as well (a contrario, Moulon, Monasse and Marlet, ACCV 2012).

RANSAC finds some pose that a dozen of two thousand wrong matches agree with. What tells it from a true one is
how many poses it could choose from: with N matches, k of them inliers, a pose fixed by m of them and a share
p of the photo within the threshold of a point, it is expected to find

    (N - m) * C(N, k) * C(k, m) * p^(k - m)

such poses where there is none. Matches are not independent: a place in the photo that many map points lead to
counts once. So N and k are numbers of cells, as wide as the threshold's circle, and p is that circle's share
of the cells that matches lie in.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import gammaln

POSE_POINTS = 3
POSE_AND_FOCAL_POINTS = 4


def log10_chance_poses(
    points2d: Float[np.ndarray, "n 2"],
    inliers: Bool[np.ndarray, " n"],
    threshold_px: float,
    *,
    sample: int = POSE_POINTS,
) -> float:
    """How many poses with such inliers chance is expected to offer, as a power of ten.

    Args:
        points2d: (n, 2) pixels of all matches; rows that are not finite are left out.
        inliers: (n,) those that agree with the pose.
        threshold_px: largest reprojection error of an inlier.
        sample: points that fix a pose, 3, or 4 with an unknown focal length.

    Returns:
        Far below 0 for a pose that is no accident, infinite where the inliers fix nothing.
    """
    finite = np.isfinite(points2d).all(axis=1)
    cells = np.floor(points2d[finite] / (2 * threshold_px)).astype(np.int64)
    places = len(np.unique(cells, axis=0))
    agreeing = len(np.unique(cells[inliers[finite]], axis=0))
    if agreeing <= sample:
        return math.inf
    # Of `places` squares of twice the radius.
    share = min(math.pi / (4 * places), 1.0)
    ways = _log10_binomial(places, agreeing) + _log10_binomial(agreeing, sample)
    return math.log10(max(places - sample, 1)) + ways + (agreeing - sample) * math.log10(share)


def _log10_binomial(n: int, k: int) -> float:
    return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)) / math.log(10)
