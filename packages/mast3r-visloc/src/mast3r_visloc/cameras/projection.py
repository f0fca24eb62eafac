"""From a camera's frame to its pixels and back, in the full distortion model (spec 50 D5, trap 14).

COLMAP's own functions, many points at a time; here they meet our pixels, whose integers are centres.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from .camera import Camera

CORNER_TO_CENTRE = 0.5
"""COLMAP's first pixel centre is 0.5, ours is 0."""

LARGEST_ROUND_TRIP = 0.01
"""Pixels between one and where its ray is seen."""


def project(camera: Camera, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
    """Where a camera sees points.

    Args:
        camera: any of COLMAP's models with a focal length.
        points: (n, 3) in the camera's frame, x right, y down, z forward.

    Returns:
        (n, 2) float64 pixels (x, y), an integer being a pixel's centre; NaN for points that are not in
        front of the camera or outside what its model can see. Pixels may lie outside the image.
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    pixels = np.full((len(points), 2), np.nan)
    visible = np.isfinite(points).all(1) & (points[:, 2] > 0)
    if visible.any():
        pixels[visible] = camera.to_colmap().img_from_cam(points[visible]) - CORNER_TO_CENTRE
    return pixels


def unproject(camera: Camera, pixels: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 3"]:
    """Where pixels look.

    Args:
        camera: any of COLMAP's models with a focal length.
        pixels: (n, 2) pixels (x, y), an integer being a pixel's centre.

    Returns:
        (n, 3) float64 rays of length 1 in the camera's frame; NaN for pixels outside what the model can see
        in front of the camera.
    """
    rays = np.full((len(pixels), 3), np.nan)
    finite = np.isfinite(pixels).all(1)
    if finite.any():
        rays[finite] = camera.to_colmap().cam_ray_from_img(corner_pixels(pixels[finite]))
    # COLMAP answers for some pixels that no ray in front of the camera leads to, with a ray of another pixel.
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(project(camera, rays) - pixels).max(1, initial=0.0) <= LARGEST_ROUND_TRIP)
    rays[wrong] = np.nan
    return rays


def normalized(camera: Camera, pixels: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Where pixels look, as a pinhole camera of focal length 1 sees it.

    Args:
        camera: any of COLMAP's models with a focal length.
        pixels: (n, 2) pixels (x, y), an integer being a pixel's centre.

    Returns:
        (n, 2) float64 (x / z, y / z); NaN for pixels that do not look forward.
    """
    rays = unproject(camera, pixels)
    return rays[:, :2] / rays[:, 2:]


def corner_pixels(pixels: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Pixels as COLMAP and PoseLib count them: (n, 2) float64, the first pixel's centre at 0.5."""
    return np.ascontiguousarray(pixels, dtype=np.float64) + CORNER_TO_CENTRE
