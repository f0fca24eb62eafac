"""In which batches pairs are decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


def in_order(
    keys: Sequence[Key], compute: Callable[[list[int]], Sequence[Result]], *, batch_size: int
) -> Iterator[Result]:
    """Compute items in batches of equal keys, but give the results in the items' own order.

    Fewer than `batch_size` results per distinct key wait at any time.

    Args:
        keys: what must be equal within a batch, for each item.
        compute: from the indices of a batch to their results.
        batch_size: the largest batch.
    """
    waiting: dict[Key, deque[int]] = {}
    for index, key in enumerate(keys):
        waiting.setdefault(key, deque()).append(index)
    ready: dict[int, Result] = {}
    for index, key in enumerate(keys):
        if index not in ready:
            queue = waiting[key]
            batch = [queue.popleft() for _ in range(min(batch_size, len(queue)))]
            ready.update(zip(batch, compute(batch), strict=True))
        yield ready.pop(index)
