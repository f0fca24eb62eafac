"""Symmetric systems of small blocks, one row of blocks per camera: dense Cholesky or conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Operator = Callable[[Tensor], Tensor]


_BLOCK = 32
_BLOCKS_AT_ONCE = 1 << 12


@dataclass(frozen=True)
class Grouping:
    """Members of groups cut into blocks of equal length, so that sums over groups are matrix products.

    Attributes:
        member: (blocks, length) members of a block; the last ones of a group are repeated to fill it.
        valid: (blocks, length) 0 for those.
        group: (blocks,) the group of a block.
        count: number of groups.
    """

    member: Int[Tensor, "blocks length"]
    valid: Float[Tensor, "blocks length"]
    group: Int[Tensor, " blocks"]
    count: int

    @classmethod
    def build(cls, group: Int[Tensor, " n"], count: int) -> Grouping:
        """Cut groups into blocks."""
        device = group.device
        order = group.argsort(stable=True)
        sizes = torch.bincount(group, minlength=count)
        blocks = (sizes + _BLOCK - 1) // _BLOCK
        block_group = torch.repeat_interleave(torch.arange(count, device=device), blocks)
        first_block = blocks.cumsum(0) - blocks
        rank = torch.arange(len(block_group), device=device) - first_block[block_group]
        within = rank[:, None] * _BLOCK + torch.arange(_BLOCK, device=device)
        valid = within < sizes[block_group][:, None]
        start = (sizes.cumsum(0) - sizes)[block_group][:, None]
        position = (start + within).clamp_max(max(len(group) - 1, 0))
        return cls(order[position], valid.double(), block_group, count)


def grouped_outer(
    rows: Float[Tensor, "n r c"], weights: Float[Tensor, " n"], grouping: Grouping
) -> Float[Tensor, "g c c"]:
    """Sum of weights * rows^T rows over the members of each group; memory bounded by a number of blocks."""
    width = rows.shape[-1]
    sums = rows.new_zeros(grouping.count, width, width)
    for start in range(0, len(grouping.group), _BLOCKS_AT_ONCE):
        chosen = slice(start, start + _BLOCKS_AT_ONCE)
        member = grouping.member[chosen]
        weight = weights[member] * grouping.valid[chosen]
        part = rows[member]
        weighted = part * weight[..., None, None]
        products = weighted.flatten(1, 2).transpose(1, 2) @ part.flatten(1, 2)
        sums.index_add_(0, grouping.group[chosen], products)
    return sums


def dense_blocks(
    diagonal: Float[Tensor, "N b b"],
    off_diagonal: Float[Tensor, "D b b"],
    row: Int[Tensor, " D"],
    column: Int[Tensor, " D"],
) -> Float[Tensor, "N*b N*b"]:
    """The full symmetric matrix; off-diagonal blocks are given once, for (row, column)."""
    count, size, _ = diagonal.shape
    blocks = diagonal.new_zeros(count * count, size, size)
    index = torch.arange(count, device=diagonal.device)
    blocks.index_add_(0, index * count + index, diagonal)
    blocks.index_add_(0, row * count + column, off_diagonal)
    blocks.index_add_(0, column * count + row, off_diagonal.transpose(1, 2))
    return blocks.reshape(count, count, size, size).permute(0, 2, 1, 3).reshape(count * size, count * size)


def block_product(
    diagonal: Float[Tensor, "N b b"],
    off_diagonal: Float[Tensor, "D b b"],
    row: Int[Tensor, " D"],
    column: Int[Tensor, " D"],
    vector: Float[Tensor, "N b"],
) -> Float[Tensor, "N b"]:
    """The product of that matrix with a vector, without forming it."""
    product = (diagonal @ vector[..., None])[..., 0]
    product = product.index_add(0, row, (off_diagonal @ vector[column][..., None])[..., 0])
    return product.index_add(0, column, (off_diagonal.transpose(1, 2) @ vector[row][..., None])[..., 0])


def solve_dense(matrix: Float[Tensor, "n n"], right: Float[Tensor, " n"]) -> Float[Tensor, " n"] | None:
    """Solve by Cholesky; None if the matrix is not positive definite."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    if int(info) or not bool(factor.isfinite().all()):
        return None
    return torch.cholesky_solve(right[:, None], factor)[:, 0]


def solve_iteratively(
    product: Operator,
    precondition: Operator,
    right: Float[Tensor, " n"],
    *,
    tolerance: float = 1e-2,
    max_steps: int = 100,
) -> Float[Tensor, " n"]:
    """Preconditioned conjugate gradients from 0, to a residual of ``tolerance`` times the right side's.

    An inexact solution is still a direction of descent, so a loose tolerance is enough inside of a solver.
    """
    solution = torch.zeros_like(right)
    residual = right.clone()
    direction = precondition(residual)
    dot = residual @ direction
    goal = tolerance * float(right.norm())
    for _ in range(max_steps):
        image = product(direction)
        curvature = float(direction @ image)
        if curvature <= 0:
            break
        step = float(dot) / curvature
        solution = solution + step * direction
        residual = residual - step * image
        if float(residual.norm()) <= goal:
            break
        conditioned = precondition(residual)
        previous, dot = dot, residual @ conditioned
        direction = conditioned + (dot / previous) * direction
    return solution
