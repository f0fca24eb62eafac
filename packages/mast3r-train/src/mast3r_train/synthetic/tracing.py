"""Which surface each pixel sees, and how far away: exact ray casting in plain PyTorch.

With rays ``r = ((x - cx) / fx, (y - cy) / fy, 1)`` a point at depth z is ``z r``, and the INVERSE depth of a
plane and the plane's own coordinates divided by z are linear in r. So flat faces cost a few sums and
comparisons per pixel, without any division, and round bodies one square root more. Views are cut into tiles,
and each tile looks only at the primitives that reach into it. Everything is batched over the tiles of all
views and works on any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cameras import Cameras
from .primitives import SceneBatch
from .terrain import trace_terrain
from .tiles import Tiles

_PIXELS_AT_ONCE = {"cpu": 48_000, "cuda": 4_000_000}
"""Pixels per step: what stays in a CPU core's cache, and what keeps a GPU busy."""


@dataclass(frozen=True)
class Hits:
    """What the pixels see.

    Attributes:
        inverse_depth: 1 / z in 1 / metres; 0 where nothing is hit.
        surface: row of the scene's surface table; -1 where nothing is hit.
    """

    inverse_depth: Float[Tensor, "views pixels"]
    surface: Int[Tensor, "views pixels"]

    def __getitem__(self, views: slice) -> Hits:
        """Those of some of the views."""
        return Hits(self.inverse_depth[views], self.surface[views])


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
    tiles = Tiles.of(cameras, shape)
    best = torch.zeros(tiles.count, *tiles.shape, device=scenes.device)
    surface = torch.full_like(best, -1, dtype=torch.int32)
    exists = scenes.face_exists & scenes.face_casts_shadow if casters_only else scenes.face_exists
    for is_disc in (False, True):
        _trace_faces(
            scenes, cameras, tiles, exists & (scenes.face_is_disc == is_disc), is_disc, best, surface
        )
    _trace_rounds(scenes, cameras, tiles, best, surface)
    hits = Hits(tiles.merge(best), tiles.merge(surface))
    if not casters_only:
        on_terrain = torch.nonzero(scenes.terrain_extent[cameras.scene] > 0)[:, 0]
        for views in _groups(on_terrain, shape[0] * shape[1]):
            trace_terrain(scenes, cameras[views], shape, views, hits.inverse_depth, hits.surface)
    return hits


def _to_camera(cam2world: Float[Tensor, "views 4 4"], vectors: Tensor) -> Tensor:
    """Rotate world vectors (views, n, 3) into the cameras' axes."""
    return vectors @ cam2world[:, :3, :3]


def _groups(indices: Int[Tensor, " n"], pixels_each: int) -> Iterator[Int[Tensor, " some"]]:
    """Cut a list of views or tiles into groups of a size that suits the device."""
    at_once = max(1, _PIXELS_AT_ONCE.get(indices.device.type, 48_000) // pixels_each)
    for start in range(0, len(indices), at_once):
        yield indices[start : start + at_once]


def _tile_groups(
    visible: Bool[Tensor, "tiles n"], tile_pixels: int
) -> Iterator[tuple[Int[Tensor, " group"], Int[Tensor, "group most"]]]:
    """Tiles that see something, in groups of similar work, with the indices of what each sees.

    Rows are filled up with the index n, which must stand for a primitive that nothing sees.
    """
    if not visible.any():
        return
    counts = visible.sum(dim=1)
    tile, primitive = torch.nonzero(visible, as_tuple=True)
    rank = torch.arange(len(tile), device=tile.device) - (counts.cumsum(0) - counts)[tile]
    listed = torch.full((len(counts), int(counts.max())), visible.shape[1], device=tile.device)
    listed[tile, rank] = primitive
    order = counts.argsort(descending=True)[: int((counts > 0).sum())]
    for group in _groups(order, tile_pixels):
        yield group, listed[group, : int(counts[group[0]])]


def _trace_faces(
    scenes: SceneBatch,
    cameras: Cameras,
    tiles: Tiles,
    exists: Bool[Tensor, "scenes faces"],
    is_disc: bool,
    best: Float[Tensor, "tiles height width"],
    surface: Int[Tensor, "tiles height width"],
) -> None:
    scene, cam2world = cameras.scene, cameras.cam2world
    center = _to_camera(cam2world, scenes.face_center[scene] - cam2world[:, None, :3, 3])
    half_u = _to_camera(cam2world, scenes.face_half_u[scene])
    half_v = _to_camera(cam2world, scenes.face_half_v[scene])
    normal = torch.linalg.cross(half_u, half_v)
    distance = (center * normal).sum(-1)
    facing = torch.where(scenes.face_one_sided[scene], distance < 0, distance != 0)
    in_front = center[..., 2] + half_u[..., 2].abs() + half_v[..., 2].abs() > 0

    def reach(plane: Tensor) -> Tensor:
        # A linear function's largest change from a face's centre is at a corner.
        return (half_u @ plane).abs() + (half_v @ plane).abs()

    visible = tiles.seen(center, reach, exists[scene] & facing & in_front)
    inverse = normal / torch.where(distance == 0, 1.0, distance)[..., None]

    def linear(axis: Tensor) -> Tensor:
        unit = axis / axis.square().sum(-1, keepdim=True).clamp_min(1e-12)
        return unit - (center * unit).sum(-1, keepdim=True) * inverse

    # One more face, of inverse depth 0 everywhere, that no pixel prefers to nothing.
    forms = torch.stack([inverse, linear(half_u), linear(half_v)], dim=2)
    forms = torch.nn.functional.pad(forms, (0, 0, 0, 0, 0, 1))
    for group, faces in _tile_groups(visible, tiles.shape[0] * tiles.shape[1]):
        x, y = tiles.rays(group)
        form = forms[tiles.view(group)[:, None], faces]
        along_x = (form[..., :1] * x[:, None, None] + form[..., 2:])[..., None, :]
        along_y = (form[..., 1:2] * y[:, None, None])[..., None]
        nearest, winner = best[group], surface[group]
        for k in range(faces.shape[1]):
            w, u, v = (along_x[:, k] + along_y[:, k]).unbind(1)
            radius = torch.hypot(u, v) if is_disc else torch.maximum(u.abs_(), v.abs_())
            closer = (radius <= w).logical_and_(w > nearest)
            nearest = torch.where(closer, w, nearest)
            winner = torch.where(closer, faces[:, k, None, None].to(torch.int32), winner)
        best[group], surface[group] = nearest, winner


def _trace_rounds(
    scenes: SceneBatch,
    cameras: Cameras,
    tiles: Tiles,
    best: Float[Tensor, "tiles height width"],
    surface: Int[Tensor, "tiles height width"],
) -> None:
    scene, cam2world = cameras.scene, cameras.cam2world
    center = _to_camera(cam2world, scenes.round_center[scene] - cam2world[:, None, :3, 3])
    axes = scenes.round_axes[scene]
    radius = axes.square().sum((-1, -2)).sqrt()
    # Rows of `unit` map camera vectors to the body's own coordinates, where it is a unit sphere or tube.
    unit = axes / axes.square().sum(-1, keepdim=True).clamp_min(1e-12) @ cam2world[:, None, :3, :3]
    origin = (unit @ center[..., None])[..., 0]
    tube = scenes.round_is_cylinder[scene]
    circular = torch.stack([torch.ones_like(tube), torch.ones_like(tube), ~tube], -1).float()
    power = (origin.square() * circular).sum(-1) - 1
    is_outside = scenes.round_exists[scene] & (center[..., 2] > -radius) & (power > 0)
    visible = tiles.seen(center, lambda plane: radius[..., None] * plane.norm(dim=1)[:, None], is_outside)
    first_row = scenes.face_center.shape[1]
    for group, bodies in _tile_groups(visible, tiles.shape[0] * tiles.shape[1]):
        x, y = tiles.rays(group)
        view = tiles.view(group)
        nearest, winner = best[group], surface[group]
        for k in range(bodies.shape[1]):
            index = bodies[:, k].clamp_max(visible.shape[1] - 1)
            m, o, disc = unit[view, index], origin[view, index], circular[view, index]
            along_x = m[:, :, :1] * x[:, None] + m[:, :, 2:]
            direction = along_x[:, :, None, :] + (m[:, :, 1:2] * y[:, None])[..., None]
            w = _body_inverse_depth(direction, o, disc, power[view, index])
            closer = (w > nearest).logical_and_((bodies[:, k] < visible.shape[1])[:, None, None])
            nearest = torch.where(closer, w, nearest)
            winner = torch.where(closer, (index + first_row).to(torch.int32)[:, None, None], winner)
        best[group], surface[group] = nearest, winner


def _body_inverse_depth(
    direction: Float[Tensor, "tiles 3 height width"],
    origin: Float[Tensor, "tiles 3"],
    circular: Float[Tensor, "tiles 3"],
    power: Float[Tensor, " tiles"],
) -> Float[Tensor, "tiles height width"]:
    """1 / z of the near intersection with a unit sphere or tube, 0 where it is missed.

    Args:
        direction: rays in the body's coordinates.
        origin: from the camera to the body's centre, likewise.
        circular: 1 for the coordinates in which the body is round; 0 along a tube.
        power: squared distance of the camera in the round coordinates, less 1; positive.
    """
    power, is_tube = power[:, None, None], circular[:, 2, None, None] == 0
    weighted = (origin * circular)[..., None, None]
    toward = (direction * weighted).sum(1)
    squared = torch.einsum("ncij,nc->nij", direction.square(), circular)
    discriminant = toward.square().sub_(squared.mul_(power))
    w = discriminant.clamp_min(0).sqrt_().add_(toward).div_(power)
    height = torch.addcmul(direction[:, 2], w, origin[:, 2, None, None], value=-1.0).abs_()
    inside = (discriminant >= 0).logical_and_(toward > 0).logical_and_((height <= w).logical_or_(~is_tube))
    return w.mul_(inside)
