"""In which order pairs are decoded, so that few images' features are needed at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

Key = TypeVar("Key", bound=Hashable)


def ordered_pairs(pairs: Sequence[tuple[int, int]], count: int, *, window: int) -> list[int]:
    """Positions of the pairs in the order to decode them in.

    Images that meet are brought close together (reverse Cuthill-McKee), then the matrix of pairs is walked in
    square tiles whose images can all be held. A complete graph of N images so needs about 1.5 N^2 / window
    loads instead of N^2.

    Args:
        pairs: two image numbers each.
        count: of images.
        window: images whose features can be held.
    """
    if not pairs:
        return []
    ends = np.asarray(pairs, dtype=np.int64)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count)).tocsr()
    rank = np.empty(count, dtype=np.int64)
    rank[reverse_cuthill_mckee(graph + graph.T, symmetric_mode=True)] = np.arange(count)
    low, high = np.sort(rank[ends], axis=1).T
    tile = max(1, window // 3)  # the tile's two sides, and the side of the one before
    return np.lexsort((high, low, high // tile, low // tile)).tolist()


def batches(items: Iterable[int], keys: Sequence[Key], *, size: int) -> Iterator[list[int]]:
    """Group items of equal keys into batches, each given as soon as it is full, incomplete ones at the end.

    Args:
        items: indices into `keys`.
        keys: what must be equal within a batch.
        size: of a full batch.
    """
    filling: dict[Key, list[int]] = {}
    for item in items:
        batch = filling.setdefault(keys[item], [])
        batch.append(item)
        if len(batch) == size:
            yield filling.pop(keys[item])
    yield from filling.values()
