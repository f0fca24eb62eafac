"""From one long vector per token to a map with a value per pixel (spec 10 section 7.1)."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def tokens_to_map(
    tokens: Float[Tensor, "batch tokens channels_by_pixels"], grid: tuple[int, int], factor: int
) -> Float[Tensor, "batch height width channels"]:
    """Unfold each token into `factor` x `factor` pixels, channel-last, in one copy.

    Args:
        tokens: index ``c * factor**2 + y * factor + x`` holds channel c of pixel (y, x) of the token's
        square.
        grid: (rows, columns) of tokens.
        factor: pixels per token along each axis.
    """
    return rearrange(
        tokens,
        "b (row column) (c y x) -> b (row y) (column x) c",
        row=grid[0],
        column=grid[1],
        y=factor,
        x=factor,
    )
