"""Which correspondences PnP looks at, and whether they can fix a pose at all (spec 50 D5, trap 21)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from .outcome import LEAST_POINTS

FLATNESS = 1e-5
"""Points whose spread across a line is less than this part of that along it are on the line."""


def select_points(
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    weights: Float[np.ndarray, " n"] | None,
    max_points: int,
    seed: int,
) -> Int[np.ndarray, " m"]:
    """Rows that are finite, and of these at most `max_points`, ascending.

    Args:
        points2d: (n, 2).
        points3d: (n, 3).
        weights: the largest are kept, the earlier of equal ones; without weights, random rows are.
        max_points: how many at most.
        seed: of the random choice.
    """
    finite = np.isfinite(points2d).all(1) & np.isfinite(points3d).all(1)
    if weights is not None:
        finite &= np.isfinite(weights)
    rows = np.flatnonzero(finite)
    if len(rows) <= max_points:
        return rows
    if weights is None:
        chosen = np.random.default_rng(seed).choice(len(rows), max_points, replace=False)
    else:
        chosen = np.argsort(-weights[rows], kind="stable")[:max_points]
    return np.sort(rows[chosen])


def degeneracy(points2d: Float[np.ndarray, "n 2"], points3d: Float[np.ndarray, "n 3"]) -> str | None:
    """Why these points cannot fix a pose, for people; None if they can.

    Args:
        points2d: (n, 2) finite pixels.
        points3d: (n, 3) finite.
    """
    for points, words in ((points3d, "3D points"), (points2d, "pixels")):
        found = _distinct(points)
        if found < LEAST_POINTS:
            return f"only {found} different {words}, at least {LEAST_POINTS} are needed"
        if _on_a_line(points):
            return f"the {words} lie on one line"
    return None


def _distinct(points: Float[np.ndarray, "n d"]) -> int:
    """How many different rows there are, counted up to `LEAST_POINTS`."""
    count = 0
    while len(points) and count < LEAST_POINTS:
        count += 1
        points = points[(points != points[0]).any(1)]
    return count


def _on_a_line(points: Float[np.ndarray, "n d"]) -> bool:
    spread = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return bool(spread[1] <= FLATNESS * spread[0])
