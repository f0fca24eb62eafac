"""Cast shadows: one depth map per scene, seen from its first light."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from .cameras import Cameras
from .primitives import SceneBatch
from .tracing import trace

_SIDE = 160
"""Pixels per side of a shadow map."""

_LIGHT_DISTANCE = 10.0
"""Distance of the light's camera in radii of the lit region: far enough for nearly parallel rays."""

_TAPS = ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5))
"""Offsets in map pixels over which a shadow's edge is softened."""


@dataclass(frozen=True)
class ShadowMaps:
    """Depth maps of the scenes that have shadows.

    Attributes:
        slot: each scene's map, -1 for none.
        cameras: the lights' cameras.
        inverse_depth: what they see, 0 = nothing.
    """

    slot: Int[Tensor, " scenes"]
    cameras: Cameras
    inverse_depth: Float[Tensor, "maps 1 side side"]

    @staticmethod
    def of(scenes: SceneBatch) -> ShadowMaps | None:
        """Trace the maps; None where no scene has shadows."""
        casting = torch.nonzero(scenes.shadows)[:, 0]
        if len(casting) == 0:
            return None
        cameras = _light_cameras(scenes, casting)
        hits = trace(scenes, cameras, (_SIDE, _SIDE), casters_only=True)
        slot = torch.full((len(scenes.shadows),), -1, device=scenes.device)
        slot[casting] = torch.arange(len(casting), device=scenes.device)
        return ShadowMaps(slot, cameras, rearrange(hits.inverse_depth, "s (h w) -> s 1 h w", h=_SIDE))

    def lit_fraction(
        self, scenes: SceneBatch, cameras: Cameras, point: Float[Tensor, "3 views pixels"]
    ) -> Float[Tensor, "views pixels"]:
        """How much of the light reaches world points, 0 to 1."""
        lit = torch.ones_like(point[0])
        which = self.slot[cameras.scene]
        views = torch.nonzero(which >= 0)[:, 0]
        if len(views) == 0:
            return lit
        which = which[views]
        pose, focal = self.cameras.cam2world[which], self.cameras.intrinsics[which, 0, 0]
        offset = rearrange(point[:, views], "c v n -> v c n") - pose[:, :3, 3:]
        x, y, z = (pose[:, :3, :3].transpose(1, 2) @ offset).unbind(1)
        scale = 2 / _SIDE * focal[:, None] / z
        grid = torch.stack([x * scale, y * scale], dim=-1)[:, None]
        limit = 1 / (z - 0.01 * scenes.size[cameras.scene[views], None])
        blocked = torch.zeros_like(z)
        for dx, dy in _TAPS:
            shift = torch.tensor([dx, dy], device=point.device) * (2 / _SIDE)
            occluder = grid_sample(
                self.inverse_depth[which], grid + shift, mode="nearest", align_corners=False
            )
            blocked += (occluder[:, 0, 0] > limit).float()
        lit[views] = 1 - blocked / len(_TAPS)
        return lit


def _light_cameras(scenes: SceneBatch, casting: Int[Tensor, " maps"]) -> Cameras:
    """A camera per scene that looks from far away along the first light."""
    forward = -scenes.light_directions[casting, 0]
    helper = torch.tensor([0.0, 1.0, 0.0], device=scenes.device).expand_as(forward)
    right = normalize(torch.linalg.cross(helper, forward), dim=-1)
    down = torch.linalg.cross(forward, right)
    radius = scenes.size[casting] * 2.5
    pose = torch.eye(4, device=scenes.device).repeat(len(casting), 1, 1)
    pose[:, :3, :3] = torch.stack([right, down, forward], dim=-1)
    pose[:, :3, 3] = -forward * (radius * _LIGHT_DISTANCE)[:, None]
    K = torch.eye(3, device=scenes.device).repeat(len(casting), 1, 1)
    K[:, 0, 0] = K[:, 1, 1] = _SIDE / 2 * _LIGHT_DISTANCE
    K[:, :2, 2] = _SIDE / 2 - 0.5
    return Cameras(casting, K, pose)
