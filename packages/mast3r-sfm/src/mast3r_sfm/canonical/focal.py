"""Focal length of a pointmap given in its own camera frame (spec 30 section 4.2)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .anchors import pixel_grid

FocalMode = Literal["weiszfeld", "median", "robust"]

_ITERATIONS = 10
#: Rays further out than this (tangent of the angle; 79 degrees) say nothing about a perspective camera.
_STEEPEST_RAY = 5.0


def field_of_view_focal(shape: tuple[int, int], field_of_view: float = 60.0) -> float:
    """Focal in pixels at which the longer side of an image spans an angle in degrees."""
    return max(shape) / (2 * math.tan(math.radians(field_of_view) / 2))


def estimate_focal(
    pts3d: Float[Tensor, "h w 3"],
    principal_point: Float[Tensor, " 2"],
    *,
    mode: FocalMode = "weiszfeld",
    conf: Float[Tensor, "h w"] | None = None,
    min_focal: float = 0.0,
    max_focal: float = math.inf,
) -> float:
    """Focal length of the pinhole camera that sees a pointmap at its pixels.

    Args:
        pts3d: points in the camera's frame, one per pixel.
        principal_point: (x, y) in pixels, integers at pixel centres.
        mode: ``weiszfeld`` (least sum of distances, unweighted, as upstream), ``median`` (of the ratios of
            all coordinates, as upstream), or ``robust`` (least sum of distances weighted by ``conf``, started
            from a weighted median, points at or behind the camera and steep rays left out).
        conf: weights of the robust mode, at least 0.
        min_focal: lower bound, as a multiple of the focal of a 60 degree field of view.
        max_focal: upper bound, likewise.

    Returns:
        Focal in pixels.
    """
    height, width, _ = pts3d.shape
    pixels = pixel_grid((height, width), pts3d.device).to(pts3d.dtype) - principal_point.to(pts3d)
    points = pts3d.reshape(-1, 3)
    if mode == "median":
        ratios = pixels * points[:, 2:] / points[:, :2]
        focal = float(ratios.nanmedian())
    elif mode == "weiszfeld":
        rays = (points[:, :2] / points[:, 2:]).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        focal = _weiszfeld(pixels, rays, torch.ones_like(rays[:, 0]), start=None)
    else:
        focal = _robust(pixels, points, None if conf is None else conf.reshape(-1))
    base = field_of_view_focal((height, width))
    if math.isnan(focal):
        focal = base
    return min(max(focal, min_focal * base), max_focal * base)


def _weiszfeld(
    pixels: Float[Tensor, "n 2"],
    rays: Float[Tensor, "n 2"],
    weights: Float[Tensor, " n"],
    start: float | None,
) -> float:
    """Minimise the weighted sum of distances ||pixel - f ray|| over f by ten reweightings."""
    along = (pixels * rays).sum(-1)
    square = rays.square().sum(-1)
    focal = (
        (weights * along).mean() / (weights * square).mean() if start is None else pixels.new_tensor(start)
    )
    for _ in range(_ITERATIONS):
        reweighted = weights / (pixels - focal * rays).norm(dim=-1).clamp_min(1e-8)
        focal = (reweighted * along).mean() / (reweighted * square).mean()
    return float(focal)


def _robust(
    pixels: Float[Tensor, "n 2"], points: Float[Tensor, "n 3"], conf: Float[Tensor, " n"] | None
) -> float:
    rays = points[:, :2] / points[:, 2:]
    square = rays.square().sum(-1)
    usable = (points[:, 2] > 0) & (square < _STEEPEST_RAY**2) & (square > 0) & rays.isfinite().all(-1)
    if conf is not None:
        usable &= conf > 0
    pixels, rays, square = pixels[usable], rays[usable], square[usable]
    if not len(rays):
        return math.nan
    weights = torch.ones_like(square) if conf is None else conf[usable].to(square)
    # Each pixel's own focal, trusted by how far its ray leaves the axis.
    focals, order = ((pixels * rays).sum(-1) / square).sort()
    cumulative = (weights * square.sqrt())[order].double().cumsum(0)
    start = float(focals[int(torch.searchsorted(cumulative, cumulative[-1] / 2))])
    return _weiszfeld(pixels, rays, weights, start)
