"""The rotation in plain PyTorch: the definition, the CPU's implementation and every other back end's twin."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# Intermediate values of one slab of images stay near the processor: 20-30 % faster than the whole batch.
SLAB_ELEMENTS = 1 << 20


@lru_cache(maxsize=64)
def inverse_frequencies(
    quarter: int, base: float, f0: float, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, " quarter"]:
    """``f0 / base ** (k / quarter)`` for k < quarter, in radians per unit of position (spec 10 section S3.4).

    Cached, so nobody may write into the result. Computed on the CPU, so that all devices use the same bits.
    The literal recipe is kept to the letter: another order of operations moves the last bit.
    """
    with torch.inference_mode(mode=False):
        exponents = torch.arange(0, 2 * quarter, 2, dtype=dtype, device="cpu") / (2 * quarter)
        return (f0 / base**exponents).to(device)


def compute_dtype(tokens: Tensor) -> torch.dtype:
    """The dtype of angles, cosines, sines and products: float64 for float64 tokens, else float32."""
    return torch.float64 if tokens.dtype == torch.float64 else torch.float32


def rotation_tables(
    positions: Int[Tensor, "batch tokens 2"], frequencies: Float[Tensor, " quarter"]
) -> tuple[Float[Tensor, "batch 1 tokens head_dim"], Float[Tensor, "batch 1 tokens head_dim"]]:
    """Cosines ``[c | c]`` and signed sines ``[-s | s]`` of both axes, as wide as a head.

    They are computed anew from the positions, which costs 2 % of the rotation of 16 heads: a table kept for
    all positions would need their maximum, and on a GPU that waits for the device.
    """
    angles = positions.to(frequencies.dtype).unsqueeze(-1) * frequencies
    cosines, sines = angles.cos(), angles.sin()
    wide_cosines = torch.stack((cosines, cosines), dim=-2).flatten(-3)
    wide_sines = torch.stack((-sines, sines), dim=-2).flatten(-3)
    return wide_cosines.unsqueeze(1), wide_sines.unsqueeze(1)


def _rotate_slab(output: Tensor, tokens: Tensor, cosines: Tensor, signed_sines: Tensor) -> None:
    quarter = tokens.shape[-1] // 4
    exact = tokens.to(cosines.dtype)
    # (y, x) x (u, v) x quarter: flip exchanges u and v, so that [u | v] becomes [v | u].
    exchanged = exact.view(*exact.shape[:-1], 2, 2, quarter).flip(-2).flatten(-3)
    exchanged.mul_(signed_sines)
    # Product and sum are rounded one by one: addcmul may fuse them, and then the bits depend on the CPU.
    if output.dtype == cosines.dtype:
        torch.mul(exact, cosines, out=output)
        output.add_(exchanged)
    else:
        output.copy_(exchanged.add_(exact * cosines))


def rotate_into(
    output: Float[Tensor, "batch heads tokens head_dim"],
    tokens: Float[Tensor, "batch heads tokens head_dim"],
    positions: Int[Tensor, "batch tokens 2"],
    frequencies: Float[Tensor, " quarter"],
) -> None:
    """Write the rotated tokens into ``output``, which may be ``tokens`` itself (spec 10 section S3.1).

    A head is ``[yu | yv | xu | xv]``, a quarter each. With ``angle = position * frequency`` of its axis, each
    pair becomes ``u cos - v sin, v cos + u sin``. Angles and products are in the dtype of ``frequencies``.

    Args:
        output: any strides, written.
        tokens: any strides.
        positions: (y, x) of each token, any strides.
        frequencies: of ``inverse_frequencies``, float32, or float64 for float64 tokens.
    """
    cosines, signed_sines = rotation_tables(positions, frequencies)
    batch = tokens.shape[0]
    slab = max(1, SLAB_ELEMENTS * batch // tokens.numel()) if tokens.device.type == "cpu" else batch
    for first in range(0, batch, slab):
        images = slice(first, first + slab)
        _rotate_slab(output[images], tokens[images], cosines[images], signed_sines[images])
