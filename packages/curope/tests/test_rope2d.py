"""Values: goldens, the literal recipe, and every layout and dtype against them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import curope

# Largest error on unit-normal tokens, positions < 32: float32 rotation, then one rounding (spec 10 S3.3).
HALF_TOLERANCE = {torch.float16: 1.8e-3, torch.bfloat16: 1.6e-2}


def literal_recipe(tokens: Tensor, positions: Tensor, base: float = 100.0, f0: float = 1.0) -> Tensor:
    """Spec 10 section S3.4, word for word; angles in the dtype of the tokens."""
    quarter = tokens.shape[-1] // 4
    w = f0 / base ** (torch.arange(0, 2 * quarter, 2, dtype=tokens.dtype) / (2 * quarter))
    parts = list(tokens.split(quarter, dim=-1))
    rotated = []
    for axis in range(2):
        theta = (positions[..., axis, None].to(tokens.dtype) * w)[:, None]
        u, v = parts[2 * axis], parts[2 * axis + 1]
        rotated += [u * theta.cos() - v * theta.sin(), v * theta.cos() + u * theta.sin()]
    return torch.cat(rotated, dim=-1)


def sample(
    batch: int = 2, heads: int = 3, count: int = 10, head_dim: int = 16, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(batch, heads, count, head_dim, generator=generator, dtype=torch.float64).to(dtype)
    return tokens, torch.randint(0, 32, (batch, count, 2), generator=generator)


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_golden(goldens, case: str) -> None:
    import numpy as np

    with np.load(goldens("model/rope2d.npz"), allow_pickle=False) as stored:
        golden = {name: torch.from_numpy(stored[f"{case}/{name}"]) for name in
                  ("tokens", "positions", "out", "grad_out", "grad_tokens", "out_float64")}  # fmt: skip
        base, f0 = stored[f"{case}/base_F0"].tolist()
    tokens = golden["tokens"].requires_grad_()
    out = curope.rope2d(tokens, golden["positions"], base, f0)
    assert torch.equal(out.detach(), golden["out"])  # bitwise: spec 10 section S3.4
    out.backward(golden["grad_out"])
    torch.testing.assert_close(tokens.grad, golden["grad_tokens"], atol=1e-5, rtol=0)
    exact = curope.rope2d(tokens.detach().double(), golden["positions"], base, f0)
    torch.testing.assert_close(exact, golden["out_float64"], atol=1e-11, rtol=0)


def test_check_of_the_spec() -> None:
    expected = [-0.301169, 0.895171, 1.381773, 1.094838, -1.325444, 0.781397, 0.493151, 1.178736]
    out = curope.rope2d(torch.ones(1, 1, 1, 8), torch.tensor([[[1, 2]]]))
    torch.testing.assert_close(out.flatten(), torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("head_dim", [4, 8, 12, 48, 64, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_literal_recipe_bitwise(head_dim: int, dtype: torch.dtype) -> None:
    tokens, positions = sample(head_dim=head_dim, dtype=dtype)
    assert torch.equal(
        curope.rope2d(tokens, positions, 50.0, 0.7), literal_recipe(tokens, positions, 50.0, 0.7)
    )


@pytest.mark.parametrize("dtype", HALF_TOLERANCE)
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    tokens, positions = sample(dtype=dtype)
    out = curope.rope2d(tokens, positions)
    assert out.dtype == dtype
    assert torch.equal(out, literal_recipe(tokens.float(), positions).to(dtype))
    exact = literal_recipe(tokens.double(), positions)
    torch.testing.assert_close(out.double(), exact, atol=HALF_TOLERANCE[dtype], rtol=0)


def test_views_of_a_fused_qkv_need_no_copy() -> None:
    batch, count, heads, head_dim = 2, 9, 3, 8
    qkv = torch.randn(batch, count, 3, heads, head_dim)
    _, positions = sample(batch, heads, count, head_dim)
    queries = qkv[:, :, 0].transpose(1, 2)
    out = curope.rope2d(queries, positions)
    assert torch.equal(out, literal_recipe(queries, positions))
    assert out.stride() == torch.empty_like(queries).stride()
    kept = qkv[:, :, 1:].clone()
    assert curope.rope2d_(queries, positions) is queries
    assert torch.equal(queries, out)
    assert torch.equal(qkv[:, :, 1:], kept)


def test_strides_of_all_kinds() -> None:
    tokens, positions = sample(head_dim=8)
    expected = curope.rope2d(tokens, positions)
    channels_first = tokens.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    every_other = torch.stack((tokens, tokens), dim=-1).flatten(-2)[..., ::2]
    strided_positions = torch.stack((positions, positions), dim=-1)[..., 0]
    for layout in (channels_first, every_other):
        assert torch.equal(curope.rope2d(layout, strided_positions), expected)
    expanded = tokens[:1].expand(4, -1, -1, -1)
    repeated = positions[:1].expand(4, -1, -1)
    assert torch.equal(curope.rope2d(expanded, repeated), expected[:1].expand(4, -1, -1, -1))


def test_batches_larger_than_a_slab(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, positions = sample(batch=7)
    expected = curope.rope2d(tokens, positions)
    monkeypatch.setattr("curope.reference.SLAB_ELEMENTS", 2 * tokens[0].numel())
    assert torch.equal(curope.rope2d(tokens, positions), expected)


@pytest.mark.parametrize("shape", [(0, 2, 3, 8), (2, 0, 3, 8), (2, 2, 0, 8), (2, 2, 3, 0)])
def test_zero_sizes(shape: tuple[int, int, int, int]) -> None:
    tokens = torch.empty(shape, requires_grad=True)
    positions = torch.zeros(shape[0], shape[2], 2, dtype=torch.int64)
    out = curope.rope2d(tokens, positions)
    assert out.shape == shape
    out.sum().backward()
    assert tokens.grad is not None
    assert curope.rope2d_(tokens.detach(), positions).shape == shape


def test_inference_mode_leaves_the_cache_usable() -> None:
    tokens, positions = sample(head_dim=20)
    with torch.inference_mode():
        curope.rope2d(tokens, positions, 77.0)
    tokens.requires_grad_()
    curope.rope2d(tokens, positions, 77.0).sum().backward()


def test_runs_on_the_meta_device() -> None:
    tokens, positions = sample()
    out = curope.rope2d(tokens.to("meta"), positions.to("meta"))
    assert out.device.type == "meta"
    assert out.shape == tokens.shape


@pytest.mark.parametrize("function", [curope.rope2d, curope.rope2d_])
@pytest.mark.parametrize(
    ("tokens", "positions", "error", "words"),
    [
        (torch.ones(2, 3, 8), torch.ones(2, 3, 2).long(), ValueError, r"head_dim\).*got shape \(2, 3, 8\)"),
        (torch.ones(2, 1, 3, 6), torch.ones(2, 3, 2).long(), ValueError, "multiple of 4, got 6"),
        (torch.ones(2, 1, 3, 8), torch.ones(2, 4, 2).long(), ValueError, r"\(2, 3, 2\).*got \(2, 4, 2\)"),
        (torch.ones(2, 1, 3, 8), torch.ones(1, 3, 2).long(), ValueError, r"got \(1, 3, 2\)"),
        (torch.ones(2, 1, 3, 8), torch.ones(2, 3).long(), ValueError, r"got \(2, 3\)"),
        (torch.ones(2, 1, 3, 8), torch.ones(2, 3, 2), TypeError, "int32 or int64, got torch.float32"),
        (torch.ones(2, 1, 3, 8).long(), torch.ones(2, 3, 2).long(), TypeError, "floating point"),
        (torch.ones(2, 1, 3, 8), torch.ones(2, 3, 2, dtype=torch.int64, device="meta"), ValueError, "device"),
    ],
)  # fmt: skip
def test_wrong_arguments(
    function, tokens: Tensor, positions: Tensor, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        function(tokens.clone(), positions)
