"""Depth as a combination of the smoothest functions over an image's anchors (spec 30 section 6.7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_sfm.canonical import anchor_grid_shape, pixel_grid


@dataclass(frozen=True)
class LowRankDepth:
    """How the basis is made.

    Attributes:
        k: number of functions.
        gamma: how quickly affinity falls with relative distance.
        min_norm: least scale of a function, so that small coefficients move too.
    """

    k: int = 64
    gamma: float = 7.0
    min_norm: float = 5.0


def low_rank_basis(
    core: Float[Tensor, " A"],
    depth: Float[Tensor, " A"],
    *,
    shape: tuple[int, int],
    subsample: int,
    focal: float,
    principal_point: Float[Tensor, " 2"],
    options: LowRankDepth,
) -> tuple[Float[Tensor, "A k"], Float[Tensor, " k"]]:
    """Basis of one image, and the coefficients that come closest to its core depths.

    Memory grows with the square and time with the cube of the number of anchors.

    Args:
        core: values to be represented.
        depth: canonical depth of the anchors.
        shape: (height, width) in pixels.
        subsample: side of a block in pixels.
        focal: pixels.
        principal_point: (x, y) in pixels.
        options: size and shape of the basis.
    """
    centers = pixel_grid(anchor_grid_shape(shape, subsample), depth.device) * subsample + subsample // 2
    z = depth.double()
    rays = (centers - principal_point.to(depth.device)) / focal
    points = torch.cat((rays * z[:, None], z[:, None]), -1)
    distance = torch.cdist(points, points) / (z[:, None] + z)
    affinity = torch.exp(-options.gamma * distance.square())
    affinity.fill_diagonal_(0)
    inverse_root = affinity.sum(-1).clamp_min(1e-12).rsqrt()
    normalized = inverse_root[:, None] * affinity * inverse_root
    laplacian = torch.eye(len(z), dtype=torch.float64, device=z.device) - normalized
    basis = torch.linalg.eigh(laplacian).eigenvectors[:, : min(options.k, len(z))]
    basis = basis * (basis.T @ core.double()).abs().clamp_min(options.min_norm)
    coefficients = torch.linalg.lstsq(basis, core.double()[:, None]).solution[:, 0]
    return basis.to(core), coefficients.to(core)
