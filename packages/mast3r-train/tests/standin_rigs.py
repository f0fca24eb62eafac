"""Views of a room by cameras, or rigs of two, of a given field of view and principal point; fast at any size.

Beside `standin_scenes`, for datasets whose cameras are fixed: stereo rigs, 90 degrees, odd principal points. A
box with balls in it and no ceiling: exact depth, sky, occlusions; colours depend on the point alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .standin_scenes import StandinView

_HALF = np.array([4.0, 3.0, 4.0])
"""Half the room's size; y points down."""

_BALLS = np.array([[0.5, 1.5, 1.5, 0.9], [-1.8, 2.0, 2.5, 0.7], [2.0, 0.5, 3.0, 0.6]])
"""Centre and radius."""


def render_rig(
    count: int,
    size_wh: tuple[int, int] = (96, 72),
    *,
    fov: float = 80.0,
    center: tuple[float, float] | None = None,
    baseline: float = 0.0,
    seed: int = 0,
    tiled: bool = False,
) -> list[StandinView]:
    """Neighbouring views on a curve, the same at each call; arrays are copies that may be changed.

    Args:
        count: of instants.
        size_wh: (width, height).
        fov: degrees over the width.
        center: principal point (x, y), pixel centres at integers; default: the image's centre.
        baseline: metres from the left to the right camera; 0: one camera. With two, left and right take turns.
        seed: of the curve.
        tiled: many small tiles, in which features are found, for the smooth colours.
    """
    x, y = center if center is not None else ((size_wh[0] - 1) / 2, (size_wh[1] - 1) / 2)
    views = _render(count, tuple(size_wh), fov, (x, y), baseline, seed, tiled)
    return [StandinView(*(array.copy() for array in view)) for view in views]


@functools.cache
def _render(
    count: int,
    size_wh: tuple[int, int],
    fov: float,
    center: tuple[float, float],
    baseline: float,
    seed: int,
    tiled: bool,
) -> tuple[StandinView, ...]:
    width, (x, y) = size_wh[0], center
    focal = width / 2 / np.tan(np.radians(fov) / 2)
    K = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1.0]])
    views = []
    for pose in _poses(count, seed):
        for offset in (0.0, baseline) if baseline else (0.0,):
            moved = pose.copy()
            moved[:3, 3] += offset * pose[:3, 0]
            rgb, depth = _look(moved, K, size_wh, color_of_tiles if tiled else color_of_points)
            views.append(StandinView(rgb, depth, K, moved))
    return tuple(views)


def color_of_points(points: np.ndarray) -> np.ndarray:
    """(n, 3) uint8: the colour that a point of the room has, seen from anywhere."""
    waves = np.sin(points @ np.array([[2.1, 0.7, 1.3], [0.4, 2.3, 1.1], [1.7, 1.2, 0.5]]))
    return (127.5 + 100 * waves).astype(np.uint8)


def color_of_tiles(points: np.ndarray) -> np.ndarray:
    """(n, 3) uint8: the colour of the tile of 20 cm that a point is in."""
    tile = np.floor(points / 0.2 + 0.01).astype(np.int64) @ np.array([73856093, 19349663, 83492791])
    return ((tile[:, None] * np.array([2654435761, 805459861, 3674653429]) >> 13) % 256).astype(np.uint8)


def _poses(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    poses = []
    for step in range(count):
        yaw = 0.12 * (step - count / 2) + rng.normal(0, 0.02)
        pitch, roll = rng.normal(0.1, 0.03), rng.normal(0, 0.03)
        turned = [
            np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]),
            np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]),
            np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]),
        ]
        pose = np.eye(4)
        pose[:3, :3] = turned[0] @ turned[1] @ turned[2]
        pose[:3, 3] = (-0.35 * (step - count / 2), 0.1 * np.sin(step), -2.5 + 0.05 * step)
        poses.append(pose)
    return poses


def _look(
    pose: np.ndarray, K: np.ndarray, size_wh: tuple[int, int], color: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Photo and depth (0: sky)."""
    width, height = size_wh
    v, u = np.mgrid[:height, :width]
    local = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3) @ np.linalg.inv(K).T
    rays, origin = local @ pose[:3, :3].T, pose[:3, 3]  # z of the camera is 1 along them
    with np.errstate(divide="ignore"):
        exits = (np.sign(rays) * _HALF - origin) / rays
    exits = np.where(rays == 0, np.inf, exits)
    depth = exits.min(axis=1)
    is_sky = (exits.argmin(axis=1) == 1) & (rays[:, 1] < 0)
    for *ball, radius in _BALLS:
        offset = origin - np.array(ball)
        a, b, c = (rays**2).sum(1), rays @ offset, offset @ offset - radius**2
        root = b**2 - a * c
        near = (-b - np.sqrt(np.maximum(root, 0))) / a
        hit = (root > 0) & (near > 0) & (near < depth)
        depth, is_sky = np.where(hit, near, depth), is_sky & ~hit
    rgb = color(origin + rays * depth[:, None])
    rgb[is_sky] = (140, 190, 250)
    return rgb.reshape(height, width, 3), np.where(is_sky, 0, depth).astype(np.float32).reshape(height, width)
