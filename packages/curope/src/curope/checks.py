"""What the operators accept, checked once at their door."""

from __future__ import annotations

import torch
from torch import Tensor

POSITION_DTYPES = (torch.int32, torch.int64)


def check_arguments(tokens: Tensor, positions: Tensor) -> None:
    """Refuse what cannot be rotated.

    Args:
        tokens: expected (batch, heads, tokens, head_dim), floating point, head_dim a multiple of 4.
        positions: expected (batch, tokens, 2), int32 or int64, on the tokens' device.

    Raises:
        ValueError: a shape or a device is not as expected.
        TypeError: a dtype is not as expected.
    """
    if tokens.ndim != 4:
        raise ValueError(
            f"tokens: expected (batch, heads, tokens, head_dim), got shape {tuple(tokens.shape)}"
        )
    if not tokens.is_floating_point():
        raise TypeError(f"tokens: expected a floating point dtype, got {tokens.dtype}")
    batch, _, count, head_dim = tokens.shape
    if head_dim % 4 != 0:
        raise ValueError(f"tokens: expected a head_dim that is a multiple of 4, got {head_dim}")
    if positions.ndim != 3 or tuple(positions.shape) != (batch, count, 2):
        raise ValueError(
            f"positions: expected (batch, tokens, 2) = ({batch}, {count}, 2) for tokens of shape "
            f"{tuple(tokens.shape)}, got {tuple(positions.shape)}"
        )
    if positions.dtype not in POSITION_DTYPES:
        raise TypeError(f"positions: expected int32 or int64, got {positions.dtype}")
    if positions.device != tokens.device:
        raise ValueError(
            f"positions: expected on the device of tokens ({tokens.device}), got {positions.device}; "
            "move them with positions.to(tokens.device)"
        )


def check_writable(tokens: Tensor) -> None:
    """Refuse tokens that cannot be rotated in place because several of them share one place in memory.

    Raises:
        ValueError: tokens were made by ``expand`` or the like.
    """
    sizes_and_strides = zip(tokens.shape, tokens.stride(), strict=True)
    if any(stride == 0 and size > 1 for size, stride in sizes_and_strides):
        raise ValueError(
            f"tokens: expected memory of their own to rotate in place, got an expanded tensor (shape "
            f"{tuple(tokens.shape)}, strides {tokens.stride()}); use rope2d, or clone first"
        )
