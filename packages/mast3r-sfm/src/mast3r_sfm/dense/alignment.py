"""Dense (DUSt3R) global alignment in one call: pairs' pointmaps to cameras and depth (spec 30 section 9).

problem = DenseProblem.from_predictions(predictions, stride=2)
alignment = align_dense(problem)
alignment = complete_depths(alignment, problem, edges_of(predictions))   # only with a stride
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_model import InputError

from .initialization import initialize_from_known_cameras, initialize_from_tree, initialize_randomly
from .options import DenseOptions, KnownCameras
from .parameters import PRINCIPAL_POINT_UNIT, DenseParameters, encode_poses
from .problem import DenseProblem
from .residuals import alignment_terms
from .result import DenseAlignment, result_of
from .solver import Schedule, dense_loss, minimize

Start: TypeAlias = Literal["tree", "known", "random"]
"""``tree``: images are placed along the spanning tree of the most confident edges; ``known``: all poses and
focals are given; ``random``: anywhere."""


def align_dense(
    problem: DenseProblem,
    *,
    options: DenseOptions | None = None,
    known: KnownCameras | None = None,
    start: Start | DenseParameters = "tree",
    edge_weights: Float[Tensor, " edges"] | None = None,
    pnp_iterations: int = 10,
    iterations: int = 300,
    lr: float = 0.01,
    lr_min: float = 1e-6,
    schedule: Schedule = "cosine",
    on_iteration: Callable[[int, float], None] | None = None,
) -> DenseAlignment:
    """Place all cameras and depths so that every pair's pointmaps agree with them.

    Args:
        problem: the pointmaps.
        options: the model and the loss.
        known: cameras that are given and kept.
        start: where to start; parameters continue an earlier alignment.
        edge_weights: how much each edge counts; None counts all alike.
        pnp_iterations: of RANSAC, for cameras that have to be placed by PnP.
        iterations: of Adam; 0 returns the start.
        lr: step at the beginning.
        lr_min: step at the end.
        schedule: of the step between them.
        on_iteration: called with the iteration's number and its loss, for progress.

    Raises:
        InputError: the images fall into several components, or cameras needed are not known.
    """
    known = (known or KnownCameras.none(problem.image_count)).to(problem.edges.device)
    options = resolve_options(options or DenseOptions(), known)
    parameters = start_parameters(problem, options, known, start, pnp_iterations=pnp_iterations)
    parameters, losses = minimize(
        problem,
        parameters,
        options,
        known,
        edge_weights=edge_weights,
        iterations=iterations,
        lr=lr,
        lr_min=lr_min,
        schedule=schedule,
        on_iteration=on_iteration,
    )
    with torch.no_grad():
        terms = alignment_terms(problem, options, edge_weights=edge_weights)
        final_loss = float(dense_loss(parameters, problem, options, terms))
    return result_of(parameters, problem, options, losses=losses, final_loss=final_loss)


def start_parameters(
    problem: DenseProblem,
    options: DenseOptions,
    known: KnownCameras,
    start: Start | DenseParameters,
    *,
    pnp_iterations: int = 10,
) -> DenseParameters:
    """Parameters to start from; ``options`` must be resolved."""
    if isinstance(start, DenseParameters):
        return with_known_cameras(start, problem, options, known)
    if start == "tree":
        return initialize_from_tree(problem, options, known, pnp_iterations=pnp_iterations)
    if start == "known":
        return initialize_from_known_cameras(problem, options, known, pnp_iterations=pnp_iterations)
    if start == "random":
        return initialize_randomly(problem, options, known)
    raise InputError(f"start is {start!r}, expected tree, known or random")


def with_known_cameras(
    parameters: DenseParameters, problem: DenseProblem, options: DenseOptions, known: KnownCameras
) -> DenseParameters:
    """The parameters with known cameras in the place of their own."""
    poses, focals, points = known.cam2world, known.focals, known.principal_points
    has_pose, has_focal = known.has_pose, known.has_focal
    encoded = encode_poses(poses[has_pose, :3, :3], poses[has_pose, :3, 3])
    logs = options.focal_break * focals[has_focal].log()
    own = parameters.focals
    if options.separate_focals:
        own = own.expand(-1, 2)
    else:
        logs = logs.mean(dim=-1, keepdim=True)
    has_point = known.has_principal_point
    shifts = ((points - problem.centers) / PRINCIPAL_POINT_UNIT)[has_point]
    return replace(
        parameters,
        poses=_with_rows(parameters.poses, has_pose, encoded),
        focals=_with_rows(own, has_focal, logs),
        principal_points=_with_rows(parameters.principal_points, has_point, shifts),
    )


def _with_rows(tensor: Tensor, rows: Bool[Tensor, " n"], values: Tensor) -> Tensor:
    result = tensor.clone()
    result[rows] = values.to(result)
    return result


def resolve_options(options: DenseOptions, known: KnownCameras) -> DenseOptions:
    """Decide what the options leave open: known poses fix the scale, known unequal fx and fy need both."""
    normalize = options.normalize_scale
    fx, fy = known.focals[known.has_focal].unbind(-1)
    return replace(
        options,
        normalize_scale=bool(known.has_pose.sum() <= 1) if normalize is None else normalize,
        separate_focals=options.separate_focals or not torch.allclose(fx, fy, rtol=1e-5),
    )
