"""Autograd, in-place semantics, and what torch.compile sees."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import curope


def sample(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(2, 2, 3, 8, generator=generator, dtype=dtype)
    return tokens, torch.randint(0, 9, (2, 3, 2), generator=generator)


def test_gradcheck() -> None:
    tokens, positions = (tensor[:1, ..., :2, :] for tensor in sample())
    tokens = tokens[:, :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: curope.rope2d(t, positions, 30.0, 0.5), tokens)
    assert torch.autograd.gradgradcheck(lambda t: curope.rope2d(t, positions).square(), tokens)


def test_gradcheck_in_place() -> None:
    tokens, positions = (tensor[:1, ..., :2, :] for tensor in sample())
    tokens = tokens[:, :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: curope.rope2d_(t * 2, positions), tokens)


@pytest.mark.parametrize("function", [curope.rope2d, curope.rope2d_])
def test_gradients_of_any_strides(function) -> None:
    tokens, positions = sample()
    leaf = tokens.requires_grad_()
    out = function(leaf * 1, positions)
    strided = torch.randn(2, 8, 3, 2, dtype=torch.float64).permute(0, 3, 2, 1)
    (grad,) = torch.autograd.grad(out, leaf, strided, retain_graph=True)
    torch.testing.assert_close(grad, curope.rope2d(strided, positions, f0=-1.0))
    out.sum().backward()  # an expanded gradient: one number for all
    torch.testing.assert_close(leaf.grad, curope.rope2d(torch.ones_like(tokens), positions, f0=-1.0).detach())


@pytest.mark.parametrize("function", [curope.rope2d, curope.rope2d_])
def test_a_gradient_shared_with_another_consumer_is_untouched(function) -> None:
    tokens, positions = sample()
    first, second = tokens.clone().requires_grad_(), tokens.clone().requires_grad_()
    # The sum hands the same gradient to both sides.
    total = function(first * 1, positions) + second
    incoming = torch.randn_like(total)
    kept = incoming.clone()
    total.backward(incoming)
    assert torch.equal(incoming, kept)
    assert torch.equal(second.grad, kept)
    torch.testing.assert_close(first.grad, curope.rope2d(kept, positions, f0=-1.0))


def test_in_place_needs_a_tensor_that_may_be_overwritten() -> None:
    tokens, positions = sample()
    leaf = tokens.clone().requires_grad_()
    with pytest.raises(ValueError, match=r"leaf that requires a gradient.*torch.no_grad"):
        curope.rope2d_(leaf, positions)
    assert torch.equal(leaf, tokens)
    with torch.no_grad():
        assert curope.rope2d_(leaf, positions) is leaf
    assert torch.equal(leaf, curope.rope2d(tokens, positions))


@pytest.mark.parametrize("requires_grad", [False, True])
def test_in_place_refuses_expanded_tokens(requires_grad: bool) -> None:
    tokens, positions = sample()
    expanded = tokens.requires_grad_(requires_grad)[:1].expand(2, -1, -1, -1)
    with pytest.raises(ValueError, match="expanded"):
        curope.rope2d_(expanded, positions)


def test_in_place_change_of_a_saved_tensor_is_noticed() -> None:
    tokens, positions = sample()
    weight = torch.ones(2, 2, 3, 8, dtype=torch.float64, requires_grad=True)
    product = weight * tokens  # saves tokens
    curope.rope2d_(tokens, positions)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


def test_in_place_on_a_view_of_a_fused_qkv_that_records_gradients() -> None:
    generator = torch.Generator().manual_seed(2)
    leaf = torch.randn(2, 3, 3, 2, 8, generator=generator, requires_grad=True)
    _, positions = sample()
    weight = torch.randn(2, 3, 3, 2, 8, generator=generator)
    qkv = leaf * 1
    curope.rope2d_(qkv[:, :, 0].transpose(1, 2), positions)
    (actual,) = torch.autograd.grad((qkv * weight).sum(), leaf)
    expected = weight.clone()
    expected[:, :, 0] = curope.rope2d(weight[:, :, 0].transpose(1, 2), positions, f0=-1.0).transpose(1, 2)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(dtype: torch.dtype, requires_grad: bool) -> None:
    tokens, positions = sample(dtype)
    for layout in (tokens, tokens.transpose(1, 2).contiguous().transpose(1, 2)):
        leaf = layout.detach().requires_grad_(requires_grad)
        torch.library.opcheck(torch.ops.curope.rope2d.default, (leaf, positions, 50.0, -2.0))
    torch.library.opcheck(torch.ops.curope.rope2d_.default, (tokens.clone(), positions))


def attention(qkv: Tensor, positions: Tensor) -> Tensor:
    queries, keys, values = qkv.unbind(2)
    queries, keys = (curope.rope2d(t.transpose(1, 2), positions) for t in (queries, keys))
    return torch.nn.functional.scaled_dot_product_attention(queries, keys, values.transpose(1, 2))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_break(backend: str, dynamic: bool) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(attention, backend=backend, fullgraph=True, dynamic=dynamic)
    for count in (3, 5):
        qkv = torch.randn(2, count, 3, 2, 8, requires_grad=True)
        positions = torch.randint(0, 9, (2, count, 2))
        expected, actual = attention(qkv, positions), compiled(qkv, positions)
        torch.testing.assert_close(actual, expected)
        grads = [torch.autograd.grad(out.square().sum(), qkv)[0] for out in (expected, actual)]
        torch.testing.assert_close(*grads)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_in_place_compiles_without_a_break(backend: str, requires_grad: bool) -> None:
    def double_and_rotate(tokens: Tensor, positions: Tensor) -> Tensor:
        return curope.rope2d_(tokens * 2, positions) + 1

    torch._dynamo.reset()
    tokens, positions = sample()
    tokens.requires_grad_(requires_grad)
    compiled = torch.compile(double_and_rotate, backend=backend, fullgraph=True)
    actual = compiled(tokens, positions)
    torch.testing.assert_close(actual, curope.rope2d(tokens * 2, positions) + 1)
    if requires_grad:
        (grad,) = torch.autograd.grad(actual.sum(), tokens)
        torch.testing.assert_close(grad, 2 * curope.rope2d(torch.ones_like(tokens), positions, f0=-1.0))


def test_exports() -> None:
    class Module(torch.nn.Module):
        def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
            return curope.rope2d(tokens, positions)

    tokens, positions = sample(torch.float32)
    program = torch.export.export(Module(), (tokens, positions))
    assert torch.equal(program.module()(tokens, positions), curope.rope2d(tokens, positions))
