"""RoPE against upstream and its group laws; grids; the cosine table's column-first order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from croco_backbone import RoPE2D, cosine_table, resize_cosine_table, rope_from_name, token_positions


@pytest.mark.parametrize("group", ["a", "b", "c"])
def test_rope_golden(group: str, goldens: Callable[[str], Path]) -> None:
    with np.load(goldens("model/rope2d.npz")) as arrays:
        load = {
            name: torch.from_numpy(arrays[f"{group}/{name}"])
            for name in ("tokens", "positions", "out", "grad_out", "grad_tokens", "base_F0")
        }
    base, f0 = load["base_F0"].tolist()
    tokens = load["tokens"].requires_grad_()
    rotated = RoPE2D(base, f0)(tokens, load["positions"])
    assert_close(rotated, load["out"], atol=1e-5, rtol=0.0)
    rotated.backward(load["grad_out"])
    assert_close(tokens.grad, load["grad_tokens"], atol=1e-5, rtol=0.0)


def test_rope_worked_example() -> None:
    rotated = RoPE2D()(torch.ones(1, 1, 1, 8), torch.tensor([[[1, 2]]]))
    expected = [-0.301169, 0.895171, 1.381773, 1.094838, -1.325444, 0.781397, 0.493151, 1.178736]
    assert_close(rotated.flatten(), torch.tensor(expected), atol=1e-6, rtol=0.0)


@settings(max_examples=25, deadline=None)
@given(shift=st.tuples(st.integers(0, 40), st.integers(0, 40)), seed=st.integers(0, 2**16))
def test_scores_depend_on_relative_positions_only(shift: tuple[int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    queries, keys = torch.randn(2, 1, 2, 6, 16, generator=generator, dtype=torch.float64)
    positions = token_positions(1, 2, 3)
    rope = RoPE2D()

    def scores(at: torch.Tensor) -> torch.Tensor:
        return rope(queries, at) @ rope(keys, at).transpose(-1, -2)

    assert_close(scores(positions + torch.tensor(shift)), scores(positions), atol=1e-9, rtol=0.0)


def test_half_precision_rotates_in_float32() -> None:
    tokens = torch.randn(1, 2, 9, 32, generator=torch.Generator().manual_seed(0))
    positions = token_positions(1, 3, 3) + 25
    exact = RoPE2D()(tokens.bfloat16().float(), positions)
    rounded = RoPE2D()(tokens.bfloat16(), positions)
    assert rounded.dtype == torch.bfloat16
    assert_close(rounded, exact.bfloat16(), atol=0.0, rtol=0.0)


def test_names() -> None:
    assert rope_from_name("cosine") is None
    assert rope_from_name("RoPE100").base == 100.0  # type: ignore[union-attr]
    assert not RoPE2D().state_dict()
    for name in ("rope", "RoPE", "RoPE-1", "RoPE0", "sine"):
        with pytest.raises(ValueError, match="pos_embed"):
            rope_from_name(name)


def test_token_positions_are_row_major() -> None:
    assert token_positions(2, 2, 3)[1].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


def test_cosine_table_is_column_first() -> None:
    table = cosine_table(2, 3, 8)
    column_part = table[:, :4].view(2, 3, 4)
    row_part = table[:, 4:].view(2, 3, 4)
    assert torch.equal(column_part[0], column_part[1])
    assert torch.equal(row_part[:, 0], row_part[:, 2])
    assert_close(column_part[0, 2, 0], torch.tensor(2.0).sin())
    assert_close(row_part[1, 0, 2], torch.tensor(1.0).cos())


def test_cosine_table_errors() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        cosine_table(2, 2, 6)
    with pytest.raises(ValueError, match="square grid"):
        resize_cosine_table(cosine_table(2, 3, 8), 4, 4)
