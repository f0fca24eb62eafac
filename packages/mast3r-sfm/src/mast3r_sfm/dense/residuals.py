"""The dense alignment's loss: how far every edge's points, moved by the edge, lie from the images' points.

`alignment_loss` computes value and gradients in one pass over chunks of bounded size and keeps nothing of
the size of the maps for backward; `alignment_loss_plain` is the same written down plainly (spec 30 sections
9.2, 9.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .options import DenseOptions, Distance, confidence_weights
from .problem import DenseProblem


@dataclass(frozen=True, eq=False)
class AlignmentTerms:
    """The constants of the loss: one row a map, that is two an edge.

    Attributes:
        image: (maps,) whose pixels the map holds.
        edge: (maps,) which edge moves it.
        pts3d: (maps, 3, samples).
        weight: (maps, samples) of every point, 0 in padding.
        factor: (maps,) of every map in the loss: one over the normalising area, times the edge's weight.
        distance: of two points.
        max_points: points handled at once.
    """

    image: Int[Tensor, " maps"]
    edge: Int[Tensor, " maps"]
    pts3d: Float[Tensor, "maps 3 samples"]
    weight: Float[Tensor, "maps samples"]
    factor: Float[Tensor, " maps"]
    distance: Distance
    max_points: int


def alignment_terms(
    problem: DenseProblem, options: DenseOptions, *, edge_weights: Float[Tensor, " edges"] | None = None
) -> AlignmentTerms:
    """Prepare the loss.

    Args:
        problem: the pointmaps; their points are shared, not copied.
        options: distance, confidence transform, normalisation.
        edge_weights: how much each edge counts; None counts all alike.
    """
    areas = problem.sample_counts[problem.edges].to(problem.pts3d.dtype)  # (edges, 2)
    if options.normalization == "pixels":
        factor = 1 / areas.sum(dim=0, keepdim=True).expand_as(areas)
    else:
        factor = 1 / (areas * len(areas))
    if edge_weights is not None:
        factor = factor * edge_weights.to(factor)[:, None]
    edge = torch.arange(len(areas), device=areas.device)
    return AlignmentTerms(
        image=problem.edges.flatten(),
        edge=edge[:, None].expand(-1, 2).flatten(),
        pts3d=problem.pts3d.flatten(0, 1),
        weight=confidence_weights(problem.confidence, options.confidence).flatten(0, 1),
        factor=factor.flatten(),
        distance=options.distance,
        max_points=options.max_points,
    )


def alignment_loss(
    points: Float[Tensor, "images 3 samples"],
    linear: Float[Tensor, "edges 3 3"],
    offset: Float[Tensor, "edges 3"],
    terms: AlignmentTerms,
) -> Float[Tensor, ""]:
    """Sum over maps of factor * sum of weight * distance(image's point, linear x + offset).

    Args:
        points: every image's samples in the world.
        linear: of every edge's map into the world.
        offset: of every edge's map into the world.
        terms: the constants, see `alignment_terms`.

    Returns:
        The loss, differentiable once by the first three arguments. The gradient of a norm at 0 is 0.
    """
    return _AlignmentLoss.apply(points, linear, offset, terms)


def alignment_loss_plain(
    points: Float[Tensor, "images 3 samples"],
    linear: Float[Tensor, "edges 3 3"],
    offset: Float[Tensor, "edges 3"],
    terms: AlignmentTerms,
) -> Float[Tensor, ""]:
    """The same as `alignment_loss`, map by map through autograd: slow, memory grows with the maps."""
    loss = points.new_zeros(())
    for k, (image, edge) in enumerate(zip(terms.image.tolist(), terms.edge.tolist(), strict=True)):
        moved = linear[edge] @ terms.pts3d[k] + offset[edge][:, None]
        distance = torch.linalg.vector_norm(points[image] - moved, dim=0)
        if terms.distance == "l2":
            distance = distance**2
        loss = loss + terms.factor[k] * (terms.weight[k] * distance).sum()
    return loss


class _AlignmentLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, linear: Tensor, offset: Tensor, terms: AlignmentTerms) -> Tensor:
        needs_gradients = any(ctx.needs_input_grad)
        loss = points.new_zeros(())
        gradients = (
            [torch.zeros_like(tensor) for tensor in (points, linear, offset)] if needs_gradients else []
        )
        for maps, samples in _chunks(terms.weight.shape[0], terms.weight.shape[1], terms.max_points):
            image, edge, pts3d = terms.image[maps], terms.edge[maps], terms.pts3d[maps, :, samples]
            difference = points[image, :, samples] - torch.baddbmm(
                offset[edge][:, :, None], linear[edge], pts3d
            )
            weight = terms.weight[maps, samples] * terms.factor[maps][:, None]
            distance = difference.square().sum(dim=1).sqrt()  # several times faster than vector_norm here
            if terms.distance == "l1":
                loss = loss + (weight * distance).sum()
                slope = torch.where(distance > 0, weight / distance, 0)
            else:
                loss = loss + (weight * distance.square()).sum()
                slope = 2 * weight
            if needs_gradients:
                pull = difference.mul_(slope[:, None])
                gradients[0][:, :, samples].index_add_(0, image, pull)
                gradients[1].index_add_(0, edge, pull @ pts3d.mT, alpha=-1)
                gradients[2].index_add_(0, edge, pull.sum(dim=-1), alpha=-1)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        points, linear, offset = ctx.saved_tensors
        return outer * points, outer * linear, outer * offset, None


def _chunks(maps: int, samples: int, max_points: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of whole maps, or of parts of one map where a single one exceeds the bound."""
    maps_at_once = max(1, max_points // samples)
    samples_at_once = samples if max_points >= samples else max(1, max_points)
    for first in range(0, maps, maps_at_once):
        for start in range(0, samples, samples_at_once):
            yield slice(first, min(first + maps_at_once, maps)), slice(start, start + samples_at_once)
