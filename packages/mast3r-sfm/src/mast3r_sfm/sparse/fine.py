"""The fine stage of the second-order solver: reprojection errors over cameras and depths (spec 30, 13.3)."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mast3r_sfm.progress import OnLoss

from .adam import Progress
from .alignment import StageReport
from .bundle import (
    CAMERA_PARAMETERS,
    BundleState,
    Evaluation,
    Observations,
    evaluate,
    fallback_observations,
    jacobian,
    matched_observations,
)
from .bundle_priors import BundlePriors
from .bundle_system import BundleSystem, Layout
from .cameras import Cameras
from .objective import Objective
from .options import LmOptions
from .parameters import lower_medians
from .priors import CameraPriors
from .problem import SparseProblem
from .reduction import Reduction

#: Reprojection errors below this (pixels) or point errors below it weigh as if they had it.
_LEAST_DISTANCE = 1e-4
#: Jacobians of this many observations are in memory at one time.
_OBSERVATIONS_AT_ONCE = 1 << 16
#: Evaluations of at most so many pieces are kept from loss to Jacobian; more are made again.
_PIECES_KEPT = 8
#: Reweighted squares lie above the robust loss, so their steps are too short; so much longer ones are tried.
_RELAXATION = 2.0


def cameras_of(state: BundleState, size_wh: Float[Tensor, "N 2"], base_focal: Float[Tensor, " N"]) -> Cameras:
    """The cameras of a state."""
    return Cameras(state.rotation, state.center, state.log_focal.exp(), state.fraction * size_wh, base_focal)


@dataclass(frozen=True)
class _Trial:
    """A state and how good it is.

    Attributes:
        state: with depths of observed anchors only.
        evaluations: of all observations, if they are few.
        data: the loss.
        total: with priors.
    """

    state: BundleState
    evaluations: list[Evaluation]
    data: float
    total: float


class FineSolver:
    """Minimise the fine loss plus priors over cameras and depths."""

    def __init__(
        self,
        problem: SparseProblem,
        objective: Objective,
        start: BundleState,
        priors: CameraPriors,
        root: int,
        options: LmOptions,
        disagreement: float = 0.0,
    ) -> None:
        self._options = options
        self._has_fallback = bool(len(objective.fallback_end)) and options.fallback_weight > 0
        self._sets = matched_observations(objective).pieces(_OBSERVATIONS_AT_ONCE)
        if self._has_fallback:
            self._sets += fallback_observations(objective).pieces(_OBSERVATIONS_AT_ONCE)
        self._size_wh = problem.shapes.flip(-1).to(start.center)
        # Anchors that nobody observes follow their priors; only the others take part.
        observed = torch.unique(torch.cat([torch.unique(each.anchor) for each in self._sets]))
        self._observed = observed
        number = torch.zeros_like(problem.anchor_image)
        number[observed] = torch.arange(len(observed), device=observed.device)
        self._sets = [replace(each, anchor=number[each.anchor]) for each in self._sets]
        self._layout = Layout.build(self._sets, problem.anchor_image[observed], problem.num_images)
        median = lower_medians(problem.core_depth.double(), problem.anchor_start)
        count = sum(len(observations.owner) for observations in self._sets)
        self._all_priors = BundlePriors.build(problem, priors, options, start, median, count, disagreement)
        self._priors = self._all_priors.of_anchors(observed)
        self._reduction = Reduction.build(
            self._layout, self._free_parameters(priors, root), options.dense_limit
        )

    def _free_parameters(self, priors: CameraPriors, root: int) -> Int[Tensor, "N 10"]:
        """Number of each camera's parameters among the free unknowns, -1 if fixed."""
        device = self._size_wh.device
        count = len(self._size_wh)
        free = torch.ones(count, CAMERA_PARAMETERS, dtype=torch.bool, device=device)
        has_pose = priors.has_pose.to(device)
        free[:, :3] &= ~(has_pose & (priors.rotation_sigma.to(device) == 0))[:, None]
        free[:, 3:6] &= ~(has_pose & (priors.translation_sigma.to(device) == 0))[:, None]
        if not bool(has_pose.any()):
            free[root, :6] = False
        sized = priors.scale_known.to(device)
        free[:, 9] &= ~sized
        if int(has_pose.sum()) < 2 and not self._has_fallback and not bool(sized.any()):
            free[root, 9] = False
        _, group = torch.unique(priors.intrinsics_group.to(device), return_inverse=True)
        columns = torch.arange(CAMERA_PARAMETERS, device=device)
        intrinsic = (columns >= 6) & (columns < 9)
        fixed_focal = priors.has_focal.to(device) & (priors.focal_sigma.to(device) == 0)
        fixed_point = priors.has_principal_point.to(device) & (priors.principal_point_sigma.to(device) == 0)
        free[:, 6] &= ~_any_of_group(fixed_focal, group)
        free[:, 7:9] &= ~_any_of_group(fixed_point, group)[:, None]
        if not self._options.optimize_principal_point:
            free[:, 7:9] = False
        images = torch.arange(count, device=device)[:, None]
        key = torch.where(intrinsic, group[:, None] + count, images) * CAMERA_PARAMETERS + columns
        _, numbers = torch.unique(key[free], return_inverse=True)
        index = torch.full_like(key, -1)
        index[free] = numbers
        return index

    def run(
        self, state: BundleState, progress: Progress | None = None, on_loss: OnLoss | None = None
    ) -> tuple[BundleState, StageReport]:
        """Levenberg-Marquardt on reweighted squares; the report holds the loss without priors."""
        started = time.perf_counter()
        now = self._tried(replace(state, log_depth=state.log_depth[self._observed]))
        losses = [now.data]
        damping = 1e-4
        limit = self._options.fine_iterations
        for iteration in range(limit):
            better, damping = self._improved(now, damping)
            if better is None:
                break
            previous, now = now, better
            losses.append(now.data)
            if progress is not None:
                progress("fine", iteration + 1, limit)
            if on_loss is not None:
                on_loss("fine", losses[-1])
            if previous.total - now.total < self._options.fine_tolerance * previous.total:
                break
        trace = torch.tensor(losses, dtype=torch.float64)
        return self._with_all_anchors(now.state), StageReport("fine", trace, time.perf_counter() - started)

    def _improved(self, now: _Trial, damping: float) -> tuple[_Trial | None, float]:
        """One step, None if there is no better state, and the next damping."""
        system = self._linearized(now)
        growth = 4.0
        while damping < 1e6:
            step = self._reduction.step(system, damping)
            if step is not None:
                trial = self._tried(now.state.moved(*step))
                if trial.total < now.total:
                    longer = self._tried(now.state.moved(*(_RELAXATION * part for part in step)))
                    return (longer if longer.total < trial.total else trial), max(damping / 4, 1e-8)
            damping, growth = damping * growth, growth * 2
        return None, damping

    def _with_all_anchors(self, state: BundleState) -> BundleState:
        """Anchors that nobody observes are put where the priors want them."""
        log_depth = self._all_priors.pivoted(state)[0]
        log_depth[self._observed] = state.log_depth
        return replace(state, log_depth=log_depth)

    def _tried(self, state: BundleState) -> _Trial:
        """Evaluate a state; depths that are not free follow the canonical ones."""
        if not self._options.optimize_depth:
            state = replace(state, log_depth=self._priors.pivoted(state)[0])
        cameras = cameras_of(state, self._size_wh, self._priors.base_focal)
        depth = state.log_depth.exp()
        kept, data = [], 0.0
        for observations in self._sets:
            at = evaluate(observations, cameras, depth)
            data += float((observations.weight * observations.loss.of_distance(at.distance)).sum())
            if len(self._sets) <= _PIECES_KEPT:
                kept.append(at)
        return _Trial(state, kept, data, data + self._priors.loss(state, self._options.optimize_depth))

    def _linearized(self, now: _Trial) -> BundleSystem:
        state = now.state
        cameras = cameras_of(state, self._size_wh, self._priors.base_focal)
        depth = state.log_depth.exp()
        free_depth = self._options.optimize_depth
        system = BundleSystem.empty(self._layout, state.center)
        growth = None if free_depth else self._priors.pivoted(state)[1]
        for which, observations in enumerate(self._sets):
            at = now.evaluations[which] if now.evaluations else evaluate(observations, cameras, depth)
            columns = jacobian(observations, at, cameras, self._size_wh, depth)
            weight = _reweighted(observations, at)
            system.add(which, columns, at.residual, weight, observations.anchor, growth)
        self._priors.add_to(system, state, free_depth)
        return system


def _reweighted(observations: Observations, at: Evaluation) -> Float[Tensor, " n"]:
    """Weights with which squares have the gradient of the robust loss."""
    slope = observations.loss.slope(at.distance)
    return observations.weight * slope / at.distance.clamp_min(_LEAST_DISTANCE)


def _any_of_group(mask: Bool[Tensor, " N"], group: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
    hit = torch.zeros(int(group.max()) + 1, dtype=torch.bool, device=mask.device)
    hit[group[mask]] = True
    return hit[group]
