"""Reciprocal matches by walking between two images along nearest neighbours (spec 20 section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mast3r_model import InputError

from .merge import flat_to_xy, unique_pairs
from .nearest import BackendName, Metric, NeighborTables, Precision, neighbor_tables

GRID_ROUND_TRIPS = 10


@dataclass(frozen=True)
class Walk:
    """Where walks from image 1 ended, before pairs found twice are merged.

    Attributes:
        pixels1: (n,) int64 flat indices in image 1.
        pixels2: (n,) int64 flat indices in image 2.
        basin: (h1 * w1 + 1,) int32, the pixel reached from a pixel after one round trip, -1 where no walk
            came by; None unless asked for.
    """

    pixels1: Int[Tensor, " n"]
    pixels2: Int[Tensor, " n"]
    basin: Int[Tensor, " pixels"] | None = None


def grid_seeds(
    shape: tuple[int, int], subsample: int, device: torch.device | str = "cpu"
) -> Int[Tensor, " n"]:
    """Flat indices of every `subsample`-th pixel, from `subsample // 2`, row by row.

    Raises:
        InputError: a step below one.
    """
    if subsample < 1:
        raise InputError(f"subsample must be at least 1, got {subsample}")
    height, width = shape
    start = subsample // 2
    rows = torch.arange(min(start, height), height, subsample, device=device)
    columns = torch.arange(min(start, width), width, subsample, device=device)
    return (rows[:, None] * width + columns).flatten()


def point_seeds(
    x: Tensor | np.ndarray, y: Tensor | np.ndarray, shape: tuple[int, int], device: torch.device | str = "cpu"
) -> Int[Tensor, " n"]:
    """Flat indices of given pixels, each once, ascending.

    Raises:
        InputError: coordinates outside the image.
    """
    columns, rows = (
        torch.as_tensor(np.ascontiguousarray(values) if isinstance(values, np.ndarray) else values)
        .to(device, torch.int64)
        .flatten()
        for values in (x, y)
    )
    height, width = shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    if columns.shape != rows.shape or not inside.all():
        raise InputError(f"seeds must be x and y of one length inside the {width}x{height} image")
    return torch.unique(rows * width + columns)


@torch.no_grad()
def reciprocal_walk(
    tables: NeighborTables,
    seeds: Int[Tensor, " n"],
    *,
    max_round_trips: int = GRID_ROUND_TRIPS,
    pixel_tol: float = 0.0,
    with_basin: bool = False,
) -> Walk:
    """Walk from seeds in image 1 to their nearest neighbours and back until the walk stands still.

    Args:
        tables: nearest neighbours between the two images.
        seeds: flat indices in image 1.
        max_round_trips: walks that still move after that many are dropped.
        pixel_tol: 0 keeps walks that came to stand (exact mutual nearest neighbours); above 0, walks that
            ended strictly less than this many pixels from their seed, reported at their seed.
        with_basin: record where each visited pixel led.
    """
    u, v = seeds.clone(), torch.full_like(seeds, -1)
    u_before, v_before = seeds.clone(), v.clone()
    active = torch.ones_like(seeds, dtype=torch.bool)
    lost = torch.zeros_like(active)
    basin = None
    if with_basin:
        pixels1 = tables.shape1[0] * tables.shape1[1]
        basin = torch.full((pixels1 + 1,), -1, dtype=torch.int32, device=seeds.device)
    for _ in range(max_round_trips):
        v[active] = tables.forward(u[active])
        lost |= v < 0
        active &= ~lost
        if basin is None:
            active &= v != v_before
        u[active] = tables.backward(v[active])
        lost |= u < 0
        active &= ~lost
        if basin is not None:
            basin[u_before[active]] = u[active].to(torch.int32)
        active &= u != u_before
        if not active.any():
            break
        u_before, v_before = u.clone(), v.clone()
    if pixel_tol > 0:
        kept = ~lost & (_pixel_distance(seeds, u, tables.shape1[1]) < pixel_tol)
        return Walk(seeds[kept], v[kept], basin)
    kept = ~lost & ~active
    return Walk(u[kept], v[kept], basin)


def _pixel_distance(flat_a: Tensor, flat_b: Tensor, width: int) -> Float[Tensor, " n"]:
    rows = (flat_a // width - flat_b // width).double()
    columns = (flat_a % width - flat_b % width).double()
    return torch.hypot(columns, rows)


@dataclass(frozen=True)
class ReciprocalMatches:
    """Mutual nearest neighbours between two images.

    Attributes:
        xy0: (n, 2) int64 pixels (x, y) of the first map, sorted row by row.
        xy1: (n, 2) int64 pixels of the second map.
    """

    xy0: Int[np.ndarray, "n 2"]
    xy1: Int[np.ndarray, "n 2"]


def reciprocal_nearest_neighbors(
    descriptors0: Float[Tensor, "h0 w0 dim"],
    descriptors1: Float[Tensor, "h1 w1 dim"],
    *,
    subsample: int = 8,
    seeds: Int[Tensor, "n 2"] | None = None,
    pixel_tol: float = 0.0,
    metric: Metric = "dot",
    allowed0: Bool[Tensor, "h0 w0"] | None = None,
    allowed1: Bool[Tensor, "h1 w1"] | None = None,
    precision: Precision = "fp32",
    backend: BackendName = "auto",
    threads: int | None = None,
) -> ReciprocalMatches:
    """Pairs of pixels that are each other's nearest neighbour, found from a grid of seeds in image 0.

    Args:
        descriptors0: (h0, w0, dim) descriptor map of image 0.
        descriptors1: (h1, w1, dim) of image 1, same device.
        subsample: step of the grid of seeds; 1 gives every mutual pair.
        seeds: (n, 2) pixels (x, y) to start from instead of the grid; they make one round trip.
        pixel_tol: above 0, keep a seed if its round trip ends strictly closer than this many pixels.
        metric: ``dot`` or ``l2``.
        allowed0: False where a pixel of image 0 may not match.
        allowed1: the same for image 1.
        precision: ``bf16`` rounds the descriptors.
        backend: who computes; see `nearest_neighbors`.
        threads: CPU threads.

    Raises:
        InputError: maps, masks or seeds that do not fit.
    """
    shape0, device = (descriptors0.shape[0], descriptors0.shape[1]), descriptors0.device
    if seeds is None:
        start = grid_seeds(shape0, subsample, device)
    else:
        start = point_seeds(seeds[:, 0], seeds[:, 1], shape0, device)
    tables = neighbor_tables(
        descriptors0,
        descriptors1,
        seeds=len(start),
        metric=metric,
        allowed1=allowed0,
        allowed2=allowed1,
        precision=precision,
        backend=backend,
        threads=threads,
    )
    one_trip = seeds is not None or pixel_tol > 0
    trips = 1 if one_trip else GRID_ROUND_TRIPS
    walk = reciprocal_walk(tables, start, max_round_trips=trips, pixel_tol=pixel_tol)
    flat0, flat1, _ = unique_pairs(walk.pixels1.cpu().numpy(), walk.pixels2.cpu().numpy())
    xy0, xy1 = flat_to_xy(flat0, tables.shape1), flat_to_xy(flat1, tables.shape2)
    assert isinstance(xy0, np.ndarray)
    assert isinstance(xy1, np.ndarray)
    return ReciprocalMatches(xy0, xy1)
