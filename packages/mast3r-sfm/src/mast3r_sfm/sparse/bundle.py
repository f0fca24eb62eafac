"""The fine loss with analytic Jacobians (spec 30 section 13.3).

Poses move by ``P' = exp(omega) P + tau`` of the world, so that moving the camera that owns a point and
moving the camera that observes it have opposite effects, and the Jacobian of an observation has 13 columns
only: omega (3), tau (3), the owner's log focal and principal point (1 + 2), log depth (1), the observer's log
focal and principal point (1 + 2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cameras import MIN_PROJECTED_DEPTH, PIXEL_BOUNDS, Cameras, to_camera, to_frame
from .losses import GammaLoss
from .objective import Objective
from .rotations import exp_rotation

#: Columns of a camera: omega, tau, log focal, principal point (fraction of the size), log scale.
CAMERA_PARAMETERS = 10
#: Columns of an observation, and where log depth is among them.
OBSERVATION_PARAMETERS, LOG_DEPTH = 13, 9


@dataclass(frozen=True)
class BundleState:
    """What the fine stage moves; float64.

    Attributes:
        rotation: (N, 3, 3) camera to world.
        center: (N, 3).
        log_focal: (N,) of pixels.
        fraction: (N, 2) principal point as a fraction of width and height.
        log_scale: (N,) of the canonical depths, which the depth prior refers to.
        log_depth: (A,) of the anchors.
    """

    rotation: Float[Tensor, "N 3 3"]
    center: Float[Tensor, "N 3"]
    log_focal: Float[Tensor, " N"]
    fraction: Float[Tensor, "N 2"]
    log_scale: Float[Tensor, " N"]
    log_depth: Float[Tensor, " A"]

    def moved(self, step: Float[Tensor, "N 10"], depth_step: Float[Tensor, " A"]) -> BundleState:
        """After a step."""
        turn = exp_rotation(step[:, :3])
        return BundleState(
            rotation=turn @ self.rotation,
            center=(turn * self.center[:, None]).sum(-1) + step[:, 3:6],
            log_focal=self.log_focal + step[:, 6],
            fraction=self.fraction + step[:, 7:9],
            log_scale=self.log_scale + step[:, 9],
            log_depth=self.log_depth + depth_step,
        )

    def rescaled(self, log_factor: float) -> BundleState:
        """The same scene, larger."""
        return replace(
            self,
            center=self.center * torch.tensor(log_factor).exp(),
            log_scale=self.log_scale + log_factor,
            log_depth=self.log_depth + log_factor,
        )


@dataclass(frozen=True)
class Observations:
    """Points of some cameras that other cameras observe, as pixels or as points in their frame.

    Attributes:
        owner: (n,) camera that owns the point.
        observer: (n,) camera that observes it.
        anchor: (n,) anchor of the point.
        xy: (n, 2) the point's pixel in the owner.
        offset: (n,) depth relative to the anchor.
        target: (n, 2) pixels or (n, 3) points of the observer's frame.
        weight: (n,) in the total loss.
        loss: of the distance to the target.
    """

    owner: Int[Tensor, " n"]
    observer: Int[Tensor, " n"]
    anchor: Int[Tensor, " n"]
    xy: Float[Tensor, "n 2"]
    offset: Float[Tensor, " n"]
    target: Float[Tensor, "n t"]
    weight: Float[Tensor, " n"]
    loss: GammaLoss

    def pieces(self, most: int) -> list[Observations]:
        """The same in pieces of at most so many; one, possibly empty, piece at least."""
        names = ("owner", "observer", "anchor", "xy", "offset", "target", "weight")
        parts = [torch.split(getattr(self, name), most) for name in names]
        rows = zip(*parts, strict=True)
        return [Observations(**dict(zip(names, row, strict=True)), loss=self.loss) for row in rows]


@dataclass(frozen=True)
class Evaluation:
    """Observations at a state: what the Jacobians share with the loss."""

    owned: Float[Tensor, "n 3"]
    arm: Float[Tensor, "n 3"]
    world: Float[Tensor, "n 3"]
    seen: Float[Tensor, "n 3"]
    residual: Float[Tensor, "n t"]
    distance: Float[Tensor, " n"]
    inside: Bool[Tensor, " n"]
    depth: Float[Tensor, " n"]


def matched_observations(objective: Objective) -> Observations:
    """Both directions of all matches of matched pairs."""
    first, second = (
        part if objective.matched is None else part[objective.matched] for part in _ends(objective)
    )
    owner_end, observer_end = torch.cat((first, second)), torch.cat((second, first))
    return Observations(
        owner=objective.image[owner_end],
        observer=objective.image[observer_end],
        anchor=objective.anchor[owner_end],
        xy=objective.xy[owner_end],
        offset=objective.offset[owner_end],
        target=objective.xy[observer_end],
        weight=objective.weight.repeat(2) / 2,
        loss=objective.options.fine_loss,
    )


def _ends(objective: Objective) -> tuple[Tensor, Tensor]:
    first, second = torch.arange(len(objective.image), device=objective.image.device).chunk(2)
    return first, second


def fallback_observations(objective: Objective) -> Observations:
    """Points of pairs that are not matched, where the network saw them."""
    end = objective.fallback_end
    return Observations(
        owner=objective.image[end],
        observer=objective.fallback_frame,
        anchor=objective.anchor[end],
        xy=objective.xy[end],
        offset=objective.offset[end],
        target=objective.fallback_pts3d,
        weight=objective.options.fallback_weight * objective.fallback_weight,
        loss=objective.options.fallback_loss,
    )


def evaluate(observations: Observations, cameras: Cameras, anchor_depth: Float[Tensor, " A"]) -> Evaluation:
    """Residuals of observations."""
    owner, observer = observations.owner, observations.observer
    stretch = (cameras.base_focal / cameras.focal)[owner]
    depth = anchor_depth[observations.anchor] * (1 + (observations.offset - 1) * stretch)
    owned = to_camera(cameras, owner, observations.xy, depth)
    arm = (cameras.rotation[owner] * owned[:, None]).sum(-1)
    world = arm + cameras.center[owner]
    seen = to_frame(cameras, observer, world)
    inside = torch.ones_like(depth, dtype=torch.bool)
    predicted = seen
    if observations.target.shape[1] == 2:
        scaled = (
            cameras.focal[observer][:, None] * seen[:, :2] + cameras.principal_point[observer] * seen[:, 2:]
        )
        pixels = scaled / seen[:, 2:].clamp_min(MIN_PROJECTED_DEPTH)
        predicted = pixels.clamp(*PIXEL_BOUNDS)
        inside = (seen[:, 2] > MIN_PROJECTED_DEPTH) & (pixels == predicted).all(-1)
    residual = predicted - observations.target
    return Evaluation(owned, arm, world, seen, residual, residual.norm(dim=-1), inside, depth)


def jacobian(
    observations: Observations,
    at: Evaluation,
    cameras: Cameras,
    size_wh: Float[Tensor, "N 2"],
    anchor_depth: Float[Tensor, " A"],
) -> Float[Tensor, "n t 13"]:
    """Derivatives of the residuals; 0 where the projection is clamped."""
    owner, observer = observations.owner, observations.observer
    to_observer = cameras.rotation[observer].transpose(1, 2)
    rows = observations.target.shape[1]
    columns = at.residual.new_zeros(len(owner), rows, OBSERVATION_PARAMETERS)
    lever = to_observer
    if rows == 2:
        inverse_depth = 1 / at.seen[:, 2].clamp_min(MIN_PROJECTED_DEPTH)
        slope = cameras.focal[observer] * inverse_depth
        direction = at.seen[:, :2] * inverse_depth[:, None]
        lever = slope[:, None, None] * (to_observer[:, :2] - direction[..., None] * to_observer[:, 2:])
        columns[:, :, 10] = cameras.focal[observer][:, None] * direction
        columns[:, 0, 11] = size_wh[observer, 0]
        columns[:, 1, 12] = size_wh[observer, 1]
    columns[:, :, :3] = torch.linalg.cross(at.world[:, None].expand_as(lever), lever)
    columns[:, :, 3:6] = lever
    in_owner = lever @ cameras.rotation[owner]
    focal = cameras.focal[owner]
    stretch = (cameras.base_focal / cameras.focal)[owner]
    # Log focal spreads the relief (z) and narrows the rays (x, y).
    depth_growth = -(observations.offset - 1) * stretch * anchor_depth[observations.anchor] / at.depth
    growth = depth_growth[:, None] * at.owned
    growth[:, :2] -= at.owned[:, :2]
    columns[:, :, 6] = (in_owner * growth[:, None]).sum(-1)
    columns[:, :, 7:9] = in_owner[:, :, :2] * (-(at.depth / focal)[:, None] * size_wh[owner])[:, None]
    columns[:, :, LOG_DEPTH] = (lever * at.arm[:, None]).sum(-1)
    return columns * at.inside[:, None, None]
