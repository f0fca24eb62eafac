"""Nearest neighbours by whole matrix products, as upstream computes them (spec 50 A5).

`mast3r_match.nearest_neighbors` finds the same but for near-ties: descriptors whose products differ in the
last digit of float32. Which one wins depends on the routine that adds up, so parity needs upstream's.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

DATABASE_BLOCK = 8192
"""Upstream's; of equal products the earlier block wins, and the first one within a block."""
QUERY_BLOCK = 2048
"""Changes nothing but the memory: 64 MiB of products at a time."""


@torch.no_grad()
def largest_products(queries: Float[Tensor, "n d"], database: Float[Tensor, "m d"]) -> Int[Tensor, " n"]:
    """For each query the row of the database, of at least one, whose dot product with it is largest."""
    return torch.cat([_best_rows(part, database) for part in torch.split(queries, QUERY_BLOCK)])


def _best_rows(queries: Float[Tensor, "n d"], database: Float[Tensor, "m d"]) -> Int[Tensor, " n"]:
    score = queries.new_full((len(queries),), -torch.inf)
    row = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    for number, block in enumerate(torch.split(database, DATABASE_BLOCK)):
        found = (queries @ block.T).max(dim=1)
        better = found.values > score
        score = torch.where(better, found.values, score)
        row = torch.where(better, found.indices + number * DATABASE_BLOCK, row)
    return row


@torch.no_grad()
def round_trips(
    descriptors: Float[Tensor, "h w d"],
    other_descriptors: Float[Tensor, "h2 w2 d"],
    valid: Bool[Tensor, "h w"],
    pixel_tol: float,
) -> tuple[Int[Tensor, "n 2"], Int[Tensor, "n 2"]]:
    """From valid pixels to the nearest pixel of the other image and back, once.

    Args:
        descriptors: of the image where the trips start.
        other_descriptors: of the other one, same device.
        valid: where the trips start.
        pixel_tol: a trip must end strictly closer than this to its start, in pixels.

    Returns:
        (row, column) of the start, row by row, and of the pixel in the other image; int64, on the CPU.
    """
    width, other_width = descriptors.shape[1], other_descriptors.shape[1]
    flat, other_flat = descriptors.flatten(0, 1), other_descriptors.flatten(0, 1)
    starts = valid.flatten().nonzero()[:, 0].to(flat.device)
    others = largest_products(flat[starts], other_flat)
    reached, trip_of = torch.unique(others, return_inverse=True)
    ends = largest_products(other_flat[reached], flat)[trip_of]
    rows, columns = ends // width - starts // width, ends % width - starts % width
    kept = torch.hypot(rows.double(), columns.double()) < pixel_tol
    starts, others = starts[kept].cpu(), others[kept].cpu()
    return (
        torch.stack([starts // width, starts % width], dim=1),
        torch.stack([others // other_width, others % other_width], dim=1),
    )
