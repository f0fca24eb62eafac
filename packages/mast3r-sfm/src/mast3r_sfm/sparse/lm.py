"""The second-order solver: similarities first, then cameras and depths together (spec 30 section 13.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from mast3r_sfm.progress import OnLoss

from .adam import Progress
from .alignment import Alignment
from .bundle import BundleState
from .cameras import Cameras, pixel_depth, to_camera
from .disagreement import depth_disagreement
from .fine import FineSolver, cameras_of
from .objective import Objective
from .options import LmOptions
from .priors import CameraPriors
from .problem import SparseProblem
from .similarity import CoarseSolver, Similarities
from .tree import kinematic_tree
from .world_frame import moved_to_known_poses


def align_lm(
    problem: SparseProblem,
    options: LmOptions,
    priors: CameraPriors,
    progress: Progress | None = None,
    on_coarse: Callable[[Alignment], None] | None = None,
    on_loss: OnLoss | None = None,
) -> Alignment:
    """Align with Levenberg-Marquardt; what has a standard deviation of 0 is kept exactly."""
    root = kinematic_tree(problem.match_counts(), mode="mst").root
    objective = Objective.build(problem, options, torch.float64)
    start, cameras = start_state(problem, priors)
    depth = pixel_depth(cameras, start.log_depth.exp(), objective.image, objective.anchor, objective.offset)
    canonical = to_camera(cameras, objective.image, objective.xy, depth)
    known = priors.has_pose.to(start.center.device)
    sized = priors.scale_known.to(start.center.device)
    coarse = CoarseSolver(objective, canonical, root, known, sized, options)
    similarities = coarse.start()
    if bool(known.any()):
        similarities = moved_to_known_poses(similarities, priors)
    similarities, report = coarse.run(similarities, progress, on_loss)
    state = _with_similarities(start, similarities, problem.anchor_image)
    stages = [report]

    def finished(state: BundleState) -> Alignment:
        if not bool(known.any()):
            # The network's predictions are metric: let the middle image keep its scale.
            state = state.rescaled(-float(state.log_scale.median()))
        size_wh = problem.shapes.flip(-1).to(state.center)
        seen = cameras_of(state, size_wh, cameras.base_focal)
        return Alignment.from_cameras(seen, state.log_depth.exp(), stages, "lm")

    if options.fine and options.fine_iterations:
        if on_coarse is not None:
            on_coarse(finished(state))
        disagreement = depth_disagreement(objective, canonical, similarities)
        solver = FineSolver(problem, objective, state, priors, root, options, disagreement)
        state, report = solver.run(state, progress, on_loss)
        stages.append(report)
    return finished(state)


def start_state(problem: SparseProblem, priors: CameraPriors) -> tuple[BundleState, Cameras]:
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
    return state, cameras_of(state, size_wh, shared[:, 0].exp())


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
