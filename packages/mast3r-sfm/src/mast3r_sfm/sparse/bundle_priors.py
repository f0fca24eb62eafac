"""Quadratic priors of the fine stage, in the units of the fine loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .bundle import BundleState
from .bundle_system import BundleSystem
from .options import LmOptions
from .priors import CameraPriors
from .problem import SparseProblem
from .rotations import log_rotation

#: The spread of an image's focals underestimates their common error.
_LEAST_LOG_FOCAL_SIGMA, _LOG_FOCAL_PER_DISAGREEMENT = 0.005, 0.5
#: Errors of an image's neighbouring depths go together, so that many matches may all be as wrong as one.
_LEAST_DEPTH_SIGMA, _DEPTH_PER_DISAGREEMENT = 0.04, 4.0
_LEAST_PIVOT = 1e-3
#: Keeps unobserved anchors and scales of images determined when the depth prior is off.
_FAINT = 1e-10


@dataclass(frozen=True)
class BundlePriors:
    """Weights (inverse variances in the units of the loss) and means; weight 0 where there is no prior.

    Attributes:
        log_focal: (N,) mean.
        log_focal_weight: (N,).
        fraction: (N, 2) mean of the principal point over the size.
        fraction_weight: (N, 2).
        rotation: (N, 3, 3) mean.
        rotation_weight: (N,).
        center: (N, 3) mean.
        center_weight: (N,).
        core: (A,) canonical depth over the image's median.
        log_median: (A,) log of that median.
        base_focal: (N,) to which relative depths refer.
        depth_weight: (A,).
        anchor_image: (A,).
    """

    log_focal: Float[Tensor, " N"]
    log_focal_weight: Float[Tensor, " N"]
    fraction: Float[Tensor, "N 2"]
    fraction_weight: Float[Tensor, "N 2"]
    rotation: Float[Tensor, "N 3 3"]
    rotation_weight: Float[Tensor, " N"]
    center: Float[Tensor, "N 3"]
    center_weight: Float[Tensor, " N"]
    core: Float[Tensor, " A"]
    log_median: Float[Tensor, " A"]
    base_focal: Float[Tensor, " N"]
    depth_weight: Float[Tensor, " A"]
    anchor_image: Int[Tensor, " A"]

    @classmethod
    def build(
        cls,
        problem: SparseProblem,
        cameras: CameraPriors,
        options: LmOptions,
        start: BundleState,
        median_depth: Float[Tensor, " N"],
        observations: int,
        disagreement: float,
    ) -> BundlePriors:
        """Priors around canonical values, or the user's where given.

        The loss is the mean over observations of a robust distance in pixels; with errors of scale
        ``pixel_noise`` a quadratic prior therefore counts ``pixel_noise / observations``. Where the options
        leave a width open, it grows with ``disagreement`` (see `depth_disagreement`).
        """
        like = start.center
        unit = options.pixel_noise / max(observations, 1)
        size_wh = problem.shapes.flip(-1).to(like)
        least = max(_LEAST_LOG_FOCAL_SIGMA, _LOG_FOCAL_PER_DISAGREEMENT * disagreement)
        focal_sigma = problem.focal_log_std.to(like).clamp_min(least)
        depth_sigma = options.depth_sigma
        if depth_sigma is None:
            depth_sigma = max(_LEAST_DEPTH_SIGMA, _DEPTH_PER_DISAGREEMENT * disagreement)
        if options.log_focal_sigma is not None:
            focal_sigma = torch.full_like(focal_sigma, options.log_focal_sigma)
        focal_sigma = torch.where(
            priors_to(cameras.has_focal, like), cameras.focal_sigma.to(like), focal_sigma
        )
        point_sigma = torch.full_like(size_wh, options.principal_point_sigma)
        given = cameras.principal_point_sigma.to(like)[:, None] / size_wh
        point_sigma = torch.where(priors_to(cameras.has_principal_point, like)[:, None], given, point_sigma)
        has_pose = priors_to(cameras.has_pose, like)
        poses = torch.where(has_pose[:, None, None], cameras.cam2world.to(like), torch.eye(4).to(like))
        conf = problem.anchor_conf.to(like).clamp_min(1e-6)
        trust = (conf / conf.median()).clamp(0.05, 4.0)
        anchor_image = problem.anchor_image
        return cls(
            log_focal=start.log_focal,
            log_focal_weight=_weight(focal_sigma, unit),
            fraction=start.fraction,
            fraction_weight=_weight(point_sigma, unit),
            rotation=poses[:, :3, :3],
            rotation_weight=_weight(cameras.rotation_sigma.to(like), unit) * has_pose,
            center=poses[:, :3, 3],
            center_weight=_weight(cameras.translation_sigma.to(like), unit) * has_pose,
            core=problem.core_depth.to(like) / median_depth[anchor_image],
            log_median=median_depth.log()[anchor_image],
            base_focal=start.log_focal.exp(),
            depth_weight=trust * unit / depth_sigma**2 + _FAINT,
            anchor_image=anchor_image,
        )

    def of_anchors(self, anchors: Int[Tensor, " a"]) -> BundlePriors:
        """Only the priors of some anchors' depths; the cameras' are the same."""
        names = ("core", "log_median", "depth_weight", "anchor_image")
        return replace(self, **{name: getattr(self, name)[anchors] for name in names})

    def pivoted(self, state: BundleState) -> tuple[Float[Tensor, " A"], Float[Tensor, " A"]]:
        """Log depths that the canonical ones suggest (spec 30, 6.3), and their growth with log focal."""
        image = self.anchor_image
        zoom = (state.log_focal.exp() / self.base_focal)[image]
        pivot = (zoom + self.core - 1).clamp_min(_LEAST_PIVOT)
        return state.log_scale[image] + self.log_median + pivot.log(), zoom / pivot

    def loss(self, state: BundleState, depths_are_free: bool) -> float:
        """What the priors add to the loss."""
        turn, shift = self._pose_errors(state)
        total = (self.log_focal_weight * (state.log_focal - self.log_focal).square()).sum()
        total = total + (self.fraction_weight * (state.fraction - self.fraction).square()).sum()
        total = total + (self.rotation_weight * turn.square().sum(-1)).sum()
        total = total + (self.center_weight * shift.square().sum(-1)).sum()
        if depths_are_free:
            total = total + (self.depth_weight * (state.log_depth - self.pivoted(state)[0]).square()).sum()
        return float(total) / 2

    def add_to(self, system: BundleSystem, state: BundleState, depths_are_free: bool) -> None:
        """Add gradient and Hessian of the priors."""
        diagonal, gradient = system.diagonal, system.gradient
        diagonal[:, 6, 6] += self.log_focal_weight
        gradient[:, 6] += self.log_focal_weight * (state.log_focal - self.log_focal)
        for axis in (0, 1):
            diagonal[:, 7 + axis, 7 + axis] += self.fraction_weight[:, axis]
        gradient[:, 7:9] += self.fraction_weight * (state.fraction - self.fraction)
        self._add_poses(system, state)
        if depths_are_free:
            self._add_depths(system, state)

    def _pose_errors(self, state: BundleState) -> tuple[Tensor, Tensor]:
        turn = log_rotation(state.rotation @ self.rotation.transpose(1, 2))
        return turn, state.center - self.center

    def _add_poses(self, system: BundleSystem, state: BundleState) -> None:
        turn, shift = self._pose_errors(state)
        identity = torch.eye(3).to(turn)
        lever = torch.cat((-_cross_matrix(state.center), identity.expand(len(turn), 3, 3)), -1)
        weighted = self.center_weight[:, None, None] * lever
        system.diagonal[:, :6, :6] += lever.transpose(1, 2) @ weighted
        system.diagonal[:, :3, :3] += self.rotation_weight[:, None, None] * identity
        system.gradient[:, :6] += (weighted * shift[..., None]).sum(1)
        system.gradient[:, :3] += self.rotation_weight[:, None] * turn

    def _add_depths(self, system: BundleSystem, state: BundleState) -> None:
        suggested, growth = self.pivoted(state)
        weight, pull = self.depth_weight, self.depth_weight * (state.log_depth - suggested)
        columns = (weight * growth.square(), weight * growth, weight, -pull * growth, -pull)
        sums = state.center.new_zeros(len(state.center), len(columns))
        sums.index_add_(0, self.anchor_image, torch.stack(columns, -1))
        for row, column, place in ((6, 6, 0), (6, 9, 1), (9, 6, 1), (9, 9, 2)):
            system.diagonal[:, row, column] += sums[:, place]
        system.gradient[:, 6] += sums[:, 3]
        system.gradient[:, 9] += sums[:, 4]
        system.own_coupling[:, 6] -= weight * growth
        system.own_coupling[:, 9] -= weight
        system.depth_hessian += weight
        system.depth_gradient += pull


def priors_to(mask: Bool[Tensor, " N"], like: Tensor) -> Bool[Tensor, " N"]:
    """A mask on the device of a tensor."""
    return mask.to(like.device)


def _weight(sigma: Tensor, unit: float) -> Tensor:
    """Inverse variance; 0 for an infinite one, and for 0, which means fixed and is handled elsewhere."""
    positive = (sigma > 0) & (sigma < math.inf)
    return torch.where(positive, unit / sigma.clamp_min(1e-12).square(), torch.zeros_like(sigma))


def _cross_matrix(vector: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3 3"]:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(-1, 3, 3)
