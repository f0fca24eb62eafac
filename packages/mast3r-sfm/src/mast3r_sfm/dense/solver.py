"""The dense alignment's loop: Adam on all parameters at once (spec 30 section 9.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import InputError

from .options import DenseOptions, KnownCameras
from .parameters import DenseParameters, pairwise_maps, world_points
from .problem import DenseProblem
from .residuals import AlignmentTerms, alignment_loss, alignment_terms

Schedule: TypeAlias = Literal["cosine", "linear"]

ADAM_BETAS = (0.9, 0.9)


def minimize(
    problem: DenseProblem,
    start: DenseParameters,
    options: DenseOptions,
    known: KnownCameras,
    *,
    edge_weights: Float[Tensor, " edges"] | None = None,
    iterations: int = 300,
    lr: float = 0.01,
    lr_min: float = 1e-6,
    schedule: Schedule = "cosine",
    on_iteration: Callable[[int, float], None] | None = None,
) -> tuple[DenseParameters, Float[Tensor, " iterations"]]:
    """Move all images' depths and cameras and all edges' similarities until the edges' points agree.

    Args:
        problem: the pointmaps.
        start: see `initialization`.
        options: the model and loss that ``start`` was made for.
        known: whose poses, focals and principal points stay as they are in ``start``.
        edge_weights: how much each edge counts; None counts all alike.
        iterations: of Adam.
        lr: step at the beginning.
        lr_min: step that the schedule ends at.
        schedule: of the step.
        on_iteration: called with the iteration's number and the loss before its step.

    Returns:
        The last parameters (should the loss become infinite: the last for which it was finite), and the loss
        before every step.
    """
    current = DenseParameters(*(tensor.detach().clone().requires_grad_() for tensor in start.tensors))
    trained = [
        (tensor, mask)
        for tensor, mask in zip(current.tensors, free_entries(start, options, known), strict=True)
        if mask is not None
    ]
    optimizer = torch.optim.Adam([tensor for tensor, _ in trained], lr=lr, betas=ADAM_BETAS, fused=True)
    terms = alignment_terms(problem, options, edge_weights=edge_weights)
    losses: list[float] = []
    last_good = start
    for iteration in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(iteration / iterations, lr, lr_min, schedule)
        optimizer.zero_grad()
        loss = dense_loss(current, problem, options, terms)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            return last_good, torch.tensor(losses)
        if on_iteration is not None:
            on_iteration(iteration, losses[-1])
        loss.backward()  # type: ignore[no-untyped-call]
        last_good = _snapshot(current)
        for tensor, mask in trained:
            if tensor.grad is not None:
                tensor.grad.mul_(mask)
        optimizer.step()
    return _snapshot(current), torch.tensor(losses)


def dense_loss(
    parameters: DenseParameters, problem: DenseProblem, options: DenseOptions, terms: AlignmentTerms
) -> Float[Tensor, ""]:
    """The loss of these parameters (spec 30 sections 9.2, 9.3)."""
    linear, offset = pairwise_maps(parameters, options)
    return alignment_loss(world_points(parameters, problem, options), linear, offset, terms)


def learning_rate(progress: float, lr: float, lr_end: float, schedule: Schedule) -> float:
    """The step after a part of all iterations: half a cosine, or a straight line, from lr to lr_end."""
    if schedule == "cosine":
        return lr_end + (lr - lr_end) * (1 + math.cos(math.pi * progress)) / 2
    if schedule == "linear":
        return lr + (lr_end - lr) * progress
    raise InputError(f"schedule is {schedule!r}, expected cosine or linear")


def free_entries(
    parameters: DenseParameters, options: DenseOptions, known: KnownCameras
) -> tuple[Tensor | None, ...]:
    """For every tensor of the parameters, which rows move: factors 1 and 0, or None where none does."""

    def rows(fixed: Tensor) -> Tensor | None:
        return None if fixed.all() else (~fixed).to(parameters.poses)[:, None]

    everything = parameters.poses.new_ones(1, 1)
    return (
        everything,
        everything if options.allow_adaptors else None,
        rows(known.has_pose),
        rows(known.has_focal),
        rows(known.has_principal_point) if options.optimize_principal_points else None,
        everything,
    )


def _snapshot(parameters: DenseParameters) -> DenseParameters:
    return DenseParameters(*(tensor.detach().clone() for tensor in parameters.tensors))
