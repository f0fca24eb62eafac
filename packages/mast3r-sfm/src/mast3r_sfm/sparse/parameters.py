"""What the first-order solver moves, and the cameras and depths that follow from it (spec 30 section 6.3)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .cameras import Cameras
from .low_rank import LowRankDepth, low_rank_basis
from .options import AdamOptions
from .priors import CameraPriors
from .problem import SparseProblem
from .tree import KinematicTree

#: Bounds of the focal as multiples of the image's diagonal.
_FOCAL_BOUNDS = (0.25, 10.0)
_SMALLEST_CORE = 1e-4


@dataclass(frozen=True)
class Parameters:
    """The tensors that Adam moves; a leaf each.

    Attributes:
        principal_point: (G, 2) fraction of (width, height), one row per group of shared intrinsics.
        log_focal: (G,).
        quaternion: (N, 4) XYZW, relative to the parent in the tree.
        translation: (N, 3) relative to the parent.
        log_size: (N,).
        core: (A,) relative anchor depths D, or (N, k) coefficients of a low-rank basis.
    """

    principal_point: Float[Tensor, "G 2"]
    log_focal: Float[Tensor, " G"]
    quaternion: Float[Tensor, "N 4"]
    translation: Float[Tensor, "N 3"]
    log_size: Float[Tensor, " N"]
    core: Float[Tensor, " A"]

    def named(self) -> list[tuple[str, Tensor]]:
        """Names and tensors in the order in which upstream lists them."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


@dataclass(frozen=True)
class CameraModel:
    """The constants between parameters and cameras.

    Attributes:
        tree: chain of relative poses.
        group: (N,) row of the shared intrinsics that an image uses.
        base_focal: (N,) canonical or known focal.
        size_wh: (N, 2) width and height.
        median_depth: (N,) lower median of the canonical anchor depths.
        anchor_image: (A,) image of an anchor.
        multiply: depths are multiples of the pivot's instead of sums.
        exponential: core parameters are logarithms.
        basis: (A, k) low-rank basis of the core, or None.
    """

    tree: KinematicTree
    group: Int[Tensor, " N"]
    base_focal: Float[Tensor, " N"]
    size_wh: Float[Tensor, "N 2"]
    median_depth: Float[Tensor, " N"]
    anchor_image: Int[Tensor, " A"]
    multiply: bool
    exponential: bool
    basis: Float[Tensor, "A k"] | None

    def forward(self, parameters: Parameters) -> tuple[Cameras, Float[Tensor, " A"]]:
        """Cameras and anchor depths."""
        diagonal = self.size_wh.norm(dim=-1)
        focal = parameters.log_focal.exp()[self.group]
        focal = torch.minimum(torch.maximum(focal, _FOCAL_BOUNDS[0] * diagonal), _FOCAL_BOUNDS[1] * diagonal)
        fraction = parameters.principal_point[self.group]
        size = parameters.log_size.exp()
        scale = 1 / size.min()
        pivot_depth = size * self.median_depth * focal / self.base_focal
        rotation, translation = self._chained(parameters)
        lateral = self.size_wh / focal[:, None] * (0.5 - fraction)
        pivot = pivot_depth[:, None] * torch.cat((lateral, torch.ones_like(lateral[:, :1])), -1)
        center = scale * (translation - (rotation * pivot[:, None]).sum(-1))
        cameras = Cameras(rotation, center, focal, fraction * self.size_wh, self.base_focal)
        return cameras, scale * self._depth(parameters, pivot_depth, size)

    def _depth(self, parameters: Parameters, pivot_depth: Tensor, size: Tensor) -> Float[Tensor, " A"]:
        core = parameters.core
        if self.basis is not None:
            core = (self.basis * core[self.anchor_image]).sum(-1)
        if self.exponential:
            core = core.exp()
        if self.multiply:
            return pivot_depth[self.anchor_image] * core
        relief = (size * self.median_depth)[self.anchor_image]
        return pivot_depth[self.anchor_image] + (core - 1) * relief

    def _chained(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Compose relative poses down the tree, one level at a time."""
        import roma  # it imports torch's compiler, which takes seconds; only this solver needs it

        rotation = roma.unitquat_to_rotmat(
            parameters.quaternion / parameters.quaternion.norm(dim=-1, keepdim=True)
        )
        poses = torch.cat((rotation, parameters.translation[..., None]), -1)
        for parent, child in (level.T for level in self.tree.levels):
            above, relative = poses[parent], poses[child]
            moved = above[:, :, :3] @ relative
            moved = torch.cat((moved[..., :3], moved[..., 3:] + above[..., 3:]), -1)
            poses = poses.index_copy(0, child, moved)
        return poses[..., :3], poses[..., 3]


def initial_parameters(
    problem: SparseProblem, tree: KinematicTree, options: AdamOptions, priors: CameraPriors
) -> tuple[CameraModel, Parameters]:
    """The constants and the start: all cameras at one place, canonical depths and focals."""
    dtype, device = options.dtype, problem.core_depth.device
    size_wh = problem.shapes.flip(-1).to(dtype)
    focal = torch.where(priors.has_focal, priors.focal, problem.focal.cpu().double()).to(device, dtype)
    point = torch.where(
        priors.has_principal_point[:, None], priors.principal_point, problem.principal_point.cpu().double()
    ).to(device, dtype)
    core_depth = problem.core_depth.to(dtype)
    median = lower_medians(core_depth, problem.anchor_start)
    anchor_image = problem.anchor_image
    core = core_depth / median[anchor_image]
    if options.exp_depth:
        core = core.clamp_min(_SMALLEST_CORE).log()
    basis = None
    if options.low_rank_depth is not None:
        basis, core = _low_rank_core(problem, options.low_rank_depth, core)
    _, group = torch.unique(priors.intrinsics_group.to(device), return_inverse=True)
    count = problem.num_images
    model = CameraModel(
        tree=tree,
        group=group,
        base_focal=focal,
        size_wh=size_wh,
        median_depth=median,
        anchor_image=anchor_image,
        multiply=options.depth_mode == "mul",
        exponential=options.exp_depth,
        basis=basis,
    )
    weight = problem.mean_conf.to(dtype)
    parameters = Parameters(
        principal_point=_group_mean(point / size_wh, weight, group),
        log_focal=_group_mean(focal[:, None], weight, group)[:, 0].log(),
        quaternion=torch.tensor([0, 0, 0, 1], dtype=dtype, device=device).repeat(count, 1),
        translation=torch.zeros(count, 3, dtype=dtype, device=device),
        log_size=torch.zeros(count, dtype=dtype, device=device),
        core=core,
    )
    return model, parameters


def lower_medians(values: Float[Tensor, " A"], start: Int[Tensor, " N+1"]) -> Float[Tensor, " N"]:
    """The lower of the two middle values of every image, as torch's median."""
    return torch.stack([part.median() for part in torch.tensor_split(values, start[1:-1].cpu())])


def _group_mean(
    values: Float[Tensor, "N c"], weight: Float[Tensor, " N"], group: Int[Tensor, " N"]
) -> Float[Tensor, "G c"]:
    count = int(group.max()) + 1
    sums = values.new_zeros(count, values.shape[1]).index_add(0, group, values * weight[:, None])
    return sums / values.new_zeros(count, 1).index_add(0, group, weight[:, None])


def _low_rank_core(problem: SparseProblem, options: LowRankDepth, core: Tensor) -> tuple[Tensor, Tensor]:
    """Bases of all images below each other, and (N, k) coefficients."""
    bases, coefficients = [], []
    for image, part in enumerate(torch.tensor_split(core, problem.anchor_start[1:-1].cpu())):
        basis, coefficient = low_rank_basis(
            part,
            problem.core_depth[problem.anchor_start[image] : problem.anchor_start[image + 1]],
            shape=(int(problem.shapes[image, 0]), int(problem.shapes[image, 1])),
            subsample=problem.subsample,
            focal=float(problem.focal[image]),
            principal_point=problem.principal_point[image],
            options=options,
        )
        bases.append(basis)
        coefficients.append(coefficient)
    width = max(basis.shape[1] for basis in bases)
    pad = torch.nn.functional.pad
    return (
        torch.cat([pad(basis, (0, width - basis.shape[1])) for basis in bases]),
        torch.stack([pad(row, (0, width - len(row))) for row in coefficients]),
    )
