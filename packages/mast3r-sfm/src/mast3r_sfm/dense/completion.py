"""Depth of every pixel after an alignment that only saw a part of them.

With cameras and edges fixed, a pixel's depth is a problem of one unknown: where on its ray is the weighted
sum of distances to what the edges predict for it least? One or a few reweighted least-squares steps solve it,
reading the predictions as a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import InputError

from .options import DenseOptions, confidence_weights
from .parameters import pairwise_maps
from .problem import DenseProblem, EdgePrediction
from .result import DenseAlignment, pixel_rays

NEAR_ZERO = 1e-4  # residuals below this part of the depth weigh as if they were that large


def complete_depths(
    alignment: DenseAlignment,
    problem: DenseProblem,
    predictions: Callable[[], Iterable[EdgePrediction]],
    options: DenseOptions | None = None,
    *,
    passes: int = 2,
) -> DenseAlignment:
    """Replace the interpolated depths by each pixel's own best one.

    Args:
        alignment: the result of `align_dense` on ``problem``.
        problem: with any stride.
        predictions: called for every pass; gives the same edges in the same order as the problem was made of.
        options: the alignment's.
        passes: reweightings; each reads all predictions once.

    Raises:
        InputError: the alignment has lost its parameters, or the predictions are not the problem's.
    """
    if alignment.parameters is None:
        raise InputError("this alignment has no parameters", hint="complete it before rescaling it")
    options = options or DenseOptions()
    with torch.no_grad():
        linear, offset = pairwise_maps(alignment.parameters, options)
        depths = alignment.depths
        for _ in range(passes):
            depths = _one_pass(alignment, depths, problem, predictions(), linear, offset, options)
    return replace(alignment, depths=depths)


def _one_pass(
    alignment: DenseAlignment,
    depths: tuple[Float[Tensor, "h w"], ...],
    problem: DenseProblem,
    predictions: Iterable[EdgePrediction],
    linear: Float[Tensor, "edges 3 3"],
    offset: Float[Tensor, "edges 3"],
    options: DenseOptions,
) -> tuple[Float[Tensor, "h w"], ...]:
    along = [torch.zeros_like(depth) for depth in depths]
    square = [torch.zeros_like(depth) for depth in depths]
    expected = [(i, j) for i, j in problem.edges.tolist()]
    rays = [
        pixel_rays(*shape, intrinsics)
        for shape, intrinsics in zip(problem.image_shapes, alignment.intrinsics, strict=True)
    ]
    seen = 0
    for index, edge in enumerate(predictions):
        if index >= len(expected) or (edge.i, edge.j) != expected[index]:
            raise InputError(
                f"prediction {index} is of edge ({edge.i}, {edge.j}), the problem has another one"
            )
        seen += 1
        for image, pts3d, conf in ((edge.i, edge.pts3d_i, edge.conf_i), (edge.j, edge.pts3d_j, edge.conf_j)):
            points = pts3d.to(offset)
            conf = torch.where(points.isfinite().all(dim=-1), conf.to(offset), 0)
            world = points.nan_to_num(0, 0, 0) @ linear[index].T + offset[index]
            pose, ray, depth = alignment.cam2world[image], rays[image], depths[image]
            local = (world - pose[:3, 3]) @ pose[:3, :3]
            weight = confidence_weights(conf, options.confidence)
            if options.distance == "l1":
                residual = torch.linalg.vector_norm(depth[..., None] * ray - local, dim=-1)
                weight = weight / torch.maximum(residual, NEAR_ZERO * depth.abs() + 1e-12)
            along[image] += weight * (ray * local).sum(dim=-1)
            square[image] += weight * ray.square().sum(dim=-1)
    if seen != len(expected):
        raise InputError(f"{seen} predictions for {len(expected)} edges")
    return tuple(
        torch.where((top > 0) & (bottom > 0), top / bottom, before)
        for top, bottom, before in zip(along, square, depths, strict=True)
    )
