"""Which surface each pixel sees, and how far away: exact ray casting in plain PyTorch.

With rays ``r = ((x - cx) / fx, (y - cy) / fy, 1)`` a point at depth z is ``z r``, and the INVERSE depth of a
plane and the plane's own coordinates divided by z are linear in r. So flat faces cost one small matrix
product and a few comparisons per pixel, without any division, and round bodies one square root more.
Everything is batched over views and works on any device; primitives that no pixel of a view can see are
dropped first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .primitives import SceneBatch
from .terrain import trace_terrain

_FACES_AT_ONCE = {"cpu": 4, "cuda": 64}
"""Faces per step: what stays in a CPU core's cache, and what keeps a GPU busy."""


@dataclass(frozen=True)
class Cameras:
    """Pinhole cameras.

    Attributes:
        scene: index of each camera's scene in the batch.
        intrinsics: in pixels, pixel centres at integers.
        cam2world: x right, y down, z forward; metres.
    """

    scene: Int[Tensor, " views"]
    intrinsics: Float[Tensor, "views 3 3"]
    cam2world: Float[Tensor, "views 4 4"]

    def __getitem__(self, views: slice) -> Cameras:
        """Some of the cameras."""
        return Cameras(self.scene[views], self.intrinsics[views], self.cam2world[views])

    def rays(self, shape: tuple[int, int]) -> Float[Tensor, "views 3 pixels"]:
        """Directions of all pixel centres in the camera's frame, with z = 1."""
        height, width = shape
        device, K = self.intrinsics.device, self.intrinsics
        x = (torch.arange(width, device=device) - K[:, 0, 2:]) / K[:, 0, :1]
        y = (torch.arange(height, device=device) - K[:, 1, 2:]) / K[:, 1, 1:2]
        grid = torch.stack(
            [
                x[:, None, :].expand(-1, height, -1),
                y[:, :, None].expand(-1, -1, width),
                torch.ones((), device=device).expand(len(K), height, width),
            ],
            dim=1,
        )
        return rearrange(grid, "v c h w -> v c (h w)")


@dataclass(frozen=True)
class Hits:
    """What the pixels see.

    Attributes:
        inverse_depth: 1 / z in 1 / metres; 0 where nothing is hit.
        surface: row of the scene's surface table; -1 where nothing is hit.
    """

    inverse_depth: Float[Tensor, "views pixels"]
    surface: Int[Tensor, "views pixels"]


def trace(
    scenes: SceneBatch, cameras: Cameras, shape: tuple[int, int], *, casters_only: bool = False
) -> Hits:
    """Cast one ray per pixel.

    Args:
        scenes: the scenes.
        cameras: the views.
        shape: (height, width).
        casters_only: leave out what casts no shadow (enclosing walls) and the terrain.
    """
    rays = cameras.rays(shape)
    best = torch.zeros_like(rays[:, 0])
    surface = torch.full_like(best, -1, dtype=torch.int32)
    exists = scenes.face_exists & scenes.face_casts_shadow if casters_only else scenes.face_exists
    for is_disc in (False, True):
        _trace_faces(
            scenes, cameras, rays, shape, exists & (scenes.face_is_disc == is_disc), is_disc, best, surface
        )
    _trace_rounds(scenes, cameras, rays, best, surface)
    if not casters_only:
        trace_terrain(
            scenes, cameras.scene, cameras.cam2world, rays, best, surface, row=scenes.texture.shape[1] - 1
        )
    return Hits(best, surface)


def to_camera(cam2world: Float[Tensor, "views 4 4"], vectors: Tensor) -> Tensor:
    """Rotate world vectors (views, n, 3) into the cameras' axes."""
    return vectors @ cam2world[:, :3, :3]


def _keep_visible(visible: Bool[Tensor, "views n"]) -> Int[Tensor, "views kept"]:
    """Indices of the visible primitives of each view, visible ones first, as few columns as will do."""
    kept = int(visible.sum(dim=1).amax()) if visible.numel() else 0
    return visible.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :kept]


def _trace_faces(
    scenes: SceneBatch,
    cameras: Cameras,
    rays: Tensor,
    shape: tuple[int, int],
    exists: Tensor,
    is_disc: bool,
    best: Tensor,
    surface: Tensor,
) -> None:
    scene, cam2world = cameras.scene, cameras.cam2world
    center = to_camera(cam2world, scenes.face_center[scene] - cam2world[:, None, :3, 3])
    half_u = to_camera(cam2world, scenes.face_half_u[scene])
    half_v = to_camera(cam2world, scenes.face_half_v[scene])
    normal = torch.linalg.cross(half_u, half_v)
    distance = (center * normal).sum(-1)
    facing = torch.where(scenes.face_one_sided[scene], distance < 0, distance != 0)
    visible = exists[scene] & facing & _in_frustum(cameras, shape, center, half_u, half_v)
    kept = _keep_visible(visible)
    if kept.shape[1] == 0:
        return
    inverse = normal / torch.where(distance == 0, 1.0, distance)[..., None]

    def linear(axis: Tensor) -> Tensor:
        unit = axis / axis.square().sum(-1, keepdim=True).clamp_min(1e-12)
        return unit - (center * unit).sum(-1, keepdim=True) * inverse

    forms = torch.stack([inverse, linear(half_u), linear(half_v)], dim=1)
    forms = torch.where(visible[:, None, :, None], forms, 0.0)
    step = _FACES_AT_ONCE.get(rays.device.type, 8)
    for start in range(0, kept.shape[1], step):
        index = kept[:, start : start + step]
        chosen = forms.gather(2, index[:, None, :, None].expand(-1, 3, -1, 3))
        values = rearrange(chosen, "v f k c -> v (f k) c") @ rays
        w, u, v = rearrange(values, "v (f k) n -> f v k n", f=3)
        radius = torch.hypot(u, v) if is_disc else torch.maximum(u.abs_(), v.abs_())
        nearest, winner = torch.where(radius <= w, w, 0.0).max(dim=1)
        closer = nearest > best
        best.copy_(torch.where(closer, nearest, best))
        surface.copy_(torch.where(closer, index.gather(1, winner).to(torch.int32), surface))


def _in_frustum(
    cameras: Cameras, shape: tuple[int, int], center: Tensor, half_u: Tensor, half_v: Tensor
) -> Tensor:
    """False where all four corners of a face lie outside one of the frustum's planes."""
    K = cameras.intrinsics
    height, width = shape
    left, right = -(K[:, 0, 2] + 0.5) / K[:, 0, 0], (width - 0.5 - K[:, 0, 2]) / K[:, 0, 0]
    top, bottom = -(K[:, 1, 2] + 0.5) / K[:, 1, 1], (height - 0.5 - K[:, 1, 2]) / K[:, 1, 1]
    one, zero = torch.ones_like(left), torch.zeros_like(left)
    planes = torch.stack(
        [
            torch.stack([one, zero, -left], -1),
            torch.stack([-one, zero, right], -1),
            torch.stack([zero, one, -top], -1),
            torch.stack([zero, -one, bottom], -1),
            torch.stack([zero, zero, one], -1),
        ],
        dim=-1,
    )
    # The largest value over the corners of a linear function: its value at the centre plus both half axes'.
    reach = center @ planes + (half_u @ planes).abs() + (half_v @ planes).abs()
    return (reach > 0).all(-1)


def _trace_rounds(scenes: SceneBatch, cameras: Cameras, rays: Tensor, best: Tensor, surface: Tensor) -> None:
    scene, cam2world = cameras.scene, cameras.cam2world
    center = to_camera(cam2world, scenes.round_center[scene] - cam2world[:, None, :3, 3])
    axes = scenes.round_axes[scene]
    reach = axes.square().sum((-1, -2)).sqrt()
    visible = scenes.round_exists[scene] & (center[..., 2] > -reach)
    kept = _keep_visible(visible)
    first_row = scenes.face_center.shape[1]
    units = axes / axes.square().sum(-1, keepdim=True).clamp_min(1e-12)
    for column in range(kept.shape[1]):
        index = kept[:, column]
        view = torch.arange(len(index), device=index.device)
        # Rows of `unit` map camera vectors to the body's own coordinates, where it is a unit sphere or tube.
        unit = units[view, index] @ cam2world[:, :3, :3]
        origin = (unit @ center[view, index][..., None])[..., 0]
        direction = unit @ rays
        tube = scenes.round_is_cylinder[scene, index]
        circular = torch.stack([torch.ones_like(tube), torch.ones_like(tube), ~tube], -1).float()
        k = (origin.square() * circular).sum(-1) - 1
        lin = ((origin * circular)[:, None, :] @ direction)[:, 0]
        squared = (circular[:, None, :] @ direction.square())[:, 0]
        discriminant = lin.square() - squared * k[:, None]
        w = (lin + discriminant.clamp_min(0).sqrt()) / k[:, None]
        height = torch.addcmul(direction[:, 2], w, origin[:, 2:], value=-1.0).abs_()
        inside = (discriminant >= 0) & (lin > 0) & ((height <= w) | ~tube[:, None])
        inside &= ((k > 0) & visible[view, index])[:, None]
        closer = inside & (w > best)
        best.copy_(torch.where(closer, w, best))
        surface.copy_(torch.where(closer, (index[:, None] + first_row).to(torch.int32), surface))
