"""Sizes of the blocks that a search works on, and the threads that share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

SUB_BLOCK = 64
"""Rows whose best score is kept together; the winner inside is found again afterwards (`refine`)."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class BlockSizes:
    """One score tile is `database x queries`; both are multiples of `SUB_BLOCK`."""

    queries: int
    tile_elements: int

    def database(self, queries: int) -> int:
        """Database rows in one tile beside this many queries."""
        rows = min(self.tile_elements // max(queries, 1), 64 * self.queries)
        return max(SUB_BLOCK, rows // SUB_BLOCK * SUB_BLOCK)


BLOCK_SIZES = {
    "cpu": BlockSizes(256, 256 * 1024),  # 1 MiB of scores: they stay in a core's second-level cache
    "cuda": BlockSizes(8192, 8192 * 8192),  # the twin of the fused kernel: few launches, 256 MiB
    "mps": BlockSizes(4096, 4096 * 4096),
}


def block_sizes(device: torch.device) -> BlockSizes:
    """Block sizes for a device; unknown devices work like CUDA ones."""
    return BLOCK_SIZES.get(device.type, BLOCK_SIZES["cuda"])


def run_tasks(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, threads: int, device: torch.device
) -> list[Result]:
    """Run a function over tasks and return the results in the tasks' order.

    On the CPU the tasks are spread over threads, each of which runs torch's operators on itself alone:
    tiles are far too small for torch's own threads to share one.
    """
    work = list(tasks)
    if device.type != "cpu" or torch.get_num_threads() == 1 == min(threads, len(work)):
        return [function(task) for task in work]
    try:
        with ThreadPoolExecutor(min(threads, len(work)), "nearest", _use_one_torch_thread) as pool:
            return list(pool.map(function, work))
    finally:
        # A worker's setting is its own, except for the number that threads yet to be born start with.
        torch.set_num_threads(torch.get_num_threads())


def shared_output(like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """Memory on `like`'s device that tasks of `run_tasks` write their results into.

    Results returned task by task would lie between the tasks' large temporary tensors and keep the allocator
    from using that memory again: the process would grow with queries x database.
    """
    # Threads do not inherit inference mode, and outside it a tensor made in it cannot be written.
    with torch.inference_mode(False):
        return like.new_empty(shape, dtype=dtype)


def _use_one_torch_thread() -> None:
    torch.set_num_threads(1)
