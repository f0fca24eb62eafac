"""Normal equations of the fine stage, depths eliminated by Schur complement (spec 30 section 13.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .block_system import Grouping, block_product, dense_blocks, grouped_outer, solve_dense, solve_iteratively
from .bundle import CAMERA_PARAMETERS, LOG_DEPTH, OBSERVATION_PARAMETERS, Observations

#: Beyond this many multiplications the Schur complement is not formed.
_MOST_DENSE_PRODUCTS = 5e9
_OTHERS = [column for column in range(OBSERVATION_PARAMETERS) if column != LOG_DEPTH]


def _expansion(sides: tuple[tuple[int, int, float], ...]) -> Float[Tensor, "12 10"]:
    """From an observation's columns without log depth to a camera's."""
    matrix = torch.zeros(len(_OTHERS), CAMERA_PARAMETERS, dtype=torch.float64)
    for column, parameter, sign in sides:
        matrix[_OTHERS.index(column), parameter] = sign
    return matrix


_OWNER = _expansion((*((k, k, 1.0) for k in range(6)), (6, 6, 1.0), (7, 7, 1.0), (8, 8, 1.0)))
_OBSERVER = _expansion((*((k, k, -1.0) for k in range(6)), (10, 6, 1.0), (11, 7, 1.0), (12, 8, 1.0)))


@dataclass(frozen=True)
class Layout:
    """Which unknowns meet, found once: directed pairs of cameras, and anchors with their observers.

    Attributes:
        pair_owner: (D,) owner of a directed pair.
        pair_observer: (D,) its observer.
        by_pair: per set of observations, grouped by directed pair.
        entry_anchor: (E,) anchor of an entry of the coupling between anchors and observers.
        entry_observer: (E,) its observer.
        entry_of: per set of observations (n,) entry.
        anchor_image: (A,) owner of an anchor.
        anchors_by_owner: grouped by that.
        entries_by_observer: entries grouped by observer.
        num_cameras: N.
    """

    pair_owner: Int[Tensor, " D"]
    pair_observer: Int[Tensor, " D"]
    by_pair: tuple[Grouping, ...]
    entry_anchor: Int[Tensor, " E"]
    entry_observer: Int[Tensor, " E"]
    entry_of: tuple[Int[Tensor, " n"], ...]
    anchor_image: Int[Tensor, " A"]
    anchors_by_owner: Grouping
    entries_by_observer: Grouping
    num_cameras: int

    @classmethod
    def build(cls, sets: list[Observations], anchor_image: Int[Tensor, " A"], num_cameras: int) -> Layout:
        """The layout of sets of observations."""
        lengths = [len(observations.owner) for observations in sets]
        owner, observer, anchor = (
            torch.cat([getattr(observations, name) for observations in sets])
            for name in ("owner", "observer", "anchor")
        )
        pairs, pair_of = torch.unique(owner * num_cameras + observer, return_inverse=True)
        entries, entry_of = torch.unique(anchor * num_cameras + observer, return_inverse=True)
        return cls(
            pair_owner=pairs // num_cameras,
            pair_observer=pairs % num_cameras,
            by_pair=tuple(Grouping.build(part, len(pairs)) for part in torch.split(pair_of, lengths)),
            entry_anchor=entries // num_cameras,
            entry_observer=entries % num_cameras,
            entry_of=tuple(torch.split(entry_of, lengths)),
            anchor_image=anchor_image,
            anchors_by_owner=Grouping.build(anchor_image, num_cameras),
            entries_by_observer=Grouping.build(entries % num_cameras, num_cameras),
            num_cameras=num_cameras,
        )


@dataclass
class BundleSystem:
    """Hessian and gradient over cameras and log depths, built up from observations and priors.

    Attributes:
        layout: which unknowns meet.
        diagonal: (N, 10, 10) cameras' own blocks.
        off_diagonal: (D, 10, 10) blocks of directed pairs, rows of the owner.
        gradient: (N, 10).
        coupling: (E, 12) of anchors with the columns of an observation.
        own_coupling: (A, 10) of anchors with further parameters of their owner.
        depth_hessian: (A,).
        depth_gradient: (A,).
    """

    layout: Layout
    diagonal: Float[Tensor, "N 10 10"]
    off_diagonal: Float[Tensor, "D 10 10"]
    gradient: Float[Tensor, "N 10"]
    coupling: Float[Tensor, "E 12"]
    own_coupling: Float[Tensor, "A 10"]
    depth_hessian: Float[Tensor, " A"]
    depth_gradient: Float[Tensor, " A"]

    @classmethod
    def empty(cls, layout: Layout, like: Tensor) -> BundleSystem:
        """All zeros."""
        size, anchors = CAMERA_PARAMETERS, len(layout.anchor_image)
        return cls(
            layout=layout,
            diagonal=like.new_zeros(layout.num_cameras, size, size),
            off_diagonal=like.new_zeros(len(layout.pair_owner), size, size),
            gradient=like.new_zeros(layout.num_cameras, size),
            coupling=like.new_zeros(len(layout.entry_anchor), len(_OTHERS)),
            own_coupling=like.new_zeros(anchors, size),
            depth_hessian=like.new_zeros(anchors),
            depth_gradient=like.new_zeros(anchors),
        )

    def add(
        self,
        which: int,
        jacobian: Float[Tensor, "n t 13"],
        residual: Float[Tensor, "n t"],
        weight: Float[Tensor, " n"],
        anchor: Int[Tensor, " n"],
        depth_is_scale: Float[Tensor, " A"] | None,
    ) -> None:
        """Add one set of observations.

        Args:
            which: the set's place in the layout.
            jacobian: of the residuals.
            residual: their values.
            weight: of the squares.
            anchor: of the observations.
            depth_is_scale: if depths follow the owner's log scale and log focal, how fast they grow with the
                latter; None if they are free.
        """
        layout = self.layout
        owner, observer = _OWNER.to(residual), _OBSERVER.to(residual)
        along_depth = jacobian[:, :, LOG_DEPTH]
        others = jacobian[:, :, _OTHERS]
        parts = [others, residual[..., None]]
        if depth_is_scale is not None:
            others[:, :, 6] += along_depth * depth_is_scale[anchor][:, None]
            parts.append(along_depth[..., None])
            scale_row = residual.new_zeros(1, CAMERA_PARAMETERS)
            scale_row[0, 9] = 1
            owner = torch.cat((owner, scale_row))
            observer = torch.cat((observer, 0 * scale_row))
        gram = grouped_outer(torch.cat(parts, -1), weight, layout.by_pair[which])
        width = len(_OTHERS)
        keep = [k for k in range(gram.shape[1]) if k != width]
        hessian, pull = gram[:, keep][:, :, keep], gram[:, keep, width]
        row, column = layout.pair_owner, layout.pair_observer
        self.diagonal.index_add_(0, row, owner.T @ hessian @ owner)
        self.diagonal.index_add_(0, column, observer.T @ hessian @ observer)
        self.off_diagonal += owner.T @ hessian @ observer
        self.gradient.index_add_(0, row, pull @ owner)
        self.gradient.index_add_(0, column, pull @ observer)
        if depth_is_scale is None:
            weighted = weight[:, None] * along_depth
            self.coupling.index_add_(0, layout.entry_of[which], (weighted[..., None] * others).sum(1))
            self.depth_hessian.index_add_(0, anchor, (weighted * along_depth).sum(1))
            self.depth_gradient.index_add_(0, anchor, (weighted * residual).sum(1))

    def solve(
        self, index: Int[Tensor, "N 10"], damping: float, dense_limit: int
    ) -> tuple[Float[Tensor, "N 10"], Float[Tensor, " A"]] | None:
        """The damped step.

        Args:
            index: of each camera's parameters among the free unknowns, -1 if fixed; shared parameters have
                the same.
            damping: added to the diagonals, relative to them.
            dense_limit: the largest number of camera parameters to be solved densely.

        Returns:
            Steps of cameras and log depths, or None if the system is not positive definite.
        """
        reduced = ReducedSystem(self, index, damping)
        products = index.numel() ** 2 * len(self.depth_hessian)
        dense = index.numel() <= dense_limit and products <= _MOST_DENSE_PRODUCTS
        solution = reduced.solve_dense() if dense else reduced.solve_iteratively()
        if solution is None:
            return None
        step = reduced.expand(solution)
        return step, -(self.depth_gradient + reduced.couple(step)) * reduced.inverse_depth


class ReducedSystem:
    """The system of the free camera unknowns after the depths are eliminated."""

    def __init__(self, system: BundleSystem, index: Int[Tensor, "N 10"], damping: float) -> None:
        self._system, self._layout = system, system.layout
        self._free = (index >= 0).to(system.gradient)
        self._index = index.clamp_min(0)
        self._unknowns = int(index.max()) + 1
        depth_hessian = system.depth_hessian * (1 + damping)
        self.inverse_depth = torch.where(
            depth_hessian > 0, 1 / depth_hessian, torch.zeros_like(depth_hessian)
        )
        strength = system.diagonal.diagonal(dim1=1, dim2=2)
        floor = 1e-12 * strength.max(0).values
        self._diagonal = system.diagonal + torch.diag_embed(damping * strength + floor + 1e-30)
        self._owner = system.coupling @ _OWNER.to(system.coupling)
        self._observer = system.coupling @ _OBSERVER.to(system.coupling)
        self._anchor_owner = self._layout.anchor_image
        self._own = system.own_coupling.index_add(0, self._layout.entry_anchor, self._owner)
        right = system.gradient - self.decouple(self.inverse_depth * system.depth_gradient)
        self._right = -self.reduce(right)

    def expand(self, unknowns: Float[Tensor, " u"]) -> Float[Tensor, "N 10"]:
        """Parameters of cameras from unknowns."""
        return unknowns[self._index] * self._free

    def reduce(self, values: Float[Tensor, "N 10"]) -> Float[Tensor, " u"]:
        """Sum over the cameras that share an unknown."""
        return values.new_zeros(self._unknowns).index_add(
            0, self._index.reshape(-1), (values * self._free).reshape(-1)
        )

    def couple(self, cameras: Float[Tensor, "N 10"]) -> Float[Tensor, " A"]:
        """Anchors' rows of the coupling times a vector over cameras."""
        layout = self._layout
        own = (self._own * cameras[self._anchor_owner]).sum(-1)
        return own.index_add(
            0, layout.entry_anchor, (self._observer * cameras[layout.entry_observer]).sum(-1)
        )

    def decouple(self, anchors: Float[Tensor, " A"]) -> Float[Tensor, "N 10"]:
        """The transpose of :meth:`couple`."""
        layout = self._layout
        values = self._own.new_zeros(layout.num_cameras, CAMERA_PARAMETERS)
        values = values.index_add(0, self._anchor_owner, self._own * anchors[:, None])
        return values.index_add(
            0, layout.entry_observer, self._observer * anchors[layout.entry_anchor][:, None]
        )

    def solve_dense(self) -> Float[Tensor, " u"] | None:
        """Cholesky of the Schur complement."""
        layout, size = self._layout, CAMERA_PARAMETERS
        count, anchors = layout.num_cameras, len(self._anchor_owner)
        matrix = dense_blocks(
            self._diagonal, self._system.off_diagonal, layout.pair_owner, layout.pair_observer
        )
        rows = self._own.new_zeros(anchors * count, size)
        rows.index_add_(0, torch.arange(anchors, device=rows.device) * count + self._anchor_owner, self._own)
        rows.index_add_(0, layout.entry_anchor * count + layout.entry_observer, self._observer)
        rows = rows.reshape(anchors, count * size) * self.inverse_depth.sqrt()[:, None]
        matrix = (matrix - rows.T @ rows) * self._free.reshape(-1, 1) * self._free.reshape(1, -1)
        flat = self._index.reshape(-1)
        half = matrix.new_zeros(self._unknowns, count * size).index_add_(0, flat, matrix)
        full = matrix.new_zeros(self._unknowns, self._unknowns).index_add_(1, flat, half)
        return solve_dense(full, self._right)

    def solve_iteratively(self) -> Float[Tensor, " u"]:
        """Conjugate gradients, preconditioned by the cameras' own blocks of the Schur complement."""
        layout = self._layout
        inverse = self.inverse_depth
        own = grouped_outer(self._own[:, None], inverse, layout.anchors_by_owner)
        seen = grouped_outer(
            self._observer[:, None], inverse[layout.entry_anchor], layout.entries_by_observer
        )
        free = self._free
        blocks = (self._diagonal - own - seen) * free[:, :, None] * free[:, None]
        inverse_blocks = torch.linalg.pinv(blocks, hermitian=True)
        sharing = self.reduce(torch.ones_like(free)).clamp_min(1)

        def product(unknowns: Tensor) -> Tensor:
            cameras = self.expand(unknowns)
            image = block_product(
                self._diagonal, self._system.off_diagonal, layout.pair_owner, layout.pair_observer, cameras
            )
            return self.reduce(image - self.decouple(inverse * self.couple(cameras)))

        def precondition(unknowns: Tensor) -> Tensor:
            cameras = self.expand(unknowns / sharing)
            return self.reduce((inverse_blocks @ cameras[..., None])[..., 0]) / sharing

        return solve_iteratively(product, precondition, self._right)
