"""Group laws of the rotation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import curope

quick = settings(max_examples=40, deadline=None)
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-4, torch.float16: 8e-3, torch.bfloat16: 6e-2}


@st.composite
def rotations(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, float, float]:
    """Tokens (float64, unit normal), two sets of positions, base, f0."""
    batch, heads, count = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    head_dim = 4 * draw(st.integers(1, 17))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    tokens = torch.randn(batch, heads, count, head_dim, generator=generator, dtype=torch.float64)
    first, second = torch.randint(-40, 200, (2, batch, count, 2), generator=generator)
    base = draw(st.floats(1.5, 1e4))
    f0 = draw(st.floats(0.01, 3.0))
    return tokens, first, second, base, f0


dtypes = st.sampled_from(list(TOLERANCE))


def assert_near(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert actual.dtype == expected.dtype == dtype
    torch.testing.assert_close(actual, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@quick
@given(rotations(), dtypes)
def test_rotations_add(case: tuple[Tensor, Tensor, Tensor, float, float], dtype: torch.dtype) -> None:
    tokens, first, second, base, f0 = case
    tokens = tokens.to(dtype)
    twice = curope.rope2d(curope.rope2d(tokens, first, base, f0), second, base, f0)
    assert_near(twice, curope.rope2d(tokens, first + second, base, f0), dtype)


@quick
@given(rotations(), dtypes)
def test_minus_f0_is_the_inverse(
    case: tuple[Tensor, Tensor, Tensor, float, float], dtype: torch.dtype
) -> None:
    tokens, positions, _, base, f0 = case
    tokens = tokens.to(dtype)
    there = curope.rope2d(tokens, positions, base, f0)
    assert_near(curope.rope2d(there, positions, base, -f0), tokens, dtype)
    assert_near(curope.rope2d(there, -positions, base, f0), tokens, dtype)


@quick
@given(rotations(), dtypes)
def test_norms_are_preserved(case: tuple[Tensor, Tensor, Tensor, float, float], dtype: torch.dtype) -> None:
    tokens, positions, _, base, f0 = case
    tokens = tokens.to(dtype)
    out = curope.rope2d(tokens, positions, base, f0)
    # Of every pair, not of the head only.
    pairs, rotated = (t.double().unflatten(-1, (2, 2, -1)).norm(dim=-2) for t in (tokens, out))
    torch.testing.assert_close(rotated, pairs, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@quick
@given(rotations())
def test_only_differences_matter_to_attention(case: tuple[Tensor, Tensor, Tensor, float, float]) -> None:
    tokens, positions, _, base, f0 = case

    def scores(shift: int) -> Tensor:
        rotated = curope.rope2d(tokens, positions + shift, base, f0)
        return rotated @ rotated.transpose(-1, -2)

    torch.testing.assert_close(scores(0), scores(31), atol=1e-9, rtol=1e-9)


@quick
@given(rotations(), dtypes)
def test_same_bits_for_all_layouts(
    case: tuple[Tensor, Tensor, Tensor, float, float], dtype: torch.dtype
) -> None:
    tokens, positions, _, base, f0 = case
    tokens = tokens.to(dtype)
    expected = curope.rope2d(tokens, positions, base, f0)
    assert torch.equal(curope.rope2d(tokens, positions.to(torch.int32), base, f0), expected)
    transposed = tokens.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(curope.rope2d(transposed, positions, base, f0), expected)
    assert torch.equal(curope.rope2d_(tokens.clone(), positions, base, f0), expected)
    assert torch.equal(curope.rope2d_(transposed.clone(), positions, base, f0), expected)


def test_position_zero_is_the_identity() -> None:
    tokens = torch.randn(1, 2, 3, 16)
    assert torch.equal(curope.rope2d(tokens, torch.zeros(1, 3, 2, dtype=torch.int64)), tokens)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_rows_turn_the_first_half_and_columns_the_second(dtype: torch.dtype) -> None:
    tokens = torch.randn(1, 1, 1, 16).to(dtype)
    down = curope.rope2d(tokens, torch.tensor([[[3, 0]]]))
    right = curope.rope2d(tokens, torch.tensor([[[0, 3]]]))
    assert torch.equal(down[..., 8:], tokens[..., 8:])
    assert torch.equal(right[..., :8], tokens[..., :8])
    assert not torch.equal(down[..., :8], tokens[..., :8])
    assert not torch.equal(right[..., 8:], tokens[..., 8:])
