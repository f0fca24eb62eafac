"""Perspective views out of equirectangular maps of colour and distance (spec 41 section 1).

Axes of a map: x right, y down, z forward, towards the map's centre. Column c and row r of a map of W x H
pixels look along longitude 2 pi (c + 0.5) / W - pi and latitude pi (r + 0.5) / H - pi / 2 (down positive).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SAMPLES = 6
"""Colours of a pixel: one at its centre, the others beside it by up to half a pixel."""


@dataclass(frozen=True, eq=False)
class Panorama:
    """What is seen all around from one point.

    Attributes:
        color: (h, w, 3) RGB.
        distance: (h, w) float32, along the ray; 0 where there is nothing.
    """

    color: UInt8[np.ndarray, "h w 3"]
    distance: Float[np.ndarray, "h w"]


def panorama_rays(height: int, width: int) -> Float[np.ndarray, "h w 3"]:
    """Unit rays of a map's pixels, in its axes."""
    longitude = 2 * np.pi * (np.arange(width) + 0.5) / width - np.pi
    latitude = np.pi * (np.arange(height) + 0.5) / height - np.pi / 2
    rays = np.empty((height, width, 3))
    rays[..., 0] = np.cos(latitude)[:, None] * np.sin(longitude)
    rays[..., 1] = np.sin(latitude)[:, None]
    rays[..., 2] = np.cos(latitude)[:, None] * np.cos(longitude)
    return rays


def distance_of_cube_depth(depth: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Distance along the rays of a map that was put together from the faces of a cube, whose depth is z of
    the face that a ray meets."""
    rays = panorama_rays(*depth.shape)
    return (depth / np.abs(rays).max(axis=-1)).astype(np.float32)


def view_of_panorama(
    panorama: Panorama,
    intrinsics: Float[np.ndarray, "3 3"],
    cam2map: Float[np.ndarray, "3 3"],
    size_wh: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """What a camera at the map's point sees.

    Args:
        panorama: colour and distance.
        intrinsics: of the view, pixel centres at integers.
        cam2map: rotation from the camera's axes (OpenCV) to the map's.
        size_wh: (width, height) of the view.
        rng: of the places inside a pixel where its colours are taken.

    Returns:
        RGB, the mean of several bilinear samples; z depth (float32), from the nearest pixel of the map.
    """
    width, height = size_wh
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    rays = _rays(x, y, intrinsics)
    where = _places_in_map(rays @ cam2map.T, panorama.distance.shape)
    distance = cv2.remap(panorama.distance, *where, cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP)
    depth = distance / np.linalg.norm(rays, axis=-1)
    total = np.zeros((height, width, 3))
    for sample in range(SAMPLES):
        jitter = rng.uniform(-0.5, 0.5, (2, height, width)) if sample else np.zeros((2, 1, 1))
        moved = _rays(x + jitter[0], y + jitter[1], intrinsics)
        where = _places_in_map(moved @ cam2map.T, panorama.distance.shape)
        total += cv2.remap(panorama.color, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.rint(total / SAMPLES).astype(np.uint8), depth.astype(np.float32)


def _rays(
    x: Float[np.ndarray, "h w"], y: Float[np.ndarray, "h w"], intrinsics: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "h w 3"]:
    """Rays with z = 1 in the camera's axes."""
    homogeneous = np.stack([x, y, np.ones_like(x)], axis=-1)
    return homogeneous @ np.linalg.inv(intrinsics).T


def _places_in_map(
    rays: Float[np.ndarray, "h w 3"], shape: tuple[int, ...]
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Columns and rows, pixel centres at integers, as `cv2.remap` takes them."""
    height, width = shape[:2]
    longitude = np.arctan2(rays[..., 0], rays[..., 2])
    latitude = np.arctan2(rays[..., 1], np.hypot(rays[..., 0], rays[..., 2]))
    column = (longitude + np.pi) / (2 * np.pi) * width - 0.5
    row = (latitude + np.pi / 2) / np.pi * height - 0.5
    # Sideways the map goes on at its other side; beyond the top the bottom would follow, which is elsewhere.
    return column.astype(np.float32), np.clip(row, 0, height - 1).astype(np.float32)
