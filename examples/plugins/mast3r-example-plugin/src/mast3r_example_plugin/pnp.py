"""A PnP solver: ``mast3r visloc localize MAP PHOTO --solver linear``."""

from __future__ import annotations

import numpy as np

from mast3r_visloc import Camera, PnPResult, find_inliers, normalized

ROUNDS = 500


def solve_linear(
    points2d: np.ndarray,
    points3d: np.ndarray,
    camera: Camera,
    threshold_px: float,
    seed: int,
    weights: np.ndarray | None = None,
) -> PnPResult:
    """RANSAC over the direct linear transform of six points: short, and good enough for clean matches.

    Args:
        points2d: (n, 2) pixels, an integer being a pixel's centre.
        points3d: (n, 3) in the world's frame.
        camera: of the photo, distortion included.
        threshold_px: largest reprojection error of an inlier.
        seed: of the random choices.
        weights: not used.
    """
    best = PnPResult(False, None, np.zeros(len(points2d), dtype=bool), 0, camera)
    if len(points2d) < 6:
        return best
    rays = normalized(camera, points2d)
    random = np.random.default_rng(seed)
    for _ in range(ROUNDS):
        rows = random.choice(len(points2d), 6, replace=False)
        pose = linear_pose(rays[rows], points3d[rows])
        if pose is None:
            continue
        inliers = find_inliers(pose, points2d, points3d, camera, threshold_px)
        if inliers.sum() > best.num_inliers:
            best = PnPResult(True, pose, inliers, int(inliers.sum()), camera)
    return best


def linear_pose(rays: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """World to camera, 4x4, from normalised pixels (n, 2) and points (n, 3), n >= 6; None for flat ones."""
    center, scale = points.mean(0), points.std() + 1e-12
    homogeneous = np.column_stack([(points - center) / scale, np.ones(len(points))])
    zero = np.zeros_like(homogeneous)
    rows = np.concatenate(
        [
            np.concatenate([homogeneous, zero, -rays[:, :1] * homogeneous], axis=1),
            np.concatenate([zero, homogeneous, -rays[:, 1:] * homogeneous], axis=1),
        ]
    )
    matrix = np.linalg.svd(rows)[2][-1].reshape(3, 4)
    left, sizes, right = np.linalg.svd(matrix[:, :3])
    if sizes[-1] < 1e-9 * sizes[0]:
        return None
    sign = np.sign(np.linalg.det(left @ right))
    pose = np.eye(4)
    pose[:3, :3] = sign * left @ right
    pose[:3, 3] = sign * matrix[:, 3] / sizes.mean() * scale - pose[:3, :3] @ center
    return pose
