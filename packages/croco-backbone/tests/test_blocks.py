"""Blocks against the formulas written plainly, their names and their errors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from croco_backbone import (
    Attention,
    CrossAttention,
    DecoderBlock,
    EncoderBlock,
    Mlp,
    RoPE2D,
    token_positions,
)

DIM, HEADS = 16, 2


def plain_attention(q: Tensor, k: Tensor, v: Tensor, q_at: Tensor, k_at: Tensor) -> Tensor:
    """Attend head by head with an explicit softmax."""
    rope, width, heads = RoPE2D(), DIM // HEADS, []
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        q_head = rope(q[:, None, :, part].contiguous(), q_at)[:, 0]
        k_head = rope(k[:, None, :, part].contiguous(), k_at)[:, 0]
        weights = (q_head @ k_head.transpose(1, 2) / width**0.5).softmax(dim=-1)
        heads.append(weights @ v[..., part])
    return torch.cat(heads, dim=-1)


def test_self_attention_is_the_formula() -> None:
    attention = Attention(DIM, HEADS, RoPE2D())
    x, positions = torch.randn(2, 6, DIM), token_positions(2, 2, 3)
    q, k, v = attention.qkv(x).split(DIM, dim=-1)
    expected = attention.proj(plain_attention(q, k, v, positions, positions))
    assert_close(attention(x, positions), expected, atol=2e-6, rtol=1e-5)


def test_cross_attention_is_the_formula() -> None:
    attention = CrossAttention(DIM, HEADS, RoPE2D())
    x, memory = torch.randn(2, 6, DIM), torch.randn(2, 4, DIM)
    x_at, memory_at = token_positions(2, 2, 3), token_positions(2, 4, 1)
    q, k, v = attention.projq(x), attention.projk(memory), attention.projv(memory)
    expected = attention.proj(plain_attention(q, k, v, x_at, memory_at))
    assert_close(attention(x, memory, x_at, memory_at), expected, atol=2e-6, rtol=1e-5)


def test_decoder_block_normalises_its_memory_and_returns_it_unchanged() -> None:
    block = DecoderBlock(DIM, HEADS, rope=RoPE2D())
    nn.init.normal_(block.norm_y.weight)
    x, memory = torch.randn(1, 6, DIM), torch.randn(1, 4, DIM)
    x_at, memory_at = token_positions(1, 2, 3), token_positions(1, 2, 2)
    out, memory_out = block(x, memory, x_at, memory_at)
    assert memory_out is memory
    step = x + block.attn(block.norm1(x), x_at)
    step = step + block.cross_attn(block.norm2(step), block.norm_y(memory), x_at, memory_at)
    assert_close(out, step + block.mlp(block.norm3(step)))


def test_names_of_parameters() -> None:
    linear = ["attn.proj", "attn.qkv", "mlp.fc1", "mlp.fc2"]
    assert modules_of(EncoderBlock(DIM, HEADS)) == sorted([*linear, "norm1", "norm2"])
    cross = [f"cross_attn.{name}" for name in ("proj", "projk", "projq", "projv")]
    norms = ["norm1", "norm2", "norm3"]
    assert modules_of(DecoderBlock(DIM, HEADS)) == sorted([*linear, *cross, *norms, "norm_y"])
    assert modules_of(DecoderBlock(DIM, HEADS, norm_memory=False)) == sorted([*linear, *cross, *norms])


def modules_of(block: nn.Module) -> list[str]:
    names = {name.rpartition(".")[0] for name in block.state_dict()}
    assert all(f"{name}.{kind}" in block.state_dict() for name in names for kind in ("weight", "bias"))
    return sorted(names)


def test_norms_and_activation() -> None:
    assert EncoderBlock(DIM, HEADS).norm1.eps == 1e-6
    mlp = Mlp(4, 12)
    x = torch.randn(3, 4)
    hidden = mlp.fc1(x)
    gelu = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    assert_close(mlp(x), mlp.fc2(gelu))
    assert Mlp(4, out_features=2)(x).shape == (3, 2)


def test_the_queries_of_one_image_do_not_see_another() -> None:
    block, positions = EncoderBlock(DIM, HEADS, rope=RoPE2D()), token_positions(2, 2, 2)
    x = torch.randn(2, 4, DIM)
    assert_close(block(x, positions)[1:], block(x[1:], positions[1:]))


def test_autocast_keeps_half_precision_inside() -> None:
    block = EncoderBlock(DIM, HEADS, rope=RoPE2D())
    x, positions = torch.randn(1, 4, DIM), token_positions(1, 2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(x, positions)
    assert_close(out.float(), block(x, positions), atol=5e-2, rtol=5e-2)


def test_impossible_head_counts() -> None:
    with pytest.raises(ValueError, match="cannot be split into 3 heads"):
        Attention(16, 3)
    with pytest.raises(ValueError, match=r"12/2 = 6"):
        CrossAttention(12, 2, RoPE2D())
    Attention(12, 2)
