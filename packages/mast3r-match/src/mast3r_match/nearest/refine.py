"""From the block that holds a query's best match to the match itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .blocks import run_tasks, shared_output

GATHER_ELEMENTS = 2**20
"""Descriptor values gathered at a time: 4 MiB, small beside the tables."""


@dataclass(frozen=True)
class BestRows:
    """Best database row of every query, and its score; -1 and -inf where there is none."""

    index: Int[Tensor, " queries"]
    score: Float[Tensor, " queries"]


def repeat_last_row(rows: Tensor, multiple: int) -> Tensor:
    """Lengthen a matrix to a multiple by repeating its last row, which changes no maximum."""
    missing = -len(rows) % multiple
    return torch.cat([rows, rows[-1:].expand(missing, -1)]) if missing else rows.contiguous()


def best_rows(
    queries: Float[Tensor, "queries dim"],
    database: Float[Tensor, "database dim"],
    block: Int[Tensor, " queries"],
    block_rows: int,
    *,
    threads: int,
) -> BestRows:
    """Search every query's own block of the database; the lowest index wins ties.

    Args:
        queries: (queries, dim).
        database: (database, dim), without padding.
        block: index of the block of `block_rows` rows to search, for every query.
        block_rows: rows in a block; the last block may be shorter.
        threads: CPU threads.
    """
    step = max(1, GATHER_ELEMENTS // (block_rows * queries.shape[1]))
    if queries.device.type != "cpu":
        step *= 64  # an accelerator wants fewer, larger gathers
    offsets = torch.arange(block_rows, device=queries.device)

    index = shared_output(queries, len(queries), dtype=torch.int64)
    score = shared_output(queries, len(queries))

    def search(start: int) -> None:
        part = slice(start, start + step)
        rows = (block[part, None] * block_rows + offsets).clamp_(max=len(database) - 1)
        scores = torch.bmm(database[rows], queries[part, :, None])[..., 0]
        best = scores.max(1)
        index[part] = rows.gather(1, best.indices[:, None])[:, 0]
        score[part] = best.values

    run_tasks(search, range(0, len(queries), step), threads=threads, device=queries.device)
    return BestRows(index, score)
