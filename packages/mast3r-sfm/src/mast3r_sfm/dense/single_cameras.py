"""Focals and poses of single images, from one pointmap or by PnP."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_sfm.canonical import FocalMode, estimate_focal

from .options import KnownCameras
from .problem import DenseProblem
from .registration import solve_pnp

Focals = tuple[float, float]


def known_focal(known: KnownCameras, image: int) -> Focals | None:
    """(fx, fy) if it is known."""
    if not known.has_focal[image]:
        return None
    fx, fy = known.focals[image].tolist()
    return fx, fy


def default_focal(problem: DenseProblem, image: int) -> Focals:
    """The longer side of the image: some 53 degrees of view."""
    size = float(max(problem.image_shapes[image]))
    return size, size


def reference_focal(problem: DenseProblem, edge: int, mode: FocalMode) -> Focals:
    """Focal of an edge's reference image from its own pointmap (spec 30 section 4.2), network pixels."""
    image = int(problem.edges[edge, 0])
    rows, columns = problem.grid_shapes[image]
    samples = rows * columns
    grid = problem.pts3d[edge, 0, :, :samples].T.reshape(rows, columns, 3)
    conf = problem.confidence[edge, 0, :samples].reshape(rows, columns)
    # The samples are the pixels of an image whose coordinates start at the first one and step by the stride.
    center = (problem.centers[image] - problem.stride // 2) / problem.stride
    focal = problem.stride * estimate_focal(grid, center, mode=mode, conf=conf)
    if focal <= 0:  # points behind the camera
        return default_focal(problem, image)
    return focal, focal


def pose_by_pnp(
    problem: DenseProblem,
    image: int,
    pts3d: Float[Tensor, "3 samples"],
    mask: Bool[Tensor, " samples"],
    focals: Focals | None,
    known: KnownCameras,
    *,
    iterations: int,
) -> tuple[Focals, Float[Tensor, "4 4"]] | None:
    """The image's cam2world in the frame of its points; None where PnP finds nothing.

    Args:
        problem: knows the samples' pixels.
        image: its number.
        pts3d: of its samples.
        mask: which of them to use.
        focals: None tries a range.
        known: the image's principal point is taken from here if it is known.
        iterations: of RANSAC.
    """
    has_center = bool(known.has_principal_point[image])
    center = known.principal_points[image] if has_center else problem.centers[image]
    x, y = center.tolist()
    found = solve_pnp(
        pts3d[:, mask].T.cpu().numpy(),
        problem.pixels[image][:, mask].T.cpu().numpy(),
        (x, y),
        focals=focals,
        image_size=max(problem.image_shapes[image]),
        iterations=iterations,
    )
    return None if found is None else (found[0], torch.from_numpy(found[1]))
