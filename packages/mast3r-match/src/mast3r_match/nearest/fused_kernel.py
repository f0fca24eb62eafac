"""The Triton kernel of the fused search; imported only where it runs."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _pack(score, block):  # type: ignore[no-untyped-def]
    """Score and block in 64 bits whose integer order is: higher score first, then lower block."""
    score = tl.where(score == 0.0, 0.0, score)  # the two zeros are one score
    bits = score.to(tl.int32, bitcast=True)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(tl.int64) << 32) | (0x7FFFFFFF - block).to(tl.int64)


@triton.jit  # type: ignore[untyped-decorator]
def best_blocks_kernel(  # type: ignore[no-untyped-def]
    queries_ptr,  # (queries, DIM), contiguous
    database_ptr,  # (database, DIM), contiguous
    rows_ptr,  # (queries,) int64, packed (score, block of the database)
    columns_ptr,  # (database,) int64, packed (score, block of the queries); unused without BOTH
    queries,
    database,
    tiles_per_program,
    DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    BLOCK: tl.constexpr,
    BOTH: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
):
    """One block of queries against a run of database blocks.

    The epilogue bounds this kernel, so a tile is reduced by plain maxima: which block won is kept, which row
    inside won is found afterwards (`best_rows`).
    """
    query_block = tl.program_id(0)
    first_tile = tl.program_id(1) * tiles_per_program
    rows = query_block * BLOCK + tl.arange(0, BLOCK)
    dims = tl.arange(0, PADDED_DIM)
    row_inside = rows < queries
    tile_queries = tl.load(
        queries_ptr + rows[:, None].to(tl.int64) * DIM + dims[None, :],
        mask=row_inside[:, None] & (dims[None, :] < DIM),
        other=0.0,
    )
    best = tl.full([BLOCK], float("-inf"), tl.float32)
    best_block = tl.zeros([BLOCK], tl.int32)
    last_tile = tl.minimum(first_tile + tiles_per_program, tl.cdiv(database, BLOCK))
    for tile in range(first_tile, last_tile):
        columns = tile * BLOCK + tl.arange(0, BLOCK)
        column_inside = columns < database
        tile_database = tl.load(
            database_ptr + columns[:, None].to(tl.int64) * DIM + dims[None, :],
            mask=column_inside[:, None] & (dims[None, :] < DIM),
            other=0.0,
        )
        scores = tl.dot(tile_queries, tl.trans(tile_database), input_precision=INPUT_PRECISION)
        scores = tl.where(row_inside[:, None] & column_inside[None, :], scores, float("-inf"))
        row_score = tl.max(scores, axis=1)
        best_block = tl.where(row_score > best, tile, best_block)
        best = tl.maximum(best, row_score)
        if BOTH:
            column_score = tl.max(scores, axis=0)
            tl.atomic_max(
                columns_ptr + columns,
                _pack(column_score, tl.zeros([BLOCK], tl.int32) + query_block),
                mask=column_inside,
            )
    tl.atomic_max(rows_ptr + rows, _pack(best, best_block), mask=row_inside)
