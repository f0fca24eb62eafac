"""Rays against a height field: marching, then bisection."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from .cameras import Cameras
from .primitives import SceneBatch

_STEPS = 40
_BISECTIONS = 12


def terrain_height(
    heights: Float[Tensor, "views grid grid"], extent: Float[Tensor, " views"], xy: Float[Tensor, "views n 2"]
) -> Float[Tensor, "views n"]:
    """Bilinear height at world (x, y); the border's value outside."""
    grid = (xy / extent[:, None, None])[:, None]
    return grid_sample(heights[:, None], grid, align_corners=True, padding_mode="border")[:, 0, 0]


def terrain_normal(
    heights: Float[Tensor, "views grid grid"], extent: Float[Tensor, " views"], xy: Float[Tensor, "views n 2"]
) -> Float[Tensor, "views n 3"]:
    """Unit normals from differences over a grid cell, so that shading is smooth over cell borders."""
    step = (extent / heights.shape[-1])[:, None]
    offset = torch.eye(2, device=xy.device) * step[..., None]
    slope = [
        (
            terrain_height(heights, extent, xy + offset[:, i : i + 1])
            - terrain_height(heights, extent, xy - offset[:, i : i + 1])
        )
        / (2 * step)
        for i in range(2)
    ]
    normal = torch.stack([-slope[0], -slope[1], torch.ones_like(slope[0])], dim=-1)
    return torch.nn.functional.normalize(normal, dim=-1)


def trace_terrain(
    scenes: SceneBatch,
    cameras: Cameras,
    shape: tuple[int, int],
    views: Int[Tensor, " some"],
    best: Float[Tensor, "views pixels"],
    surface: Int[Tensor, "views pixels"],
) -> None:
    """Update `best` (inverse depth) and `surface` in place where the height field is nearer.

    Args:
        scenes: the scenes.
        cameras: cameras whose scenes have a height field.
        shape: (height, width) of the views.
        views: which rows of `best` and `surface` these cameras' are.
        best: changed in place.
        surface: likewise; the height field is the last row of the scene's surface table.
    """
    extent, heights = scenes.terrain_extent[cameras.scene], scenes.terrain_heights[cameras.scene]
    origin = cameras.cam2world[:, :3, 3]
    direction = (cameras.cam2world[:, :3, :3] @ cameras.rays(shape)).transpose(1, 2)

    def clearance(depth: Tensor) -> Tensor:
        point = origin[:, None] + depth[..., None] * direction
        return point[..., 2] - terrain_height(heights, extent, point[..., :2])

    near, far = _slab(origin, direction, extent, heights)
    above = torch.ones_like(near, dtype=torch.bool)
    low, high = near.clone(), far.clone()
    found = torch.zeros_like(above)
    step = (far - near) / _STEPS
    for i in range(1, _STEPS + 1):
        depth = near + i * step
        below = clearance(depth) < 0
        crossing = above & below & ~found
        low, high = torch.where(crossing, depth - step, low), torch.where(crossing, depth, high)
        found |= crossing
        above = ~below
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        below = clearance(middle) < 0
        low, high = torch.where(below, low, middle), torch.where(below, middle, high)
    below, above_by = clearance(high), clearance(low)
    depth = low + (high - low) * (above_by / (above_by - below).clamp_min(1e-9)).clamp(0, 1)
    w = torch.where(found & (far > near), 1 / depth.clamp_min(1e-6), 0.0)
    closer = w > best[views]
    best[views] = torch.where(closer, w, best[views])
    surface[views] = torch.where(closer, scenes.texture.shape[1] - 1, surface[views])


def _slab(origin: Tensor, direction: Tensor, extent: Tensor, heights: Tensor) -> tuple[Tensor, Tensor]:
    """Depths between which a ray is inside the box around the height field."""
    low = torch.stack([-extent, -extent, heights.amin((1, 2)) - 1e-3], -1)[:, None]
    high = torch.stack([extent, extent, heights.amax((1, 2)) + 1e-3], -1)[:, None]
    safe = torch.where(direction.abs() < 1e-9, 1e-9, direction)
    a, b = (low - origin[:, None]) / safe, (high - origin[:, None]) / safe
    near = torch.minimum(a, b).amax(-1).clamp_min(1e-3)
    far = torch.maximum(a, b).amin(-1)
    return near, far
