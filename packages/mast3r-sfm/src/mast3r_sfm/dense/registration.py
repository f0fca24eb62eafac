"""Similarities between point sets and between sets of cameras, and poses from 2D-3D correspondences."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

FOCALS_TRIED = 21  # for a camera of unknown focal, spread geometrically over 1/2 .. 3 times the image's size
PNP_THRESHOLD = 5.0  # pixels
PNP_MIN_POINTS = 4


@dataclass(frozen=True, eq=False)
class Similarity:
    """x -> scale * rotation x + translation, one or a batch.

    Attributes:
        scale: (...).
        rotation: (..., 3, 3).
        translation: (..., 3).
    """

    scale: Float[Tensor, "*n"]
    rotation: Float[Tensor, "*n 3 3"]
    translation: Float[Tensor, "*n 3"]

    def points(self, pts3d: Float[Tensor, "*n 3 samples"]) -> Float[Tensor, "*n 3 samples"]:
        """Move points, given as columns."""
        return self.scale[..., None, None] * (self.rotation @ pts3d) + self.translation[..., None]

    def after(self, first: Similarity) -> Similarity:
        """The similarity that does ``first`` (a batch), then this one."""
        return Similarity(
            self.scale * first.scale,
            self.rotation @ first.rotation,
            self.points(first.translation[..., None])[..., 0],
        )

    def poses(self, cam2world: Float[Tensor, "*n 4 4"]) -> Float[Tensor, "*n 4 4"]:
        """Move cameras: centres as points, axes by the rotation alone."""
        moved = cam2world.clone()
        moved[..., :3, :3] = self.rotation @ cam2world[..., :3, :3]
        moved[..., :3, 3] = self.points(cam2world[..., :3, 3:])[..., 0]
        return moved


def register_points(
    source: Float[Tensor, "*n 3 samples"],
    target: Float[Tensor, "*n 3 samples"],
    weight: Float[Tensor, "*n samples"] | None = None,
) -> Similarity:
    """The similarity that takes source to target with the least weighted sum of squares (Umeyama).

    Args:
        source: points as columns.
        target: where they should go.
        weight: of every point; 0 leaves it out.
    """
    rotation, translation, scale = roma.rigid_points_registration(
        source.mT, target.mT, weights=weight, compute_scaling=True
    )
    return Similarity(scale, rotation, translation)


def register_cameras(
    source: Float[Tensor, "n 4 4"],
    target: Float[Tensor, "n 4 4"],
    *,
    scale: Float[Tensor, ""] | None = None,
) -> Similarity:
    """The similarity that takes cameras to cameras (spec 30 section 9.5).

    Centres, and points a hundredth of the cameras' median distance ahead of them, are registered: the
    viewing directions settle what the centres leave open.

    Args:
        source: cam2world of at least one camera.
        target: cam2world of the same cameras in the other frame.
        scale: taken where there is one camera only, which says nothing about it; None means 1.
    """
    if len(source) == 1:
        rotation = target[0, :3, :3] @ source[0, :3, :3].T
        factor = source.new_ones(()) if scale is None else scale.to(source)
        return Similarity(factor, rotation, target[0, :3, 3] - factor * (rotation @ source[0, :3, 3]))
    return register_points(_centers_and_axes(source), _centers_and_axes(target))


def _centers_and_axes(cam2world: Tensor) -> Tensor:
    centers = cam2world[:, :3, 3]
    step = torch.pdist(centers).median() / 100
    step = torch.where(step > 0, step, torch.ones_like(step))
    return torch.cat([centers, centers + step * cam2world[:, :3, 2]]).T


def solve_pnp(
    pts3d: Float[np.ndarray, "n 3"],
    pixels: Float[np.ndarray, "n 2"],
    principal_point: tuple[float, float],
    *,
    focals: tuple[float, float] | None,
    image_size: int,
    iterations: int = 10,
) -> tuple[tuple[float, float], Float[np.ndarray, "4 4"]] | None:
    """A camera's pose from points and their pixels: OpenCV's RANSAC over SQPNP, 5 px (spec 30 section 9.5).

    Args:
        pts3d: points in the world.
        pixels: where the camera sees them, integer = pixel centre.
        principal_point: (x, y).
        focals: fx, fy; None tries a range of focals and keeps the one with most inliers.
        image_size: the longer side; sets that range.
        iterations: of RANSAC, for every focal.

    Returns:
        The focals and cam2world, or None with fewer than four points or no solution.
    """
    if len(pts3d) < PNP_MIN_POINTS:
        return None
    if focals is not None:
        tried = [focals]
    else:
        tried = [(f, f) for f in np.geomspace(image_size / 2, image_size * 3, FOCALS_TRIED).tolist()]
    best_count, best = 0, None
    for fx, fy in tried:
        camera = np.array([[fx, 0, principal_point[0]], [0, fy, principal_point[1]], [0, 0, 1]])
        try:
            success, rotation, translation, inliers = cv2.solvePnPRansac(
                np.ascontiguousarray(pts3d, np.float64),
                np.ascontiguousarray(pixels, np.float64),
                camera,
                None,
                iterationsCount=iterations,
                reprojectionError=PNP_THRESHOLD,
                flags=cv2.SOLVEPNP_SQPNP,
            )
        except cv2.error:  # degenerate points
            continue
        if success and inliers is not None and len(inliers) > best_count:
            world2cam = np.eye(4)
            world2cam[:3, :3] = cv2.Rodrigues(rotation)[0]
            world2cam[:3, 3] = translation[:, 0]
            best_count, best = len(inliers), ((fx, fy), np.linalg.inv(world2cam))
    return best
