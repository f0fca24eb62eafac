"""Points from pixels of several known cameras, by linear least squares (spec 30 section 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError


def batched_triangulate(
    pts2d: Float[np.ndarray, "batch cameras points 2"], proj: Float[np.ndarray, "batch cameras 3 4"]
) -> Float[np.ndarray, "batch points 3"]:
    """Triangulate points seen by all cameras: the inhomogeneous direct linear transform.

    Args:
        pts2d: pixels (x, y) of every point in every camera.
        proj: projections K [R | t] from the world to pixels.

    Returns:
        Points in the world, float64; NaN where a pixel is not finite.

    Raises:
        InputError: the shapes do not fit.
    """
    pts2d, proj = np.asarray(pts2d, np.float64), np.asarray(proj, np.float64)
    if pts2d.ndim != 4 or proj.shape != (*pts2d.shape[:2], 3, 4) or pts2d.shape[-1] != 2:
        raise InputError(
            "expected pixels (batch, cameras, points, 2) and projections (batch, cameras, 3, 4), "
            f"got {pts2d.shape} and {proj.shape}"
        )
    rows = proj[:, :, None, :2] - pts2d[..., None] * proj[:, :, None, 2:]  # batch cameras points 2 4
    rows = np.moveaxis(rows, 2, 1).reshape(pts2d.shape[0], pts2d.shape[2], -1, 4)
    finite = np.isfinite(rows).all((-2, -1))
    points = np.full((*finite.shape, 3), np.nan)
    # The normal equations would square the condition number, so the rows are solved by QR.
    orthogonal, triangular = np.linalg.qr(rows[finite][..., :3])
    target = np.einsum("nij,ni->nj", orthogonal, -rows[finite][..., 3])
    points[finite] = _solve(triangular, target)
    return points


def _solve(matrices: Float[np.ndarray, "n 3 3"], vectors: Float[np.ndarray, "n 3"]) -> np.ndarray:
    """Solutions of many 3x3 systems; NaN where one is singular (parallel rays)."""
    diagonal = np.abs(np.diagonal(matrices, axis1=1, axis2=2))
    regular = diagonal.min(1) > 1e-13 * diagonal.max(1) if len(matrices) else np.zeros(0, bool)
    solutions = np.full(vectors.shape, np.nan)
    solutions[regular] = np.linalg.solve(matrices[regular], vectors[regular][..., None])[..., 0]
    return solutions


@dataclass(frozen=True)
class TriangulatedDepth:
    """What `matches_to_depths` finds for every pixel of the reference cameras.

    Attributes:
        pts3d: (batch, height, width, 3) points in the world; NaN where too few views are valid.
        depth: (batch, height, width) z in camera 0; NaN likewise.
        confidence: (batch, height, width) sum over the valid views.
    """

    pts3d: Float[np.ndarray, "batch height width 3"]
    depth: Float[np.ndarray, "batch height width"]
    confidence: Float[np.ndarray, "batch height width"]


def matches_to_depths(
    intrinsics: Float[np.ndarray, "batch cameras 3 3"],
    world2cam: Float[np.ndarray, "batch cameras 4 4"],
    matches: Float[np.ndarray, "batch views height width 5"],
    *,
    min_valid_ratio: float = 0.3,
) -> TriangulatedDepth:
    """Triangulate every pixel of camera 0 with each of the other views, and average.

    Args:
        intrinsics: of camera 0 and of the views, in this order.
        world2cam: of the same cameras.
        matches: (x0, y0, x1, y1, confidence) of every pixel of camera 0 with every view; not changed.
        min_valid_ratio: a pixel needs more than ``floor(views * min_valid_ratio)`` finite points.

    Raises:
        InputError: the shapes do not fit.
    """
    matches = np.asarray(matches, np.float64)
    batch, views, height, width = matches.shape[:4]
    if intrinsics.shape[:2] != (batch, views + 1) or world2cam.shape[:2] != (batch, views + 1):
        raise InputError(
            f"matches of {views} views need {views + 1} cameras, got {intrinsics.shape[1]} intrinsics and "
            f"{world2cam.shape[1]} poses (batch {batch})"
        )
    projections = intrinsics @ world2cam[:, :, :3]
    both = np.stack([np.repeat(projections[:, :1], views, axis=1), projections[:, 1:]], axis=2)
    pixels = matches[..., :4].reshape(batch * views, height * width, 2, 2).transpose(0, 2, 1, 3)
    points = batched_triangulate(pixels, both.reshape(-1, 2, 3, 4)).reshape(batch, views, height, width, 3)
    finite = np.isfinite(points).all(-1)
    weights = np.where(finite, matches[..., 4], 0.0)
    total = weights.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights[..., None] * np.where(finite[..., None], points, 0.0)).sum(1) / total[..., None]
    mean[finite.sum(1) <= int(views * min_valid_ratio)] = np.nan
    reference = world2cam[:, 0]
    depth = np.einsum("bj,bhwj->bhw", reference[:, 2, :3], mean) + reference[:, 2, 3][:, None, None]
    return TriangulatedDepth(mean, depth, total)
