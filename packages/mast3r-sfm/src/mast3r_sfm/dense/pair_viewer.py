"""Two images without optimisation: one camera is the world, PnP places the other (spec 30 section 9.7)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mast3r_model import InputError

from .options import DenseOptions, KnownCameras
from .problem import DenseProblem
from .result import DenseAlignment
from .single_cameras import pose_by_pnp, reference_focal

PNP_ITERATIONS = 100


def view_pair(problem: DenseProblem, options: DenseOptions | None = None) -> DenseAlignment:
    """Cameras and depths of two images from the more confident of the two passes.

    Args:
        problem: two images, both directions, stride 1.
        options: ``min_confidence`` and ``focal_mode`` are used.

    Returns:
        World = the camera of the more confident edge's reference image, in the network's unit. A camera for
        which PnP finds nothing stands at the same place.

    Raises:
        InputError: not two images in both directions, or a stride.
    """
    options = options or DenseOptions()
    edges: list[tuple[int, int]] = [(i, j) for i, j in problem.edges.tolist()]
    if sorted(edges) != [(0, 1), (1, 0)] or problem.stride != 1:
        raise InputError(
            f"the pair viewer needs edges (0, 1) and (1, 0) and stride 1, got {edges[:4]} and stride "
            f"{problem.stride}",
            hint="use the point-cloud optimizer for anything else",
        )
    focals = {i: reference_focal(problem, edge, options.focal_mode) for edge, (i, _) in enumerate(edges)}
    scores = dict(zip(edges, problem.edge_scores.tolist(), strict=True))
    world = 0 if scores[0, 1] > scores[1, 0] else 1
    other = 1 - world
    edge = edges.index((world, other))
    points = problem.pts3d[edge, 1]
    found = pose_by_pnp(
        problem,
        other,
        points,
        problem.image_confidence[other] > options.min_confidence,
        focals[other],
        KnownCameras.none(2, points.device),
        iterations=PNP_ITERATIONS,
    )
    cam2world = torch.eye(4).to(points).repeat(2, 1, 1)
    if found is not None:
        cam2world[other] = found[1].to(points)
    local = cam2world[other, :3, :3].T @ (points - cam2world[other, :3, 3:])
    flat = {world: problem.pts3d[edge, 0, 2], other: local[2]}
    return DenseAlignment(
        intrinsics=torch.stack([_intrinsics(focals[image], problem.centers[image]) for image in (0, 1)]),
        cam2world=cam2world,
        depths=tuple(_as_map(flat[image], problem.image_shapes[image]) for image in (0, 1)),
        confidences=problem.confidence_maps,
        pairwise_scales=torch.ones(2).to(points),
        losses=torch.zeros(0),
        final_loss=math.nan,
    )


def _as_map(flat: Tensor, shape: tuple[int, int]) -> Tensor:
    return flat[: shape[0] * shape[1]].reshape(shape)


def _intrinsics(focals: tuple[float, float], center: Tensor) -> Tensor:
    matrix = torch.diag(torch.tensor([*focals, 1.0])).to(center)
    matrix[:2, 2] = center
    return matrix
