"""Symmetric matrices of small blocks, one row of blocks per camera: sums over pairs, products, solutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
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


@dataclass(frozen=True)
class BlockPattern:
    """Which cameras meet: blocks of the upper triangle of a symmetric matrix, each once.

    Attributes:
        row: (B,) camera of a block's rows ...
        column: (B,) and of its columns, which is not before.
        own: (N,) the cameras' own blocks.
        of_pair: (D,) block of a pair of cameras, in either order.
        is_flipped: (D,) whether the pair's first camera comes after its second.
    """

    row: Int[Tensor, " B"]
    column: Int[Tensor, " B"]
    own: Int[Tensor, " N"]
    of_pair: Int[Tensor, " D"]
    is_flipped: Bool[Tensor, " D"]

    @classmethod
    def build(
        cls,
        first: Int[Tensor, " D"],
        second: Int[Tensor, " D"],
        num_cameras: int,
        more: Int[Tensor, " m"] | None = None,
    ) -> BlockPattern:
        """The pattern of pairs, of cameras with themselves, and of ``more`` (see :meth:`key`)."""
        lower, upper = torch.minimum(first, second), torch.maximum(first, second)
        cameras = torch.arange(num_cameras, device=first.device)
        pairs = cls.key(lower, upper, num_cameras)
        own = cls.key(cameras, cameras, num_cameras)
        blocks = torch.unique(torch.cat((pairs, own) if more is None else (pairs, own, more)))
        return cls(
            row=blocks // (num_cameras + 1),
            column=blocks % (num_cameras + 1),
            own=torch.searchsorted(blocks, own),
            of_pair=torch.searchsorted(blocks, pairs),
            is_flipped=first > second,
        )

    @staticmethod
    def key(row: Tensor, column: Tensor, num_cameras: int) -> Tensor:
        """One number for a block; cameras may be ``num_cameras``, which stands for none."""
        return row * (num_cameras + 1) + column

    def find(self, key: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
        """Blocks of keys."""
        return torch.searchsorted(self.key(self.row, self.column, len(self.own)), key)

    def assemble(
        self, diagonal: Float[Tensor, "N b b"], between: Float[Tensor, "D b b"]
    ) -> Float[Tensor, "B b b"]:
        """All blocks, from cameras' own ones and those of pairs (rows of the pair's first camera)."""
        blocks = diagonal.new_zeros(len(self.row), *diagonal.shape[1:])
        blocks[self.own] = diagonal
        turned = torch.where(self.is_flipped[:, None, None], between.transpose(1, 2), between)
        return blocks.index_add_(0, self.of_pair, turned)


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
