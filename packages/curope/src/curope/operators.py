"""The two operators, ``curope::rope2d`` and ``curope::rope2d_``, as PyTorch sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from curope.backends import rotation
from curope.checks import check_arguments, check_writable
from curope.reference import compute_dtype, inverse_frequencies

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_ARGUMENTS = "Tensor positions, float base=100.0, float f0=1.0"
_TAGS = (torch.Tag.pt2_compliant_tag,)


def _rotate(output: Tensor, tokens: Tensor, positions: Tensor, base: float, f0: float) -> None:
    if tokens.numel() == 0:
        return
    quarter = tokens.shape[-1] // 4
    frequencies = inverse_frequencies(quarter, float(base), float(f0), compute_dtype(tokens), tokens.device)
    rotation(tokens.device)(output, tokens, positions, frequencies)


def _rope2d(tokens: Tensor, positions: Tensor, base: float = 100.0, f0: float = 1.0) -> Tensor:
    check_arguments(tokens, positions)
    output = torch.empty_like(tokens)
    _rotate(output, tokens, positions, base, f0)
    return output


def _rope2d_fake(tokens: Tensor, positions: Tensor, base: float = 100.0, f0: float = 1.0) -> Tensor:
    check_arguments(tokens, positions)
    return torch.empty_like(tokens)


def _rope2d_setup(ctx: Any, inputs: tuple[Tensor, Tensor, float, float], output: Tensor) -> None:
    _, positions, ctx.base, ctx.f0 = inputs
    ctx.save_for_backward(positions)


def _rope2d_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    # The transpose of a rotation is the rotation back. Never in place: others may hold this gradient too.
    (positions,) = ctx.saved_tensors
    return torch.ops.curope.rope2d(grad, positions, ctx.base, -ctx.f0), None, None, None


def _rope2d_in_place(tokens: Tensor, positions: Tensor, base: float = 100.0, f0: float = 1.0) -> None:
    check_arguments(tokens, positions)
    check_writable(tokens)
    _rotate(tokens, tokens, positions, base, f0)
    # So that autograd notices if it had saved the old values: a kernel's writes pass it by.
    torch.autograd.graph.increment_version(tokens)


def _rope2d_in_place_fake(tokens: Tensor, positions: Tensor, base: float = 100.0, f0: float = 1.0) -> None:
    check_arguments(tokens, positions)
    check_writable(tokens)


# torch.library.custom_op would say this in fewer lines, but its first call imports torch._dynamo: seconds.
torch.library.define("curope::rope2d", f"(Tensor tokens, {_ARGUMENTS}) -> Tensor", tags=_TAGS)
torch.library.impl("curope::rope2d", "default", _rope2d)
torch.library.register_fake("curope::rope2d", _rope2d_fake)
torch.library.register_autograd("curope::rope2d", _rope2d_backward, setup_context=_rope2d_setup)

torch.library.define("curope::rope2d_", f"(Tensor(a!) tokens, {_ARGUMENTS}) -> ()", tags=_TAGS)
torch.library.impl("curope::rope2d_", "default", _rope2d_in_place)
torch.library.register_fake("curope::rope2d_", _rope2d_in_place_fake)


def rope2d(
    tokens: Float[Tensor, "batch heads tokens head_dim"],
    positions: Int[Tensor, "batch tokens 2"],
    base: float = 100.0,
    f0: float = 1.0,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Rotate every head vector by the row and the column of its token (spec 10 section S3).

    A head vector is ``[yu | yv | xu | xv]``, a quarter of ``head_dim`` each: the first half turns by the row,
    the second by the column, the k-th pair by ``position * f0 / base ** (k / quarter)`` radians. Angles,
    cosines, sines and products are float32 (float64 for float64 tokens); the result is cast at the end.

    Args:
        tokens: queries or keys, of any floating dtype and any strides (a view of a fused qkv is fine).
        positions: (y, x) of each token, int32 or int64, on the same device, any strides.
        base: base of the geometric series of frequencies.
        f0: frequency of the first pair, in radians per unit of position; ``-f0`` rotates back.

    Returns:
        The rotated tokens, of the same shape and dtype, in new memory; differentiable any number of times.

    Raises:
        ValueError: a shape or a device is not as said above.
        TypeError: a dtype is not as said above.
        RuntimeError: the variable CUROPE_BACKEND asks for a back end that is not available.
    """
    return torch.ops.curope.rope2d(tokens, positions, base, f0)


def rope2d_(
    tokens: Float[Tensor, "batch heads tokens head_dim"],
    positions: Int[Tensor, "batch tokens 2"],
    base: float = 100.0,
    f0: float = 1.0,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Do as ``rope2d``, in the tokens' own memory.

    Where a gradient is recorded, the rotated values are computed apart and then copied in, because PyTorch
    takes an autograd formula for functional operators only: this is right but saves no memory, so ``rope2d``
    is the better call there. Gradients that arrive in the backward pass are never written into.

    Args:
        tokens: as for ``rope2d``, but not expanded, nor a leaf whose gradient is being recorded.
        positions: as for ``rope2d``.
        base: as for ``rope2d``.
        f0: as for ``rope2d``.

    Returns:
        ``tokens``, now rotated.

    Raises:
        ValueError: as for ``rope2d``, or the tokens cannot be written (see above).
        TypeError: as for ``rope2d``.
        RuntimeError: as for ``rope2d``.
    """
    if torch.is_grad_enabled() and tokens.requires_grad:
        if tokens.is_leaf:
            raise ValueError(
                "tokens: expected a tensor that may be overwritten, got a leaf that requires a gradient (a "
                "parameter or an input); use rope2d, or call rope2d_ under torch.no_grad()"
            )
        check_writable(tokens)
        return tokens.copy_(torch.ops.curope.rope2d(tokens, positions, base, f0))
    torch.ops.curope.rope2d_(tokens, positions, base, f0)
    return tokens
