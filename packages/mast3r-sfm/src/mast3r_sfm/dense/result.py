"""What the dense alignment finds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from .options import DenseOptions
from .parameters import DenseParameters, camera_matrices, intrinsic_matrices, pairwise_scales
from .problem import DenseProblem


@dataclass(frozen=True, eq=False)
class DenseAlignment:
    """Cameras and depths of all images in one world.

    Attributes:
        intrinsics: (images, 3, 3) network pixels.
        cam2world: (images, 4, 4).
        depths: per image (height, width), camera z, world units.
        confidences: per image (height, width), the largest raw confidence of any edge.
        pairwise_scales: (edges,) world units per unit of the network's prediction.
        losses: (iterations,) before every step.
        final_loss: after the last one; NaN if there was nothing to optimise.
        parameters: what the cameras and depths were computed from; None if nothing was optimised.
    """

    intrinsics: Float[Tensor, "images 3 3"]
    cam2world: Float[Tensor, "images 4 4"]
    depths: tuple[Float[Tensor, "h w"], ...]
    confidences: tuple[Float[Tensor, "h w"], ...]
    pairwise_scales: Float[Tensor, " edges"]
    losses: Float[Tensor, " iterations"]
    final_loss: float
    parameters: DenseParameters | None = None

    @property
    def metric_scale(self) -> float:
        """Factor from lengths in the world to the network's unit (metres, if it is metric)."""
        return float((-self.pairwise_scales.log().mean()).exp())

    def rescaled(self, factor: float) -> DenseAlignment:
        """The same scene with all lengths multiplied; the parameters, made for the old scale, are dropped."""
        cam2world = self.cam2world.clone()
        cam2world[:, :3, 3] *= factor
        return replace(
            self,
            cam2world=cam2world,
            depths=tuple(depth * factor for depth in self.depths),
            pairwise_scales=self.pairwise_scales * factor,
            parameters=None,
        )

    def pts3d(self) -> tuple[Float[Tensor, "h w 3"], ...]:
        """Every pixel's point in the world."""
        return tuple(map(lift_depth, self.depths, self.intrinsics, self.cam2world))


def lift_depth(
    depth: Float[Tensor, "h w"], intrinsics: Float[Tensor, "3 3"], cam2world: Float[Tensor, "4 4"]
) -> Float[Tensor, "h w 3"]:
    """Points in the world of a depthmap (camera z)."""
    rays = pixel_rays(depth.shape[0], depth.shape[1], intrinsics)
    return (rays * depth[..., None]) @ cam2world[:3, :3].T + cam2world[:3, 3]


def pixel_rays(height: int, width: int, intrinsics: Float[Tensor, "3 3"]) -> Float[Tensor, "h w 3"]:
    """Of every pixel's centre, the ray in its camera with z = 1."""
    y, x = torch.meshgrid(
        torch.arange(height, device=intrinsics.device, dtype=intrinsics.dtype),
        torch.arange(width, device=intrinsics.device, dtype=intrinsics.dtype),
        indexing="ij",
    )
    return torch.stack(
        [
            (x - intrinsics[0, 2]) / intrinsics[0, 0],
            (y - intrinsics[1, 2]) / intrinsics[1, 1],
            torch.ones_like(x),
        ],
        dim=-1,
    )


def result_of(
    parameters: DenseParameters,
    problem: DenseProblem,
    options: DenseOptions,
    *,
    losses: Float[Tensor, " iterations"],
    final_loss: float,
) -> DenseAlignment:
    """Cameras and depths of parameters; with a stride, depths between samples are interpolated."""
    return DenseAlignment(
        intrinsics=intrinsic_matrices(parameters, problem, options),
        cam2world=camera_matrices(parameters),
        depths=tuple(_full_depths(parameters.log_depths.exp(), problem)),
        confidences=problem.confidence_maps,
        pairwise_scales=pairwise_scales(parameters, options),
        losses=losses,
        final_loss=final_loss,
        parameters=parameters,
    )


def _full_depths(depths: Float[Tensor, "images samples"], problem: DenseProblem) -> list[Tensor]:
    full = []
    for samples, grid, shape in zip(depths, problem.grid_shapes, problem.image_shapes, strict=True):
        known = samples[: grid[0] * grid[1]].reshape(grid)
        full.append(known if problem.stride == 1 else _interpolate(known, shape, problem.stride))
    return full


def _interpolate(samples: Float[Tensor, "rows columns"], shape: tuple[int, int], stride: int) -> Tensor:
    """Bilinear between samples, constant beyond the outermost."""
    result = samples
    for axis, size in enumerate(shape):
        at = (torch.arange(size, device=samples.device) - stride // 2) / stride
        at = at.clamp(0, samples.shape[axis] - 1)
        low = at.floor().long()
        high = (low + 1).clamp(max=samples.shape[axis] - 1)
        part = (at - low).to(samples)[:, None] if axis == 0 else (at - low).to(samples)
        result = torch.lerp(result.index_select(axis, low), result.index_select(axis, high), part)
    return result
