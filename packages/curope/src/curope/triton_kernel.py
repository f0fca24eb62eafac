"""The rotation as a Triton kernel: compiled by Triton at first use, no build step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# Pairs (of one head) a program turns at a time; with 4 warps that is 4 pairs a thread.
PAIRS_PER_TILE = 512
# Heads that share one computation of sines and cosines; more leave too few programs to fill the chip.
HEADS_PER_PROGRAM = 4


@triton.jit  # type: ignore[untyped-decorator]
def _rotate_pairs(  # type: ignore[no-untyped-def]
    output,
    tokens,
    positions,
    frequencies,
    rows,  # batch * tokens
    count,  # tokens of one image
    heads,
    output_batch_stride,
    output_head_stride,
    output_token_stride,
    output_channel_stride,
    batch_stride,
    head_stride,
    token_stride,
    channel_stride,
    position_batch_stride,
    position_token_stride,
    position_axis_stride,
    QUARTER: tl.constexpr,
    ROWS: tl.constexpr,
    PAIRS: tl.constexpr,  # 2 * QUARTER or more: a power of two
    HEADS: tl.constexpr,
):
    # No two programs, and no two elements of a program's tile, touch the same pair: nothing to synchronise.
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    pair = tl.arange(0, PAIRS)[None, :]
    axis = pair // QUARTER
    k = pair % QUARTER
    mask = (row < rows) & (pair < 2 * QUARTER)
    image = row // count
    token = row % count

    position = tl.load(
        positions
        + image * position_batch_stride
        + token * position_token_stride
        + axis * position_axis_stride,
        mask=mask,
        other=0,
    )
    frequency = tl.load(frequencies + k)
    angle = position.to(frequency.dtype) * frequency
    cosine = tl.cos(angle)
    sine = tl.sin(angle)

    u_channel = (axis * (2 * QUARTER) + k).to(tl.int64)
    v_channel = u_channel + QUARTER
    source = tokens + image * batch_stride + token * token_stride
    target = output + image * output_batch_stride + token * output_token_stride
    first = tl.program_id(1) * HEADS
    for head in range(first, tl.minimum(first + HEADS, heads)):
        wide_head = tl.cast(head, tl.int64)
        inputs = source + wide_head * head_stride
        outputs = target + wide_head * output_head_stride
        u = tl.load(inputs + u_channel * channel_stride, mask=mask).to(frequency.dtype)
        v = tl.load(inputs + v_channel * channel_stride, mask=mask).to(frequency.dtype)
        tl.store(
            outputs + u_channel * output_channel_stride,
            (u * cosine - v * sine).to(output.dtype.element_ty),
            mask=mask,
        )
        tl.store(
            outputs + v_channel * output_channel_stride,
            (v * cosine + u * sine).to(output.dtype.element_ty),
            mask=mask,
        )


def _device_guard(device: torch.device) -> AbstractContextManager[Any]:
    # Triton launches on the current device's current stream, whatever the tensors' device is.
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def rotate_into(output: Tensor, tokens: Tensor, positions: Tensor, frequencies: Tensor) -> None:
    """The kernel with the contract of ``reference.rotate_into``; the tensors are not empty."""
    batch, heads, count, head_dim = tokens.shape
    pairs = triton.next_power_of_2(head_dim // 2)
    rows_per_tile = max(1, PAIRS_PER_TILE // pairs)
    grid = (triton.cdiv(batch * count, rows_per_tile), triton.cdiv(heads, HEADS_PER_PROGRAM))
    with _device_guard(tokens.device):
        _rotate_pairs[grid](
            output,
            tokens,
            positions,
            frequencies,
            batch * count,
            count,
            heads,
            *output.stride(),
            *tokens.stride(),
            *positions.stride(),
            QUARTER=head_dim // 4,
            ROWS=rows_per_tile,
            PAIRS=pairs,
            HEADS=HEADS_PER_PROGRAM,
            enable_fp_fusion=False,  # products and sums are rounded one by one, as the twin does
        )
