"""Views cut into equal tiles, so that each looks only at what reaches into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from .cameras import Cameras

_MOST_PER_SIDE = 8
_LEAST_PIXELS = 16


@dataclass(frozen=True)
class Tiles:
    """Tiles of a batch of views, in the order (view, row, column).

    Attributes:
        x: x / z of the rays through each column of tiles' pixel columns.
        y: y / z of the rays through each row of tiles' pixel rows.
        edges_x: x / z of the borders between columns of tiles.
        edges_y: y / z of the borders between rows of tiles.
    """

    x: Float[Tensor, "views columns width"]
    y: Float[Tensor, "views rows height"]
    edges_x: Float[Tensor, "views columns+1"]
    edges_y: Float[Tensor, "views rows+1"]

    @staticmethod
    def of(cameras: Cameras, shape: tuple[int, int]) -> Tiles:
        """Cut views of `shape` (height, width)."""
        device = cameras.intrinsics.device
        (rows, height), (columns, width) = ((n, side // n) for side in shape for n in [_tiles_along(side)])
        x, y = cameras.along_axes(
            torch.arange(shape[1], device=device), torch.arange(shape[0], device=device)
        )
        edges_x, edges_y = cameras.along_axes(
            torch.arange(columns + 1, device=device) * width - 0.5,
            torch.arange(rows + 1, device=device) * height - 0.5,
        )
        return Tiles(
            rearrange(x, "v (c w) -> v c w", c=columns),
            rearrange(y, "v (r h) -> v r h", r=rows),
            edges_x,
            edges_y,
        )

    @property
    def count(self) -> int:
        """Tiles of all views together."""
        return len(self.x) * self.x.shape[1] * self.y.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a tile in pixels."""
        return self.y.shape[2], self.x.shape[2]

    def view(self, tiles: Int[Tensor, " some"]) -> Int[Tensor, " some"]:
        """The views that tiles are cut from."""
        return tiles // (self.x.shape[1] * self.y.shape[1])

    def rays(
        self, tiles: Int[Tensor, " some"]
    ) -> tuple[Float[Tensor, "some width"], Float[Tensor, "some height"]]:
        """x / z of tiles' pixel columns and y / z of their pixel rows."""
        columns, rows = self.x.shape[1], self.y.shape[1]
        view = self.view(tiles)
        return self.x[view, tiles % columns], self.y[view, tiles // columns % rows]

    def merge(self, values: Shaped[Tensor, "tiles height width"]) -> Shaped[Tensor, "views pixels"]:
        """Put tiles together to views."""
        columns, rows = self.x.shape[1], self.y.shape[1]
        return rearrange(values, "(v r c) h w -> v (r h c w)", r=rows, c=columns)

    def seen(
        self,
        center: Float[Tensor, "views n 3"],
        reach: Callable[[Float[Tensor, "views 3 planes"]], Float[Tensor, "views n planes"]],
        candidates: Bool[Tensor, "views n"],
    ) -> Bool[Tensor, "tiles n"]:
        """Which primitives reach into which tile: none of those that a tile sees is left out.

        Args:
            center: the primitives' centres in the cameras' frames.
            reach: how far linear functions of the position, given by their gradients, can differ from their
                values at the centres.
            candidates: primitives to look at.
        """
        along = [
            self._reach_into(edges, axis, center, reach)
            for axis, edges in ((0, self.edges_x), (1, self.edges_y))
        ]
        visible = along[1][:, :, None, :] & along[0][:, None, :, :] & candidates[:, None, None]
        return rearrange(visible, "v r c n -> (v r c) n")

    @staticmethod
    def _reach_into(
        edges: Tensor, axis: int, center: Tensor, reach: Callable[[Tensor], Tensor]
    ) -> Bool[Tensor, "views strips n"]:
        # Planes through the camera's centre and an edge: positive on the far side of the edge.
        planes = torch.zeros(len(edges), 3, edges.shape[1], device=edges.device)
        planes[:, axis] = 1
        planes[:, 2] = -edges
        value, spread = center @ planes, reach(planes)
        inside = (value + spread > 0)[..., :-1] & (value - spread < 0)[..., 1:]
        return inside.transpose(1, 2)


def _tiles_along(side: int) -> int:
    """The most equal tiles along a side that are not too small to be worth it."""
    fitting = [n for n in range(1, _MOST_PER_SIDE + 1) if side % n == 0 and side // n >= _LEAST_PIXELS]
    return max(fitting, default=1)
