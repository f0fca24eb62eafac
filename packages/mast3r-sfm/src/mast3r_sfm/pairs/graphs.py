"""The scene graphs of this package, as the registry holds them (spec 30 sections 2.1, 10.4).

Each takes a `GraphRequest` and returns index pairs without self pairs and without one pair twice, whichever
way round. Pairs are (smaller, larger) except where upstream's tables say otherwise: (larger, smaller) in
``complete``, (reference, other) in ``oneref``.
"""

from __future__ import annotations

from collections.abc import Iterable

from .farthest import retrieval_pairs
from .request import GraphRequest, Pair

DEFAULT_WINDOW = 3
COMPLETE_UP_TO = 20
"""``auto`` pairs all of so many images, as ``retrieval`` does its key images; of more, the similar ones."""
AUTO_KEY_IMAGES = 20
AUTO_NEIGHBORS = 10


def complete(request: GraphRequest) -> list[Pair]:
    """``complete``: every image with every earlier one."""
    request.require_arguments(0)
    return [(i, j) for i in range(request.count) for j in range(i)]


def sliding_window(request: GraphRequest) -> list[Pair]:
    """``swin-W[-noncyclic]``: every image with the W after it; cyclic: after the last comes the first."""
    window, cyclic = _window(request)
    return _at_offsets(request.count, range(1, min(window, request.count) + 1), cyclic=cyclic)


def logarithmic_window(request: GraphRequest) -> list[Pair]:
    """``logwin-W[-noncyclic]``: every image with those 1, 2, 4, ... 2^(W-1) away."""
    window, cyclic = _window(request)
    return _at_offsets(request.count, [2**power for power in range(window)], cyclic=cyclic)


def one_reference(request: GraphRequest) -> list[Pair]:
    """``oneref-R``: image R (the first) with every other."""
    request.require_arguments(1)
    reference = request.integer(0, default=0)
    if reference >= request.count:
        raise request.refused(f"there is no image {reference} among {request.count} (they count from 0)")
    return [(reference, other) for other in range(request.count) if other != reference]


def retrieval(request: GraphRequest) -> list[Pair]:
    """``retrieval-A-K``: A key images far from each other, all paired; the rest with the nearest of them; and
    every image with the K most similar to it."""
    request.require_arguments(2)
    key_images, neighbors = request.integer(0), request.integer(1)
    return retrieval_pairs(
        request.similarity(), min(key_images, request.count), min(neighbors, max(request.count - 1, 0))
    )


def automatic(request: GraphRequest) -> list[Pair]:
    """``auto``: ``complete`` up to 20 images, ``retrieval-20-10`` for more."""
    request.require_arguments(0)
    if request.count <= COMPLETE_UP_TO:
        return complete(request)
    return retrieval_pairs(request.similarity(), AUTO_KEY_IMAGES, AUTO_NEIGHBORS)


def _window(request: GraphRequest) -> tuple[int, bool]:
    """Width of the window, and whether the sequence is closed."""
    cyclic = request.arguments[-1:] != ("noncyclic",)
    numbers = request.arguments if cyclic else request.arguments[:-1]
    bare = GraphRequest(request.text, request.count, numbers)
    bare.require_arguments(1)
    return bare.integer(0, default=DEFAULT_WINDOW), cyclic


def _at_offsets(count: int, offsets: Iterable[int], *, cyclic: bool) -> list[Pair]:
    pairs: set[Pair] = set()
    for offset in offsets:
        if not cyclic and offset >= count:
            break
        for first in range(count if cyclic else count - offset):
            second = (first + offset) % count if cyclic else first + offset
            if first != second:
                pairs.add((min(first, second), max(first, second)))
    return sorted(pairs)
