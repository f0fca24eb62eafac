"""From the name of a graph to index pairs, and what is left of them (spec 30 section 2.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from mast3r_model import InputError, PluginError, registry

from .edges import kept_pairs
from .request import GraphRequest, Pair, Similarity

PairGraph = Callable[[GraphRequest], Iterable[Pair]]
"""What is registered under the name of a graph."""


def graph_pairs(
    graph: str,
    count: int,
    *,
    similarity: Similarity | Callable[[], Similarity] | None = None,
) -> list[Pair]:
    """Index pairs of a scene graph.

    Args:
        graph: a registered name and its arguments: ``complete``, ``swin-3``, ``swin-3-noncyclic``,
            ``logwin-4``, ``oneref-0``, ``retrieval-20-10``, ``auto``, or what plugins add.
        count: number of images.
        similarity: how alike the images are, for graphs that need it; or a function that computes it, which
            is called only by those.

    Returns:
        Every pair once, in whichever way round the graph gives it, without pairs of an image with itself.

    Raises:
        InputError: an unknown graph, arguments it does not understand, or no similarity where it needs one.
        PluginError: a plugin's graph gives something else than pairs of these images.
    """
    name, arguments = _split(graph)
    make = cast(PairGraph, registry("pair_graphs")[name])
    measure = similarity if similarity is None or callable(similarity) else lambda: similarity
    found = make(GraphRequest(graph, count, arguments, measure))
    return _checked(found, graph, count)


def check_graph(graph: str) -> None:
    """Refuse a graph that is none, before any work; its arguments are looked at with the images.

    Raises:
        InputError: it is unknown.
    """
    _split(graph)


def both_ways(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, then all of them turned round, each ordered pair once."""
    return list(dict.fromkeys([*pairs, *((second, first) for first, second in pairs)]))


def filter_pairs(pairs: Sequence[Pair], prefilter: str) -> list[Pair]:
    """Keep pairs of images that are close in the sequence.

    Args:
        pairs: numbers of images.
        prefilter: ``"seqD"``: at most D apart; ``"cycD"``: the same where the last is followed by the first
            (the last is the largest number among the pairs).

    Raises:
        InputError: another prefilter.
    """
    parsed = parse_prefilter(prefilter)
    if parsed is None:
        raise InputError(
            f"unknown prefilter {prefilter!r}", hint="write seq3 or cyc3: at most 3 images apart"
        )
    distance, cyclic = parsed
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    return [pairs[row] for row in kept_pairs(first, second, distance, cyclic=cyclic)]


def parse_prefilter(prefilter: str) -> tuple[int, bool] | None:
    """Largest distance and whether the sequence is closed, of ``"seqD"`` and ``"cycD"``; None for others."""
    matched = re.fullmatch(r"(seq|cyc)(\d+)", prefilter)
    return None if matched is None else (int(matched[2]), matched[1] == "cyc")


def _split(graph: str) -> tuple[str, tuple[str, ...]]:
    """The registered name that the text starts with (the longest, for names with hyphens), and the rest."""
    parts = graph.split("-")
    graphs = registry("pair_graphs")
    for length in range(len(parts), 0, -1):
        name = "-".join(parts[:length])
        if name in graphs:
            return name, tuple(parts[length:])
    known = ", ".join(graphs.names())
    raise InputError(
        f"unknown scene graph {graph!r}: it starts with none of {known}", hint=_nearest(parts[0])
    )


def _nearest(name: str) -> str | None:
    try:
        registry("pair_graphs")[name]
    except PluginError as error:
        return error.hint
    return None


def _checked(found: Iterable[Pair], graph: str, count: int) -> list[Pair]:
    unique: dict[frozenset[int], Pair] = {}
    for first, second in found:
        if not (0 <= first < count and 0 <= second < count):
            raise PluginError(
                f"the graph {graph!r} gave the pair {(first, second)}, but there are {count} images",
                hint="a graph returns pairs of indices from 0 to count - 1",
            )
        if first != second:
            unique.setdefault(frozenset((first, second)), (int(first), int(second)))
    return list(unique.values())
