"""Layouts of pixels in token vectors."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def patchify(
    image: Float[Tensor, "batch channels height width"], patch_size: int
) -> Float[Tensor, "batch tokens patch_numbers"]:
    """Cut images into one vector per patch, pixel-major with the channel fastest (spec 10 section 4.10).

    This is the layout of CroCo's prediction; the pixel-shuffle heads have another (`pixel_shuffle_tokens`).
    """
    height, width = image.shape[-2:]
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"an image of {height}x{width} pixels cannot be cut into patches of {patch_size}: both sides "
            "must be a multiple of it"
        )
    return rearrange(image, "b c (h p) (w q) -> b (h w) (p q c)", p=patch_size, q=patch_size)


def unpatchify(
    patches: Float[Tensor, "batch tokens patch_numbers"],
    patch_size: int,
    *,
    grid: tuple[int, int] | None = None,
) -> Float[Tensor, "batch channels height width"]:
    """Put patches back together; the inverse of `patchify`.

    Args:
        patches: One vector per patch.
        patch_size: Side of a patch in pixels.
        grid: (rows, columns) of patches; None: a square grid.
    """
    tokens = patches.shape[1]
    rows, columns = grid if grid is not None else (round(tokens**0.5),) * 2
    if rows * columns != tokens:
        raise ValueError(
            f"{tokens} patches do not fill a grid of {rows}x{columns}: pass grid=(rows, columns)"
        )
    return rearrange(
        patches, "b (h w) (p q c) -> b c (h p) (w q)", h=rows, w=columns, p=patch_size, q=patch_size
    )


def pixel_shuffle_tokens(
    tokens: Float[Tensor, "batch tokens patch_numbers"], patch_size: int, grid: tuple[int, int]
) -> Float[Tensor, "batch channels height width"]:
    """Spread token vectors over their patches, channel slowest (the heads' layout, spec 10 section 7.1).

    Args:
        tokens: Vectors of channels * patch_size ** 2 numbers, index (c * patch_size + dy) * patch_size + dx.
        patch_size: Side of a patch in map pixels.
        grid: (rows, columns) of tokens.
    """
    rows, columns = grid
    return rearrange(
        tokens, "b (h w) (c p q) -> b c (h p) (w q)", h=rows, w=columns, p=patch_size, q=patch_size
    )
