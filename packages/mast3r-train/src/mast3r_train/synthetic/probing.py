"""What cameras would see, measured with depth images of a few pixels: overlap, and what is too near."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cameras import Cameras
from .primitives import FloatArray, Scene, SceneBatch
from .tracing import trace

_LEAST_SEEN = 0.45
"""Share of a good view's pixels that see a surface."""
_TOO_NEAR, _LARGEST_NEAR_SHARE = 0.12, 0.05
"""Depth in units of the scene's size that is too near, and the share of pixels that may be."""


def outside_obstacles(scene: Scene, position: FloatArray) -> FloatArray:
    """(n,) whether cameras may stand at (n, 3)."""
    if len(scene.obstacles) == 0:
        return np.ones(len(position), bool)
    distance = np.linalg.norm(position[:, None] - scene.obstacles[None, :, :3], axis=-1)
    return (distance > scene.obstacles[:, 3] * 1.02).all(axis=1)


@dataclass(frozen=True)
class Probes:
    """Small depth images of cameras.

    Attributes:
        cameras: with intrinsics for the small images.
        shape: (height, width) of the images.
        depth: z in metres, 0 where nothing is hit.
        is_good: whether a view shows enough surface, and little of it too near.
    """

    cameras: Cameras
    shape: tuple[int, int]
    depth: Float[Tensor, "views pixels"]
    is_good: Bool[Tensor, " views"]

    @staticmethod
    def of(batch: SceneBatch, cameras: Cameras, shape: tuple[int, int]) -> Probes:
        """Trace the images.

        Args:
            batch: the scenes.
            cameras: the views, with intrinsics for `shape`.
            shape: (height, width).
        """
        hits = trace(batch, cameras, shape)
        is_hit = hits.surface >= 0
        depth = torch.where(is_hit, 1 / hits.inverse_depth.clamp_min(1e-6), 0.0)
        near = (is_hit & (depth < _TOO_NEAR * batch.size[cameras.scene, None])).float().mean(1)
        is_good = (is_hit.float().mean(1) > _LEAST_SEEN) & (near < _LARGEST_NEAR_SHARE)
        return Probes(cameras, shape, depth, is_good)

    def overlap(self, first: Int[Tensor, " pairs"], second: Int[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
        """Share of each first view's pixels whose surface point the second view sees."""
        height, width = self.shape
        cameras = self.cameras
        points = cameras.rays(self.shape).transpose(1, 2) * self.depth[..., None]
        world = points @ cameras.cam2world[:, :3, :3].transpose(1, 2) + cameras.cam2world[:, None, :3, 3]
        pose, K = cameras.cam2world[second], cameras.intrinsics[second]
        seen = (world[first] - pose[:, None, :3, 3]) @ pose[:, :3, :3]
        z = seen[..., 2]
        pixel = (seen @ K.transpose(1, 2))[..., :2] / z.clamp_min(1e-6)[..., None]
        column, row = pixel[..., 0].round(), pixel[..., 1].round()
        inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        inside &= self.depth[first] > 0
        index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
        there = self.depth[second].gather(1, index)
        visible = inside & (torch.abs(there - z) < 0.1 * z)
        return visible.float().mean(1)
