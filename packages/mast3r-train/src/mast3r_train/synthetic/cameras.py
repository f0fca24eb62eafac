"""Pinhole cameras in batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor


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

    def __getitem__(self, views: slice | Int[Tensor, " some"]) -> Cameras:
        """Some of the cameras."""
        return Cameras(self.scene[views], self.intrinsics[views], self.cam2world[views])

    def along_axes(
        self, x: Float[Tensor, " columns"], y: Float[Tensor, " rows"]
    ) -> tuple[Float[Tensor, "views columns"], Float[Tensor, "views rows"]]:
        """x / z of the rays through pixel columns, y / z of those through pixel rows."""
        K = self.intrinsics
        return (x - K[:, 0, 2:]) / K[:, 0, :1], (y - K[:, 1, 2:]) / K[:, 1, 1:2]

    def rays(self, shape: tuple[int, int]) -> Float[Tensor, "views 3 pixels"]:
        """Directions of all pixel centres in the camera's frame, with z = 1."""
        height, width = shape
        device = self.intrinsics.device
        x, y = self.along_axes(torch.arange(width, device=device), torch.arange(height, device=device))
        grid = torch.stack(
            [
                x[:, None, :].expand(-1, height, -1),
                y[:, :, None].expand(-1, -1, width),
                torch.ones((), device=device).expand(len(x), height, width),
            ],
            dim=1,
        )
        return rearrange(grid, "v c h w -> v c (h w)")
