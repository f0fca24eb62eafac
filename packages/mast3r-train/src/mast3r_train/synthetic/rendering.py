"""Images and exact geometry of views of synthetic scenes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from .cameras import Cameras
from .primitives import SceneBatch
from .shadows import ShadowMaps
from .terrain import terrain_normal
from .textures import TextureBank
from .tracing import Hits, trace

_PIXELS_AT_ONCE = {"cpu": 24_000, "cuda": 4_000_000}
"""Pixels per step: what stays in a CPU core's cache, and what keeps a GPU busy."""


@dataclass(frozen=True)
class RenderedViews:
    """Views of synthetic scenes; all values hold exactly at pixel centres.

    Attributes:
        image: RGB in [0, 1], before any camera effects.
        depth: z in metres, 0 where there is nothing but sky.
        is_sky: True where no surface is hit.
    """

    image: Float[Tensor, "views 3 height width"]
    depth: Float[Tensor, "views height width"]
    is_sky: Bool[Tensor, "views height width"]


def render(scenes: SceneBatch, bank: TextureBank, cameras: Cameras, shape: tuple[int, int]) -> RenderedViews:
    """Render views: textures, Lambert shading, cast shadows, sky.

    Args:
        scenes: the scenes, on the device that is to compute.
        bank: the textures, on the same device.
        cameras: the views.
        shape: (height, width) in pixels.
    """
    height, width = shape
    at_once = max(1, _PIXELS_AT_ONCE.get(scenes.device.type, 24_000) // (height * width))
    table = _surface_table(scenes)
    shadows = ShadowMaps.of(scenes)
    colors, depths, skies = [], [], []
    all_hits = trace(scenes, cameras, shape)
    for start in range(0, len(cameras.scene), at_once):
        some, hits = cameras[start : start + at_once], all_hits[start : start + at_once]
        is_sky = hits.surface < 0
        colors.append(_shade(scenes, table, bank, shadows, some, hits, shape))
        depths.append(torch.where(is_sky, 0.0, 1 / hits.inverse_depth.clamp_min(1e-9)))
        skies.append(is_sky)
    return RenderedViews(
        image=rearrange(torch.cat(colors, 1), "c v (h w) -> v c h w", h=height),
        depth=rearrange(torch.cat(depths), "v (h w) -> v h w", h=height),
        is_sky=rearrange(torch.cat(skies), "v (h w) -> v h w", h=height),
    )


# Rows of the table of surfaces: where each property lies.
_CENTER, _AXES, _TEXELS, _OFFSET, _TINT = (
    slice(0, 3),
    slice(3, 12),
    slice(12, 14),
    slice(14, 16),
    slice(16, 19),
)
_TEXTURE, _DENSITY = 19, 20


def _surface_table(scenes: SceneBatch) -> Float[Tensor, "properties rows"]:
    """One column per surface of every scene: centre, axes that map an offset to (u, v, n), looks."""
    half_u, half_v = scenes.face_half_u, scenes.face_half_v
    face_axes = torch.stack(
        [
            half_u / half_u.square().sum(-1, keepdim=True).clamp_min(1e-12),
            half_v / half_v.square().sum(-1, keepdim=True).clamp_min(1e-12),
            normalize(torch.linalg.cross(half_u, half_v), dim=-1),
        ],
        dim=-2,
    )
    round_axes = scenes.round_axes / scenes.round_axes.square().sum(-1, keepdim=True).clamp_min(1e-12)
    n = len(half_u)
    extent = torch.where(scenes.terrain_extent > 0, scenes.terrain_extent, 1.0)
    ground_axes = torch.eye(3, device=scenes.device).expand(n, 1, 3, 3) / extent[:, None, None, None]
    center = torch.cat(
        [scenes.face_center, scenes.round_center, torch.zeros(n, 1, 3, device=scenes.device)], 1
    )
    axes = torch.cat([face_axes, round_axes, ground_axes], 1)
    density = (scenes.texels_per_unit.abs() * axes[..., :2, :].square().sum(-1).sqrt()).amax(-1, keepdim=True)
    rows = [
        center,
        axes.flatten(-2),
        scenes.texels_per_unit,
        scenes.texel_offset,
        scenes.tint,
        scenes.texture[..., None].float(),
        density,
    ]
    return rearrange(torch.cat(rows, dim=-1), "s r p -> p (s r)").contiguous()


def _shade(
    scenes: SceneBatch,
    table: Tensor,
    bank: TextureBank,
    shadows: ShadowMaps | None,
    cameras: Cameras,
    hits: Hits,
    shape: tuple[int, int],
) -> Float[Tensor, "3 views pixels"]:
    scene = cameras.scene[:, None]
    rows_per_scene = scenes.texture.shape[1]
    row = hits.surface.clamp_min(0) + scene * rows_per_scene
    looks = rearrange(table.index_select(1, row.flatten()), "p (v n) -> p v n", v=len(scene))

    direction = rearrange(cameras.cam2world[:, :3, :3] @ cameras.rays(shape), "v c n -> c v n")
    depth = 1 / hits.inverse_depth.clamp_min(1e-9)
    point = torch.addcmul(cameras.cam2world[:, :3, 3].T[..., None], direction, depth)
    axes = rearrange(looks[_AXES], "(i j) v n -> i j v n", i=3)
    local = (axes * (point - looks[_CENTER])).sum(1)
    uv, normal = local[:2], axes[2].clone()
    _bend_rounds(scenes, cameras, hits, axes, local, uv, normal)
    _bend_terrain(scenes, cameras, hits, point, normal)

    # A face seen from behind is lit on that side.
    slant = (normal * direction).sum(0)
    normal = torch.where(slant > 0, -normal, normal)
    length = direction.square().sum(0).sqrt_()
    cosine = (slant / length).abs_().clamp_(0.05, 1.0)
    texels_per_pixel = looks[_DENSITY] * depth / (cameras.intrinsics[:, :1, 0] * cosine.pow_(0.7))
    texel = uv * looks[_TEXELS] + looks[_OFFSET]
    albedo = bank.sample(
        looks[_TEXTURE].to(torch.int32).flatten(), texel.flatten(1), texels_per_pixel.flatten()
    ).view_as(point)

    light = scenes.ambient[cameras.scene].T[..., None]
    for i in range(2):
        towards = scenes.light_directions[cameras.scene, i].T[..., None]
        facing = (normal * towards).sum(0).clamp_min_(0)
        if i == 0 and shadows is not None:
            facing = facing * shadows.lit_fraction(scenes, cameras, point)
        light = light + facing * scenes.light_colors[cameras.scene, i].T[..., None]
    up = (direction[2] / length).clamp_(0, 1).sqrt_()
    horizon, zenith = (scenes.sky[cameras.scene, i].T[..., None] for i in range(2))
    sky = horizon + up * (zenith - horizon)
    return torch.where(hits.surface >= 0, albedo * looks[_TINT] * light, sky).clamp_(0, 1)


def _bend_rounds(
    scenes: SceneBatch, cameras: Cameras, hits: Hits, axes: Tensor, local: Tensor, uv: Tensor, normal: Tensor
) -> None:
    """Where a round body is seen: its texture coordinates and outward normals (in place)."""
    faces, rounds = scenes.face_center.shape[1], scenes.round_center.shape[1]
    view, pixel = torch.nonzero((hits.surface >= faces) & (hits.surface < faces + rounds), as_tuple=True)
    if len(view) == 0:
        return
    tube = scenes.round_is_cylinder[cameras.scene[view], hits.surface[view, pixel].long() - faces]
    a, b, c = local[:, view, pixel]
    gradient = torch.stack([a, b, torch.where(tube, 0.0, c)])
    normal[:, view, pixel] = normalize((axes[:, :, view, pixel] * gradient[:, None]).sum(0), dim=0)
    around = torch.atan2(b, a) / torch.pi
    uv[:, view, pixel] = torch.stack([around, torch.where(tube, c, c.clamp(-1, 1).asin() * 2 / torch.pi)])


def _bend_terrain(scenes: SceneBatch, cameras: Cameras, hits: Hits, point: Tensor, normal: Tensor) -> None:
    """Where the height field is seen: its normals (in place)."""
    views = torch.nonzero(scenes.terrain_extent[cameras.scene] > 0)[:, 0]
    if len(views) == 0:
        return
    scene = cameras.scene[views]
    xy = rearrange(point[:2, views], "c v n -> v n c")
    slope = terrain_normal(scenes.terrain_heights[scene], scenes.terrain_extent[scene], xy)
    is_ground = hits.surface[views] == scenes.texture.shape[1] - 1
    normal[:, views] = torch.where(is_ground, rearrange(slope, "v n c -> c v n"), normal[:, views])
