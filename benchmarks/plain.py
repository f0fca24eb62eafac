"""The network's pieces as a textbook has them, to see what the faster ones are worth.

Inside `plain_pieces()` attention is softmax(q k^T / sqrt(d)) v with the matrix in memory, convolutions run in
channels-first memory, the rotation takes sines and cosines anew and turns each half of a head with
concatenations, and DPT doubles a map before its 1x1 convolution. Weights and results are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate

from croco_backbone import blocks, dpt, positions


@contextmanager
def plain_pieces() -> Iterator[None]:
    """Swap the pieces of croco_backbone for the plain ones; networks that exist already are affected too."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(blocks, "scaled_dot_product_attention", plain_attention))
        stack.enter_context(patch.object(positions, "rope2d", plain_rope2d))
        stack.enter_context(patch.object(dpt, "rearrange", channels_first))
        stack.enter_context(patch.object(dpt.FeatureFusion, "forward", plain_fusion))
        yield


def plain_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention by its formula."""
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return scores.softmax(dim=-1) @ values


def plain_rope2d(tokens: Tensor, positions: Tensor, base: float, f0: float) -> Tensor:
    """Spec 10 section 3.1, axis by axis."""
    quarter = tokens.shape[-1] // 4
    exponents = torch.arange(quarter, device=tokens.device) / quarter
    rotated = []
    for half, place in zip(tokens.chunk(2, dim=-1), positions.unbind(-1), strict=True):
        angles = place[:, None, :, None] * (f0 / base**exponents)
        angles = torch.cat([angles, angles], dim=-1)
        u, v = half.chunk(2, dim=-1)
        rotated.append(half * angles.cos() + torch.cat([-v, u], dim=-1) * angles.sin())
    return torch.cat(rotated, dim=-1).to(tokens.dtype)


def channels_first(tokens: Tensor, pattern: str, **sizes: int) -> Tensor:
    """Tokens to a map that lies channels-first, and so do all that are made from it."""
    return rearrange(tokens, pattern, **sizes).contiguous()


def plain_fusion(self: dpt.FeatureFusion, x: Tensor, skip: Tensor | None = None) -> Tensor:
    """Spec 10 section 7.4's order: double, then the 1x1 convolution."""
    if skip is not None:
        x = x + self.resConfUnit1(skip)
    x = self.resConfUnit2(x)
    size = (2 * x.shape[-2], 2 * x.shape[-1])
    return self.out_conv(interpolate(x, size=size, mode="bilinear", align_corners=True))
