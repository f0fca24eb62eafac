"""Exact search by blocked matrix products in plain PyTorch, the twin of the fused kernel.

Only the best score of each block of `SUB_BLOCK` rows is kept while the tiles go by, which is a vectorised
maximum without indices; the winner inside the winning block is found afterwards. So the scores of all pairs
never exist at once, and no argmax is ever taken over a whole tile (spec 20 section 8).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .blocks import SUB_BLOCK, block_sizes, run_tasks, shared_output
from .refine import BestRows, best_rows, repeat_last_row

TASKS_PER_THREAD = 4


@dataclass(frozen=True)
class DenseTables:
    """Best rows of the database for the queries, and the other way round where asked."""

    rows: BestRows
    columns: BestRows | None


def dense_search(
    queries: Float[Tensor, "queries dim"],
    database: Float[Tensor, "database dim"],
    *,
    both_directions: bool,
    threads: int,
) -> DenseTables:
    """Find the largest dot product of every query, and of every database entry where asked.

    Args:
        queries: finite float32, at least one row.
        database: the same for the other side.
        both_directions: also fill the column table, in the same pass.
        threads: CPU threads; other devices ignore it.
    """
    padded_queries, padded_database = (
        repeat_last_row(queries, SUB_BLOCK),
        repeat_last_row(database, SUB_BLOCK),
    )
    if both_directions:
        row_block, column_block = _both_tables(padded_queries, padded_database, threads)
    else:
        row_block, column_block = _row_table(padded_queries, padded_database, threads), None
    rows = best_rows(queries, database, row_block[: len(queries)], SUB_BLOCK, threads=threads)
    if column_block is None:
        return DenseTables(rows, None)
    columns = best_rows(database, queries, column_block[: len(database)], SUB_BLOCK, threads=threads)
    return DenseTables(rows, columns)


def _row_table(queries: Tensor, database: Tensor, threads: int) -> Int[Tensor, " queries"]:
    """For every query, the block of the database that holds its best match (the lowest one in a tie)."""
    query_slices = _slices(len(queries), block_sizes(queries.device).queries)
    # Few queries: the database is split as well, so that no thread is idle.
    splits = math.ceil(threads * TASKS_PER_THREAD / len(query_slices)) if queries.device.type == "cpu" else 1
    step = math.ceil(len(database) / splits / SUB_BLOCK) * SUB_BLOCK
    database_slices = _slices(len(database), step)

    score = shared_output(queries, len(database_slices), len(queries))
    block = shared_output(queries, len(database_slices), len(queries), dtype=torch.int64)

    def search(task: tuple[slice, tuple[int, slice]]) -> None:
        rows, (number, part) = task
        best = _block_maxima(queries[rows], database[part]).max(0)
        score[number, rows] = best.values
        block[number, rows] = best.indices + part.start // SUB_BLOCK

    run_tasks(
        search,
        itertools.product(query_slices, enumerate(database_slices)),
        threads=threads,
        device=queries.device,
    )
    # The earliest part wins ties.
    return block.gather(0, score.argmax(0, keepdim=True))[0]


def _block_maxima(queries: Tensor, database: Tensor) -> Float[Tensor, "blocks queries"]:
    """Best score of every query in every block of `SUB_BLOCK` database rows."""
    transposed = queries.T.contiguous()
    tile = block_sizes(queries.device).database(len(queries))
    scores = queries.new_empty(min(tile, len(database)), len(queries))
    maxima = queries.new_empty(len(database) // SUB_BLOCK, len(queries))
    for start in range(0, len(database), tile):
        part = database[start : start + tile]
        product = torch.mm(part, transposed, out=scores[: len(part)])
        blocks = maxima[start // SUB_BLOCK : (start + len(part)) // SUB_BLOCK]
        torch.amax(product.view(-1, SUB_BLOCK, len(queries)), 1, out=blocks)
    return maxima


class _ColumnTable:
    """Running best score of every column; a slot for each of the blocks that a tile is wide.

    Slots are compared only at the end, so that a tile updates the table with elementwise operations.
    """

    def __init__(self, columns: int, slots: int, like: Tensor) -> None:
        self.score = like.new_full((columns, slots), -math.inf)
        self.block = torch.zeros((columns, slots), dtype=torch.int32, device=like.device)

    def update(self, start: int, scores: Float[Tensor, "columns slots"], first_block: int) -> None:
        """Enter a tile's best scores; earlier tiles win ties."""
        columns, slots = scores.shape
        score = self.score[start : start + columns, :slots]
        block = self.block[start : start + columns, :slots]
        block.masked_fill_(scores > score, first_block)
        torch.maximum(score, scores, out=score)


def _both_tables(queries: Tensor, database: Tensor, threads: int) -> tuple[Tensor, Tensor]:
    """Row and column tables in one pass over the tiles."""
    device = queries.device
    query_slices = _slices(len(queries), block_sizes(device).queries)
    slots = (query_slices[0].stop - query_slices[0].start) // SUB_BLOCK
    workers = max(1, min(threads, len(query_slices))) if device.type == "cpu" else 1

    row_block = shared_output(queries, len(queries), dtype=torch.int64)

    def search(worker: int) -> _ColumnTable:
        table = _ColumnTable(len(database), slots, queries)
        for rows in query_slices[worker::workers]:
            maxima = _both_maxima(queries[rows], database, table, rows.start // SUB_BLOCK)
            row_block[rows] = maxima.max(0).indices
        return table

    tables = run_tasks(search, range(workers), threads=workers, device=device)
    return row_block, _lowest_best(tables)


def _both_maxima(queries: Tensor, database: Tensor, table: _ColumnTable, first_block: int) -> Tensor:
    """`_block_maxima` that also enters every tile's column maxima into the table."""
    transposed = queries.T.contiguous()
    tile = block_sizes(queries.device).database(len(queries))
    scores = queries.new_empty(min(tile, len(database)), len(queries))
    maxima = queries.new_empty(len(database) // SUB_BLOCK, len(queries))
    for start in range(0, len(database), tile):
        part = database[start : start + tile]
        product = torch.mm(part, transposed, out=scores[: len(part)])
        blocks = maxima[start // SUB_BLOCK : (start + len(part)) // SUB_BLOCK]
        torch.amax(product.view(-1, SUB_BLOCK, len(queries)), 1, out=blocks)
        table.update(start, product.view(len(part), -1, SUB_BLOCK).amax(2), first_block)
    return maxima


def _lowest_best(tables: list[_ColumnTable]) -> Int[Tensor, " columns"]:
    """Merge the workers' tables: the best score, and the lowest block among equal ones."""
    score = torch.cat([table.score for table in tables], 1)
    slots = torch.arange(tables[0].score.shape[1], device=score.device)
    block = torch.cat([table.block + slots for table in tables], 1)
    tied = score == score.amax(1, keepdim=True)
    return torch.where(tied, block, torch.iinfo(torch.int64).max).amin(1)


def _slices(count: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]
