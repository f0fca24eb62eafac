"""Exact search in one fused kernel: tile product, row and column maxima, nothing of the matrix in memory."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .dense import DenseTables
from .refine import best_rows

log = logging.getLogger("mast3r.match")

BLOCK = 128
PROGRAMS = 4096
"""Programs wanted in the grid: enough to fill every multiprocessor several times over."""


def why_not_fused(device: torch.device) -> str | None:
    """What keeps the kernel from running there; None if nothing does.

    It runs on CUDA devices, and in Triton's interpreter (for tests).
    """
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return None
    return _failure(device) if device.type == "cuda" else f"it runs on CUDA devices, not on {device}"


@cache
def _failure(device: torch.device) -> str | None:
    """Run the kernel once: Triton compiles at first use, and may miss a C compiler or not know the chip."""
    try:
        fused_search(torch.eye(2, 16, device=device), torch.eye(2, 16, device=device), both_directions=True)
    except Exception as error:  # whatever it is, the dense search works
        failure = f"its kernel failed on this machine ({type(error).__name__}: {error})".splitlines()[0]
        log.warning("matching goes on without the fused search: %s", failure)
        return failure
    return None


def fused_search(
    queries: Float[Tensor, "queries dim"],
    database: Float[Tensor, "database dim"],
    *,
    both_directions: bool,
    half: bool = False,
) -> DenseTables:
    """`dense_search` as one kernel.

    Args:
        queries: finite float32, at least one row.
        database: the same for the other side.
        both_directions: also fill the column table, in the same pass.
        half: the values are exact in bf16: multiply them as such, which is faster and loses nothing.
    """
    row_block, column_block = _best_blocks(queries, database, both_directions=both_directions, half=half)
    rows = best_rows(queries, database, row_block, BLOCK, threads=1)
    if not both_directions:
        return DenseTables(rows, None)
    return DenseTables(rows, best_rows(database, queries, column_block, BLOCK, threads=1))


def _best_blocks(
    queries: Tensor, database: Tensor, *, both_directions: bool, half: bool
) -> tuple[Int[Tensor, " queries"], Int[Tensor, " database"]]:
    """For every row and column, the block of the other side that holds its best match."""
    from .fused_kernel import best_blocks_kernel

    dtype = torch.bfloat16 if half else torch.float32
    queries, database = queries.to(dtype).contiguous(), database.to(dtype).contiguous()
    lowest = torch.iinfo(torch.int64).min
    rows = torch.full((len(queries),), lowest, dtype=torch.int64, device=queries.device)
    columns = torch.full(
        (len(database) if both_directions else 0,), lowest, dtype=torch.int64, device=queries.device
    )
    query_blocks, tiles = math.ceil(len(queries) / BLOCK), math.ceil(len(database) / BLOCK)
    runs = max(1, min(tiles, PROGRAMS // query_blocks))
    best_blocks_kernel[query_blocks, runs](
        queries,
        database,
        rows,
        columns,
        len(queries),
        len(database),
        math.ceil(tiles / runs),
        DIM=queries.shape[1],
        PADDED_DIM=max(16, 2 ** math.ceil(math.log2(queries.shape[1]))),
        BLOCK=BLOCK,
        BOTH=both_directions,
        INPUT_PRECISION="tf32x3" if queries.device.type == "cuda" else "ieee",
        num_warps=8,
    )
    return _unpack_block(rows), _unpack_block(columns)


def _unpack_block(packed: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    return 0x7FFFFFFF - (packed & 0xFFFFFFFF)
