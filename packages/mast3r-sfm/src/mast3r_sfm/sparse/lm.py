"""The second-order solver: similarities first, then cameras and depths together (spec 30 section 13.3)."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .adam import Progress
from .alignment import Alignment, StageReport
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
from .cameras import Cameras, pixel_depth, to_camera
from .objective import Objective
from .options import LmOptions
from .parameters import lower_medians
from .priors import CameraPriors
from .problem import SparseProblem
from .reduction import Reduction
from .similarity import CoarseSolver, Similarities
from .tree import kinematic_tree
from .world_frame import moved_to_known_poses

#: Reprojection errors below this (pixels) or point errors below it weigh as if they had it.
_LEAST_DISTANCE = 1e-4
#: Jacobians of this many observations are in memory at one time.
_OBSERVATIONS_AT_ONCE = 1 << 18
_PIECES_KEPT = 4


def align_lm(
    problem: SparseProblem, options: LmOptions, priors: CameraPriors, progress: Progress | None = None
) -> Alignment:
    """Align with Levenberg-Marquardt; what has a standard deviation of 0 is kept exactly."""
    root = kinematic_tree(problem.match_counts(), mode="mst").root
    objective = Objective.build(problem, options, torch.float64)
    start, cameras = _start(problem, priors)
    depth = pixel_depth(cameras, start.log_depth.exp(), objective.image, objective.anchor, objective.offset)
    canonical = to_camera(cameras, objective.image, objective.xy, depth)
    known = priors.has_pose.to(start.center.device)
    sized = priors.scale_known.to(start.center.device)
    coarse = CoarseSolver(objective, canonical, root, known, sized, options)
    similarities = coarse.start()
    if bool(known.any()):
        similarities = moved_to_known_poses(similarities, priors)
    similarities, report = coarse.run(similarities, progress)
    state = _with_similarities(start, similarities, problem.anchor_image)
    stages = [report]
    if options.fine and options.fine_iterations:
        solver = FineSolver(problem, objective, state, priors, root, options)
        state, report = solver.run(state, progress)
        stages.append(report)
    if not bool(known.any()):
        # The network's predictions are metric: let the middle image keep its scale.
        state = state.rescaled(-float(state.log_scale.median()))
    size_wh = problem.shapes.flip(-1).to(state.center)
    return Alignment.from_cameras(
        _cameras(state, size_wh, cameras.base_focal), state.log_depth.exp(), stages, "lm"
    )


def _start(problem: SparseProblem, priors: CameraPriors) -> tuple[BundleState, Cameras]:
    """Canonical or known intrinsics, shared ones averaged; canonical depths."""
    like = problem.core_depth.double()
    count, device = problem.num_images, like.device
    size_wh = problem.shapes.flip(-1).double()
    focal = torch.where(priors.has_focal.to(device), priors.focal.to(device), problem.focal.double())
    given = priors.has_principal_point.to(device)[:, None]
    point = torch.where(given, priors.principal_point.to(device), problem.principal_point.double())
    _, group = torch.unique(priors.intrinsics_group.to(device), return_inverse=True)
    weight = problem.mean_conf.double()[:, None]
    values = torch.cat((focal.log()[:, None], point / size_wh), -1)
    sums = like.new_zeros(int(group.max()) + 1, 4).index_add(
        0, group, weight * torch.cat((values, torch.ones_like(weight)), -1)
    )
    shared = (sums[:, :3] / sums[:, 3:])[group]
    state = BundleState(
        rotation=torch.eye(3).to(like).repeat(count, 1, 1),
        center=like.new_zeros(count, 3),
        log_focal=shared[:, 0],
        fraction=shared[:, 1:],
        log_scale=like.new_zeros(count),
        log_depth=like.clamp_min(1e-6).log(),
    )
    return state, _cameras(state, size_wh, shared[:, 0].exp())


def _cameras(state: BundleState, size_wh: Float[Tensor, "N 2"], base_focal: Float[Tensor, " N"]) -> Cameras:
    return Cameras(state.rotation, state.center, state.log_focal.exp(), state.fraction * size_wh, base_focal)


def _with_similarities(
    start: BundleState, similarities: Similarities, anchor_image: Int[Tensor, " A"]
) -> BundleState:
    return replace(
        start,
        rotation=similarities.rotation,
        center=similarities.center,
        log_scale=similarities.log_scale,
        log_depth=start.log_depth + similarities.log_scale[anchor_image],
    )


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
    ) -> None:
        self._options = options
        self._has_fallback = bool(len(objective.fallback_end)) and options.fallback_weight > 0
        self._sets = matched_observations(objective).pieces(_OBSERVATIONS_AT_ONCE)
        if self._has_fallback:
            self._sets += fallback_observations(objective).pieces(_OBSERVATIONS_AT_ONCE)
        self._size_wh = problem.shapes.flip(-1).to(start.center)
        self._layout = Layout.build(self._sets, problem.anchor_image, problem.num_images)
        median = lower_medians(problem.core_depth.double(), problem.anchor_start)
        count = sum(len(observations.owner) for observations in self._sets)
        self._priors = BundlePriors.build(problem, priors, options, start, median, count)
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

    def run(self, state: BundleState, progress: Progress | None = None) -> tuple[BundleState, StageReport]:
        """Levenberg-Marquardt on reweighted squares; the report holds the loss without priors."""
        started = time.perf_counter()
        state = self._constrained(state)
        evaluations, data, total = self._evaluated(state)
        losses = [data]
        damping, growth = 1e-4, 4.0
        limit = self._options.fine_iterations
        for iteration in range(limit):
            system = self._linearized(state, evaluations)
            accepted = False
            while not accepted and damping < 1e6:
                step = self._reduction.step(system, damping)
                if step is not None:
                    trial = self._constrained(state.moved(*step))
                    trial_evaluations, data, trial_total = self._evaluated(trial)
                    accepted = trial_total < total
                if not accepted:
                    damping, growth = damping * growth, growth * 2
            if not accepted:
                break
            damping, growth = max(damping / 4, 1e-8), 4.0
            previous, total = total, trial_total
            state, evaluations = trial, trial_evaluations
            losses.append(data)
            if progress is not None:
                progress("fine", iteration + 1, limit)
            if previous - total < self._options.fine_tolerance * previous:
                break
        trace = torch.tensor(losses, dtype=torch.float64)
        return state, StageReport("fine", trace, time.perf_counter() - started)

    def _constrained(self, state: BundleState) -> BundleState:
        """Depths that are not free follow the canonical ones."""
        if self._options.optimize_depth:
            return state
        return replace(state, log_depth=self._priors.pivoted(state)[0])

    def _evaluated(self, state: BundleState) -> tuple[list[Evaluation], float, float]:
        """Evaluations (only of few observations: many are evaluated again), loss, and loss with priors."""
        cameras = _cameras(state, self._size_wh, self._priors.base_focal)
        depth = state.log_depth.exp()
        kept, data = [], 0.0
        for observations in self._sets:
            at = evaluate(observations, cameras, depth)
            data += float((observations.weight * observations.loss.of_distance(at.distance)).sum())
            if len(self._sets) <= _PIECES_KEPT:
                kept.append(at)
        return kept, data, data + self._priors.loss(state, self._options.optimize_depth)

    def _linearized(self, state: BundleState, evaluations: list[Evaluation]) -> BundleSystem:
        cameras = _cameras(state, self._size_wh, self._priors.base_focal)
        depth = state.log_depth.exp()
        free_depth = self._options.optimize_depth
        system = BundleSystem.empty(self._layout, state.center)
        growth = None if free_depth else self._priors.pivoted(state)[1]
        for which, observations in enumerate(self._sets):
            at = evaluations[which] if evaluations else evaluate(observations, cameras, depth)
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
