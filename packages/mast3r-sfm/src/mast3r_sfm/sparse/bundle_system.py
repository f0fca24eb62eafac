"""Normal equations of the fine stage over cameras and log depths (spec 30 section 13.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .block_system import Grouping, grouped_outer
from .bundle import CAMERA_PARAMETERS, LOG_DEPTH, OBSERVATION_PARAMETERS, Observations

_OTHERS = [column for column in range(OBSERVATION_PARAMETERS) if column != LOG_DEPTH]


def _expansion(sides: tuple[tuple[int, int, float], ...]) -> Float[Tensor, "12 10"]:
    """From an observation's columns without log depth to a camera's."""
    matrix = torch.zeros(len(_OTHERS), CAMERA_PARAMETERS, dtype=torch.float64)
    for column, parameter, sign in sides:
        matrix[_OTHERS.index(column), parameter] = sign
    return matrix


#: How an observation's columns act on its owner's and its observer's parameters.
OWNER = _expansion((*((k, k, 1.0) for k in range(6)), (6, 6, 1.0), (7, 7, 1.0), (8, 8, 1.0)))
OBSERVER = _expansion((*((k, k, -1.0) for k in range(6)), (10, 6, 1.0), (11, 7, 1.0), (12, 8, 1.0)))


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
        num_cameras: N.
    """

    pair_owner: Int[Tensor, " D"]
    pair_observer: Int[Tensor, " D"]
    by_pair: tuple[Grouping, ...]
    entry_anchor: Int[Tensor, " E"]
    entry_observer: Int[Tensor, " E"]
    entry_of: tuple[Int[Tensor, " n"], ...]
    anchor_image: Int[Tensor, " A"]
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
        owner, observer = OWNER.to(residual), OBSERVER.to(residual)
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
