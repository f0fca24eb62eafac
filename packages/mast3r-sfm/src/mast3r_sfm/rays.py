"""Many points from many rays at once: reprojection, midpoints, robust triangulation, on flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from .scene import SceneImage

_NEAR = 1e-9
_SETTLED = 1e-5
"""A step that is smaller than this share of the distance to the nearest camera changes nothing any more."""
_SETTLED_SHARE = 1e-3
"""Iterations end when fewer points than this share still move."""


@dataclass(frozen=True, eq=False)
class Views:
    """Cameras of all images in network pixels, as arrays."""

    projections: Float[np.ndarray, "n 3 4"]
    centres: Float[np.ndarray, "n 3"]
    component: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, images: Sequence[SceneImage]) -> Views:
        projections = [image.network_intrinsics @ image.world2cam[:3] for image in images]
        return cls(
            np.array(projections).reshape(-1, 3, 4),
            np.array([image.cam2world[:3, 3] for image in images]).reshape(-1, 3),
            np.array([image.component for image in images], np.int64),
        )

    def project(
        self, image: Int[np.ndarray, " m"], points: Float[np.ndarray, "m 3"]
    ) -> tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, " m"]]:
        """Network pixels of points in images, and the points' depth there (times a positive number)."""
        P = self.projections[image]
        moved = np.einsum("mij,mj->mi", P[:, :, :3], points) + P[:, :, 3]
        depth = moved[:, 2]
        return moved[:, :2] / np.where(np.abs(depth) > _NEAR, depth, _NEAR)[:, None], depth


@dataclass(frozen=True, eq=False)
class Observations:
    """Rays that belong to tracks; ``keypoint`` says which keypoint of the graph each one is."""

    track: Int[np.ndarray, " m"]
    image: Int[np.ndarray, " m"]
    xy: Float[np.ndarray, "m 2"]
    keypoint: Int[np.ndarray, " m"]

    def chosen(self, kept: Bool[np.ndarray, " m"]) -> Observations:
        return Observations(self.track[kept], self.image[kept], self.xy[kept], self.keypoint[kept])


def midpoints(observed: Observations, views: Views, tracks: int) -> Float[np.ndarray, "t 3"]:
    """The points nearest to all rays of every track, in the sense of least squares."""
    inverse = np.linalg.inv(views.projections[:, :, :3])
    rays = np.einsum("mij,mj->mi", inverse[observed.image], np.c_[observed.xy, np.ones(len(observed.xy))])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    target = np.einsum("mij,mj->mi", across, views.centres[observed.image])
    return _solved(sum_by_track(observed.track, across, tracks), sum_by_track(observed.track, target, tracks))


def refined_points(
    points: Float[np.ndarray, "t 3"], observed: Observations, views: Views, scale: float, iterations: int
) -> Float[np.ndarray, "t 3"]:
    """Gauss-Newton on the reprojection errors of every point, with Cauchy's weights, damped."""
    track = observed.track
    P = views.projections[observed.image]
    for _ in range(iterations):
        projected, depth = views.project(observed.image, points[track])
        residual = projected - observed.xy
        weight = (depth > _NEAR) / (1 + (residual**2).sum(1) / scale**2)
        J = (P[:, :2, :3] - projected[:, :, None] * P[:, 2:, :3]) / np.maximum(depth, _NEAR)[:, None, None]
        H = sum_by_track(track, weight[:, None, None] * np.einsum("mki,mkj->mij", J, J), len(points))
        g = sum_by_track(track, weight[:, None] * np.einsum("mki,mk->mi", J, residual), len(points))
        step = _solved(H, g)
        # a step may halve or double the distance to the nearest camera, not more: no jump through it
        nearest = np.full(len(points), np.inf)
        np.minimum.at(nearest, track, np.linalg.norm(points[track] - views.centres[observed.image], axis=1))
        length = np.linalg.norm(step, axis=1)
        points = points - step * np.minimum(1, nearest / 2 / np.maximum(length, 1e-30))[:, None]
        if (length > _SETTLED * nearest).mean() < _SETTLED_SHARE:
            break
    return points


def reprojection_errors(points: np.ndarray, observed: Observations, views: Views) -> Float[np.ndarray, " m"]:
    projected, depth = views.project(observed.image, points[observed.track])
    return np.where(depth > _NEAR, np.linalg.norm(projected - observed.xy, axis=1), np.inf)


def parallax_angles(points: np.ndarray, observed: Observations, views: Views) -> Float[np.ndarray, " t"]:
    """About the largest angle between two rays of every track: twice that to its mean ray. Degrees."""
    if not len(points):
        return np.zeros(0)
    rays = points[observed.track] - views.centres[observed.image]
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-30)
    mean = sum_by_track(observed.track, rays, len(points))
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-30)
    off = np.linalg.norm(np.cross(mean[observed.track], rays), axis=1)
    widest = np.zeros(len(points))
    np.maximum.at(widest, observed.track, off)
    return 2 * np.degrees(np.arcsin(np.minimum(widest, 1)))


def sum_by_track(track: Int[np.ndarray, " m"], values: np.ndarray, tracks: int) -> np.ndarray:
    """Sums of rows by track."""
    flat = values.reshape(len(values), -1)
    sums = [np.bincount(track, flat[:, column], tracks) for column in range(flat.shape[1])]
    return np.stack(sums, axis=1).reshape(tracks, *values.shape[1:])


def _solved(H: Float[np.ndarray, "t 3 3"], g: Float[np.ndarray, "t 3"]) -> Float[np.ndarray, "t 3"]:
    damping = 1e-9 * np.trace(H, axis1=1, axis2=2) + 1e-30
    return np.linalg.solve(H + damping[:, None, None] * np.eye(3), g[..., None])[..., 0]
