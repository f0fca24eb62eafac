"""The damped step of the fine stage: depths eliminated, cameras solved for, depths put back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .block_system import Grouping, block_product, grouped_outer, solve_iteratively
from .bundle import CAMERA_PARAMETERS
from .bundle_system import OBSERVER, OWNER, BundleSystem, Layout
from .camera_system import CameraSystem
from .schur import SchurLayout

#: Beyond this many multiplications per step the reduced matrix is not formed.
_MOST_PRODUCTS = 2e12
_ENTRIES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Reduction:
    """How the step is found, decided once.

    Attributes:
        cameras: the system over free camera parameters.
        schur: how its matrix is formed; None if it is not, and conjugate gradients have to do.
        anchors_by_owner: anchors grouped by image; None if the matrix is formed.
        entries_by_observer: likewise for the couplings.
    """

    cameras: CameraSystem
    schur: SchurLayout | None
    anchors_by_owner: Grouping | None
    entries_by_observer: Grouping | None

    @classmethod
    def build(
        cls,
        layout: Layout,
        index: Int[Tensor, "N 10"],
        dense_limit: int,
        most_products: float = _MOST_PRODUCTS,
    ) -> Reduction:
        """Plan the steps of a problem.

        Args:
            layout: which unknowns meet.
            index: number of each camera's parameters among the unknowns, -1 if fixed; shared ones have one.
            dense_limit: the most camera unknowns to be solved by a dense factorisation.
            most_products: the most multiplications for forming the reduced matrix.
        """
        products = SchurLayout.products(layout.pair_owner, layout.anchor_image, CAMERA_PARAMETERS)
        if products > most_products:
            cameras = torch.arange(layout.num_cameras, device=index.device)
            return cls(
                cameras=CameraSystem.build(index, cameras, cameras, dense_limit=-1),
                schur=None,
                anchors_by_owner=Grouping.build(layout.anchor_image, layout.num_cameras),
                entries_by_observer=Grouping.build(layout.entry_observer, layout.num_cameras),
            )
        schur = SchurLayout.build(
            layout.pair_owner,
            layout.pair_observer,
            layout.entry_anchor,
            layout.entry_observer,
            layout.anchor_image,
            layout.num_cameras,
        )
        return cls(
            CameraSystem.build(index, schur.pattern.row, schur.pattern.column, dense_limit), schur, None, None
        )

    def step(
        self, system: BundleSystem, damping: float
    ) -> tuple[Float[Tensor, "N 10"], Float[Tensor, " A"]] | None:
        """Steps of cameras and log depths; None if the system is not positive definite.

        Args:
            system: Hessian and gradient.
            damping: added to the diagonals, relative to them.
        """
        depth_hessian = system.depth_hessian * (1 + damping)
        inverse = torch.where(depth_hessian > 0, 1 / depth_hessian, torch.zeros_like(depth_hessian))
        strength = system.diagonal.diagonal(dim1=1, dim2=2)
        floor = 1e-12 * strength.max(0).values + 1e-30
        diagonal = system.diagonal + torch.diag_embed(damping * strength + floor)
        own = _own_coupling(system)
        if self.schur is None:
            step = self._step_iteratively(system, diagonal, own, inverse)
        else:
            blocks, gradient = (
                self.schur.pattern.assemble(diagonal, system.off_diagonal),
                system.gradient.clone(),
            )
            if bool(inverse.any()):
                observer = OBSERVER.to(own)
                self.schur.eliminate(
                    blocks, gradient, own, system.coupling, observer, inverse, system.depth_gradient
                )
            solution = self.cameras.solve(blocks, -gradient)
            if solution is None:
                return None
            step = solution
        return step, -(system.depth_gradient + _couple(system, own, step)) * inverse

    def _step_iteratively(
        self, system: BundleSystem, diagonal: Tensor, own: Tensor, inverse: Float[Tensor, " A"]
    ) -> Float[Tensor, "N 10"]:
        """Conjugate gradients, preconditioned by the cameras' own blocks of the matrix that is not formed."""
        layout = system.layout
        if self.anchors_by_owner is None or self.entries_by_observer is None:
            raise RuntimeError("the reduction was planned for a matrix that is formed")
        observed = system.coupling @ OBSERVER.to(own)
        blocks = diagonal - grouped_outer(own[:, None], inverse, self.anchors_by_owner)
        blocks -= grouped_outer(observed[:, None], inverse[layout.entry_anchor], self.entries_by_observer)

        def decouple(anchors: Tensor) -> Tensor:
            values = torch.zeros_like(system.gradient)
            values.index_add_(0, layout.anchor_image, own * anchors[:, None])
            return values.index_add_(
                0, layout.entry_observer, observed * anchors[layout.entry_anchor][:, None]
            )

        def product(unknowns: Tensor) -> Tensor:
            vector = self.cameras.spread(unknowns)
            image = block_product(
                diagonal, system.off_diagonal, layout.pair_owner, layout.pair_observer, vector
            )
            return self.cameras.gather(image - decouple(inverse * _couple(system, own, vector)))

        right = self.cameras.gather(decouple(inverse * system.depth_gradient) - system.gradient)
        return self.cameras.spread(
            solve_iteratively(product, self.cameras.block_preconditioner(blocks), right)
        )


def _own_coupling(system: BundleSystem) -> Float[Tensor, "A 10"]:
    """Coupling of anchors with their owners' parameters."""
    own, owner = system.own_coupling.clone(), OWNER.to(system.own_coupling)
    pieces = zip(
        torch.split(system.layout.entry_anchor, _ENTRIES_AT_ONCE),
        torch.split(system.coupling, _ENTRIES_AT_ONCE),
        strict=True,
    )
    for anchor, coupling in pieces:
        own.index_add_(0, anchor, coupling @ owner)
    return own


def _couple(
    system: BundleSystem, own: Float[Tensor, "A 10"], cameras: Float[Tensor, "N 10"]
) -> Float[Tensor, " A"]:
    """Anchors' rows of the coupling times a vector over cameras."""
    layout = system.layout
    product = (own * cameras[layout.anchor_image]).sum(-1)
    seen = cameras @ OBSERVER.to(own).T
    pieces = zip(
        torch.split(layout.entry_anchor, _ENTRIES_AT_ONCE),
        torch.split(layout.entry_observer, _ENTRIES_AT_ONCE),
        torch.split(system.coupling, _ENTRIES_AT_ONCE),
        strict=True,
    )
    for anchor, observer, coupling in pieces:
        product.index_add_(0, anchor, (coupling * seen[observer]).sum(-1))
    return product
