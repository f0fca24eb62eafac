"""Batches that adapt to the memory there is."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from mast3r_model import DeviceError

LOGGER = logging.getLogger("mast3r.sfm.memory")

Item = TypeVar("Item")
Result = TypeVar("Result")

_CPU_MESSAGES = ("can't allocate memory", "not enough memory", "MPS backend out of memory")


class FittingBatches:
    """Runs work in batches, halving them where memory runs out.

    Args:
        size: the largest batch.
        free: gives back what can be spared before the next try.
    """

    def __init__(self, size: int, free: Callable[[], None] | None = None) -> None:
        self.size = size
        self._free = free

    def run(
        self, items: Sequence[Item], compute: Callable[[Sequence[Item]], list[Result]], what: str
    ) -> list[Result]:
        """Results of all items, in order.

        Args:
            items: the work.
            compute: results of a batch; called again with fewer items where it ran out of memory.
            what: the items in words, for the log.

        Raises:
            DeviceError: a single item does not fit.
        """
        results: list[Result] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self.size]
            try:
                results += compute(batch)
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0] if str(error) else "out of memory"
            # Outside of the handler: the error's traceback holds the tensors that are to be given back.
            if len(batch) == 1:
                raise DeviceError(
                    f"one of the {what} alone does not fit into memory ({reason})",
                    "use a smaller --size, or a device with more memory",
                )
            self.size = len(batch) // 2
            LOGGER.warning(
                "out of memory with %d %s at a time: going on with %d", len(batch), what, self.size
            )
            self._give_back()
        return results

    def _give_back(self) -> None:
        if self._free is not None:
            self._free()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_MESSAGES)


def peak_bytes(device: torch.device) -> int:
    """Most memory in use so far: of a GPU by this process, else the process's own."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0  # unknown: the standard library has no figure there
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
