"""The symmetric system over cameras' free parameters: which factorisation, and the solution.

Given as blocks of cameras that meet. Few unknowns are solved by a dense Cholesky factorisation; many by a
banded one, cameras ordered by reverse Cuthill-McKee and parameters shared by several cameras kept apart as a
border; those whose factorisation would take too long by conjugate gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .block_system import block_product, solve_dense, solve_iteratively

#: Multiplications beyond which a factorisation is not tried.
_MOST_FACTOR_PRODUCTS = 1e12
_CG_TOLERANCE, _CG_STEPS = 1e-3, 500

Kind = Literal["dense", "banded", "iterative"]


@dataclass(frozen=True)
class CameraSystem:
    """Where entries of blocks go, found once.

    Attributes:
        kind: of factorisation.
        place: (N, b) position of each camera's parameters among the unknowns, -1 if fixed.
        row: (B,) camera of a block's rows, at most ...
        column: (B,) the camera of its columns; every camera has a diagonal block, and no block comes twice.
        unknowns: their number u.
        border: how many of them are in the border, at the end.
        bandwidth: of the unknowns that are not.
        source: entries of the blocks, flattened, that lie in the lower triangle ...
        target: their places in the storage: band, border, corner ...
        factor: and how often they count.
    """

    kind: Kind
    place: Int[Tensor, "N b"]
    row: Int[Tensor, " B"]
    column: Int[Tensor, " B"]
    unknowns: int
    border: int
    bandwidth: int
    source: Int[Tensor, " s"]
    target: Int[Tensor, " s"]
    factor: Float[Tensor, " s"]

    @classmethod
    def build(
        cls, index: Int[Tensor, "N b"], row: Int[Tensor, " B"], column: Int[Tensor, " B"], dense_limit: int
    ) -> CameraSystem:
        """Choose the factorisation and lay it out.

        Args:
            index: number of each camera's parameters among the unknowns, -1 if fixed; shared ones have one.
            row: cameras of the blocks' rows.
            column: cameras of their columns, not before the rows'.
            dense_limit: the most unknowns to be solved densely.
        """
        unknowns = int(index.max()) + 1
        if unknowns <= dense_limit:
            return cls._laid_out("dense", index, row, column, unknowns, 0, 0)
        place, border = _ordered(index, row, column)
        bandwidth = _bandwidth(place, row, column, unknowns - border)
        if unknowns * (bandwidth + border) ** 2 <= _MOST_FACTOR_PRODUCTS:
            return cls._laid_out("banded", place, row, column, unknowns, border, bandwidth)
        empty = row.new_zeros(0)
        return cls("iterative", index, row, column, unknowns, 0, 0, empty, empty, empty.double())

    @classmethod
    def _laid_out(
        cls,
        kind: Kind,
        place: Tensor,
        row: Tensor,
        column: Tensor,
        unknowns: int,
        border: int,
        bandwidth: int,
    ) -> CameraSystem:
        size = place.shape[1]
        above = place[row][:, :, None].expand(-1, -1, size)
        beside = place[column][:, None].expand(-1, size, -1)
        low, high = torch.minimum(above, beside), torch.maximum(above, beside)
        own = (row == column)[:, None, None]
        # Of a camera's own block, which is symmetric, one half.
        used = (low >= 0) & (~own | (above >= beside))
        factor = 1.0 + (~own & (above == beside)).double()
        inner = unknowns - border
        if kind == "dense":
            target = high * unknowns + low
        else:
            target = torch.where(high < inner, (high - low) * inner + low, 0)
            band = (bandwidth + 1) * inner
            target = torch.where((high >= inner) & (low < inner), band + (high - inner) * inner + low, target)
            corner = band + border * inner
            target = torch.where(low >= inner, corner + (high - inner) * border + low - inner, target)
        source = used.reshape(-1).nonzero()[:, 0]
        return cls(
            kind=kind,
            place=place,
            row=row,
            column=column,
            unknowns=unknowns,
            border=border,
            bandwidth=bandwidth,
            source=source,
            target=target.reshape(-1)[source],
            factor=factor.reshape(-1)[source],
        )

    def gather(self, values: Float[Tensor, "N b"]) -> Float[Tensor, " u"]:
        """Sum over the cameras that share an unknown."""
        free = self.place >= 0
        return values.new_zeros(self.unknowns).index_add(0, self.place[free], values[free])

    def spread(self, unknowns: Float[Tensor, " u"]) -> Float[Tensor, "N b"]:
        """Cameras' parameters from unknowns; 0 for those that are fixed."""
        return torch.where(self.place >= 0, unknowns[self.place.clamp_min(0)], 0)

    def solve(
        self, blocks: Float[Tensor, "B b b"], right: Float[Tensor, "N b"]
    ) -> Float[Tensor, "N b"] | None:
        """Solve; None if the matrix is not positive definite.

        Args:
            blocks: of the matrix; those off the diagonal stand for their transposed ones too.
            right: right side.
        """
        gathered = self.gather(right)
        if self.kind == "iterative":
            return self.spread(self._solve_iteratively(blocks, gathered))
        inner, border = self.unknowns - self.border, self.border
        length = (self.bandwidth + 1) * inner + border * inner + border * border
        stored = blocks.new_zeros(self.unknowns**2 if self.kind == "dense" else length)
        stored.index_add_(0, self.target, blocks.reshape(-1)[self.source] * self.factor)
        if self.kind == "dense":
            solution = solve_dense(stored.reshape(self.unknowns, self.unknowns), gathered)
        else:
            solution = self._solve_banded(stored, gathered)
        return None if solution is None else self.spread(solution)

    def _solve_banded(self, stored: Tensor, right: Tensor) -> Tensor | None:
        """The border is eliminated last."""
        inner, border = self.unknowns - self.border, self.border
        band, beside, corner = torch.split(
            stored.cpu(), [(self.bandwidth + 1) * inner, border * inner, border * border]
        )
        sides = torch.cat((right.cpu()[:inner, None], beside.reshape(border, inner).T), 1).numpy()
        try:
            factor = scipy.linalg.cholesky_banded(
                band.reshape(-1, inner).numpy(), overwrite_ab=True, lower=True, check_finite=False
            )
        except np.linalg.LinAlgError:
            return None
        solved = torch.from_numpy(scipy.linalg.cho_solve_banded((factor, True), sides, check_finite=False))
        if not bool(solved.isfinite().all()):
            return None
        inside, through = solved[:, 0], solved[:, 1:]
        if not border:
            return inside.to(right)
        rows, lower = beside.reshape(border, inner), corner.reshape(border, border).tril()
        full = lower + lower.tril(-1).T - rows @ through
        outside = solve_dense(full, right.cpu()[inner:] - rows @ inside)
        return None if outside is None else torch.cat((inside - through @ outside, outside)).to(right)

    def _solve_iteratively(self, blocks: Tensor, right: Tensor) -> Tensor:
        """Conjugate gradients, preconditioned by the cameras' own blocks."""
        own = self.row == self.column
        order = self.row[own].argsort()
        diagonal, between = blocks[own][order], blocks[~own]
        row, column = self.row[~own], self.column[~own]
        precondition = self.block_preconditioner(diagonal)
        return solve_iteratively(
            lambda unknowns: self.gather(
                block_product(diagonal, between, row, column, self.spread(unknowns))
            ),
            precondition,
            right,
            tolerance=_CG_TOLERANCE,
            max_steps=_CG_STEPS,
        )

    def block_preconditioner(self, diagonal: Float[Tensor, "N b b"]) -> BlockPreconditioner:
        """The inverse of the cameras' own blocks, as an operator on unknowns."""
        free = (self.place >= 0).to(diagonal)
        masked = diagonal * free[:, :, None] * free[:, None]
        return BlockPreconditioner(
            self, torch.linalg.pinv(masked, hermitian=True), self.gather(free).clamp_min(1)
        )


@dataclass(frozen=True)
class BlockPreconditioner:
    """Applies inverses of cameras' own blocks.

    Attributes:
        system: the layout of unknowns.
        inverse: (N, b, b).
        sharing: (u,) how many cameras share an unknown.
    """

    system: CameraSystem
    inverse: Float[Tensor, "N b b"]
    sharing: Float[Tensor, " u"]

    def __call__(self, unknowns: Float[Tensor, " u"]) -> Float[Tensor, " u"]:
        """The inverse's product with a vector."""
        cameras = self.system.spread(unknowns / self.sharing)
        return self.system.gather((self.inverse @ cameras[..., None])[..., 0]) / self.sharing


def _ordered(
    index: Int[Tensor, "N b"], row: Int[Tensor, " B"], column: Int[Tensor, " B"]
) -> tuple[Int[Tensor, "N b"], int]:
    """Places of parameters: camera by camera along the band, then those that cameras share; their number."""
    count, size = index.shape
    edges = np.ones(len(row), dtype=np.int8)
    graph = scipy.sparse.csr_array((edges, (row.cpu().numpy(), column.cpu().numpy())), shape=(count, count))
    order = scipy.sparse.csgraph.reverse_cuthill_mckee((graph + graph.T).tocsr(), symmetric_mode=True)
    rank = torch.empty(count, dtype=torch.int64)
    rank[torch.from_numpy(order.astype(np.int64))] = torch.arange(count)
    rank = rank.to(index.device)
    free = index >= 0
    uses = torch.bincount(index[free], minlength=int(index.max()) + 1)
    shared = free & (uses[index.clamp_min(0)] > 1)
    key = rank[:, None] * size + torch.arange(size, device=index.device)
    key = torch.where(shared, count * size + index, key)
    _, numbers = torch.unique(key[free], return_inverse=True)
    place = torch.full_like(index, -1)
    place[free] = numbers
    return place, int((uses > 1).sum())


def _bandwidth(
    place: Int[Tensor, "N b"], row: Int[Tensor, " B"], column: Int[Tensor, " B"], inner: int
) -> int:
    """The largest distance between two unknowns, not of the border, whose cameras meet."""
    inside = (place >= 0) & (place < inner)
    last = torch.where(inside, place, -1).max(1).values
    first = torch.where(inside, place, inner).min(1).values
    reach = torch.maximum(last[row], last[column]) - torch.minimum(first[row], first[column])
    some = torch.minimum(last[row], last[column]) >= 0
    return int(reach[some].max()) if bool(some.any()) else 0
