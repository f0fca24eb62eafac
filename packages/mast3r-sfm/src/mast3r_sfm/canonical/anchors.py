"""Anchors: one free depth per block, and how every pixel hangs on its anchor (spec 30 section 4.3)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mast3r_model import InputError


def anchor_grid_shape(shape: tuple[int, int], subsample: int) -> tuple[int, int]:
    """Rows and columns of the grid of anchors of an image.

    Args:
        shape: (height, width) of the image, multiples of ``subsample``.
        subsample: side of a block in pixels.

    Raises:
        InputError: the sides of the image are no multiples of ``subsample``.
    """
    height, width = shape
    if subsample < 1 or height % subsample or width % subsample or not height or not width:
        raise InputError(
            f"an image of height {height} and width {width} cannot be cut into blocks of {subsample} pixels",
            "both sides must be multiples of subsample; network images have multiples of 16",
        )
    return height // subsample, width // subsample


def pixel_grid(shape: tuple[int, int], device: torch.device | str = "cpu") -> Int[Tensor, "pixels 2"]:
    """All pixels (x, y) of an image in raster order, int64."""
    height, width = shape
    y, x = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack((x, y), -1).reshape(-1, 2)


def anchors_of_pixels(
    relative_depth: Float[Tensor, "h w"], xy: Int[Tensor, "n 2"], subsample: int
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """The anchor of each pixel, and the pixel's depth relative to that anchor's.

    Args:
        relative_depth: depth of every pixel divided by that of its block's centre.
        xy: pixels (x, y), within the image.
        subsample: side of a block in pixels.

    Returns:
        Index of the anchor in raster order of the grid of anchors, and relative offset (1 at block centres).

    Raises:
        InputError: a relative depth at a block's centre is not positive.
    """
    height, width = relative_depth.shape
    _, columns = anchor_grid_shape((height, width), subsample)
    half = subsample // 2
    x, y = xy.long().unbind(-1)
    block_x, block_y = x // subsample, y // subsample
    center = relative_depth[block_y * subsample + half, block_x * subsample + half]
    if not bool((center > 0).all()):
        raise InputError("the relative depth at the centre of a block is not positive")
    return block_y * columns + block_x, relative_depth[y, x] / center
