"""Work in threads that can be given up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .progress import Advance

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int, advance: Advance
) -> list[Result]:
    """Results of all items, in order.

    Args:
        work: of one item.
        items: all.
        workers: threads.
        advance: called after every item; where it or the work raises, what has not begun is dropped.
    """
    with ThreadPoolExecutor(workers) as threads:
        futures = [threads.submit(work, item) for item in items]
        try:
            return list(_counted((future.result() for future in futures), advance))
        finally:
            for future in futures:
                future.cancel()


def _counted(results: Iterator[Result], advance: Advance) -> Iterator[Result]:
    for result in results:
        advance(1)
        yield result
