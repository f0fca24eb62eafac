"""Where a token is: its grid position, and the rotary and cosine embeddings made from it."""

from __future__ import annotations

import re

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from curope import rope2d


def token_positions(
    batch: int, height: int, width: int, device: torch.device | str | None = None
) -> Int[Tensor, "batch tokens 2"]:
    """Give the (row, column) of every token of a grid, in row-major order (spec 10 section 2).

    Args:
        batch: How many images; they share one memory (the batch axis is expanded).
        height: Rows of the token grid.
        width: Columns of the token grid.
        device: Where to make them.

    Returns:
        int64 positions (y, x), counted from 0.
    """
    rows = torch.arange(height, device=device)
    columns = torch.arange(width, device=device)
    return torch.cartesian_prod(rows, columns).view(1, height * width, 2).expand(batch, -1, -1)


class RoPE2D(nn.Module):
    """Rotary position embedding in two dimensions (spec 10 section 3).

    The first half of each head's channels turns with the row, the second half with the column. It has no
    parameters and no buffers; one instance is shared by all blocks.

    Args:
        freq: Base of the geometric series of frequencies (100 in every released model).
        F0: Rotation in radians per token of the fastest channel pair.
    """

    def __init__(self, freq: float = 100.0, F0: float = 1.0) -> None:
        super().__init__()
        self.base = float(freq)
        self.F0 = float(F0)

    def forward(
        self,
        tokens: Float[Tensor, "batch heads tokens head_dim"],
        positions: Int[Tensor, "batch tokens 2"],
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        """Rotate queries or keys by their positions; the head dimension must be a multiple of 4."""
        return rope2d(tokens, positions, self.base, self.F0)

    def extra_repr(self) -> str:
        return f"freq={self.base:g}, F0={self.F0:g}"


def rope_from_name(pos_embed: str) -> RoPE2D | None:
    """Build the rotary embedding that a configuration names.

    Args:
        pos_embed: ``'RoPE<base>'``, such as ``'RoPE100'``, or ``'cosine'``.

    Returns:
        The module, or None for ``'cosine'`` (an added table, see `cosine_table`).

    Raises:
        ValueError: For any other name.
    """
    if pos_embed == "cosine":
        return None
    match = re.fullmatch(r"RoPE(\d+(?:\.\d*)?)", pos_embed)
    if match is None or float(match[1]) <= 0:
        raise ValueError(
            f"pos_embed={pos_embed!r} is unknown: use 'cosine' or 'RoPE<base>', for instance 'RoPE100'"
        )
    return RoPE2D(freq=float(match[1]))


def cosine_table(height: int, width: int, dim: int) -> Float[Tensor, "tokens dim"]:
    """Make the fixed sine/cosine embedding of CroCo v1 (spec 10 section 4.7), column first.

    Args:
        height: Rows of the token grid.
        width: Columns of the token grid.
        dim: Channels, a multiple of 4.

    Returns:
        float32 table, tokens in row-major order.
    """
    if dim % 4:
        raise ValueError(f"a cosine embedding needs a width that is a multiple of 4, got {dim}")
    omega = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    y, x = token_positions(1, height, width)[0].double().unbind(-1)
    angle_x, angle_y = torch.outer(x, omega), torch.outer(y, omega)
    return torch.cat([angle_x.sin(), angle_x.cos(), angle_y.sin(), angle_y.cos()], dim=1).float()


def resize_cosine_table(
    table: Float[Tensor, "tokens dim"], height: int, width: int
) -> Float[Tensor, "resized_tokens dim"]:
    """Interpolate a stored cosine table of a square grid to another grid, bicubically (spec 10 section 4.7).

    Raises:
        ValueError: If the stored table is not that of a square grid.
    """
    tokens, dim = table.shape
    side = int(tokens**0.5)
    if side * side != tokens:
        raise ValueError(f"only the table of a square grid can be resized, got one of {tokens} tokens")
    grid = table.view(1, side, side, dim).permute(0, 3, 1, 2)
    resized = nn.functional.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).reshape(height * width, dim)
