"""Files that say which map images to try for each query (spec 50 A3.1, C1)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mast3r_model import InputError, atomic_write
from mast3r_visloc.formats.lines import Line, comma_fields, content_lines, finite_numbers

PairsForm = Literal["kapture", "hloc"]


@dataclass(frozen=True)
class Pair:
    """A map image to try for a query.

    Attributes:
        query: name of the query.
        map_image: name of the map image.
        score: how alike they are, larger is more alike.
    """

    query: str
    map_image: str
    score: float = 1.0


def read_pairs(
    path: str | os.PathLike[str], *, hloc_prefixes: tuple[str, str] = ("", "")
) -> dict[str, tuple[Pair, ...]]:
    """Read ``query, map image, score`` a line (kapture) or ``query map_image`` a line (hloc, score 1).

    The first line tells which form it is. Pairs that are listed twice are kept.

    Args:
        path: the file; lines that begin with ``#`` are comments.
        hloc_prefixes: what is removed from the queries' and the map images' names in hloc's form.

    Returns:
        The pairs of every query, best first; equal scores keep the file's order.

    Raises:
        InputError: a line in neither form (named), or no pair at all.
    """
    found: dict[str, list[Pair]] = {}
    read = None
    for line in content_lines(Path(path)):
        if read is None:
            read = _kapture_pair if "," in line.text else _hloc_pair
        pair = read(line, hloc_prefixes)
        found.setdefault(pair.query, []).append(pair)
    if not found:
        raise InputError(f"{path} lists no pairs", "expected lines of 'query, map image, score'")
    return {query: tuple(sorted(pairs, key=lambda pair: -pair.score)) for query, pairs in found.items()}


def write_pairs(path: str | os.PathLike[str], pairs: Iterable[Pair], form: PairsForm = "kapture") -> None:
    """Write pairs, in the order given; hloc's form holds no scores.

    Raises:
        InputError: a name that the form cannot hold: a comma, or a blank in hloc's form.
        OutputError: the file cannot be written.
    """
    lines = ["# kapture format: 1.1", "# query_image, map_image, score"] if form == "kapture" else []
    for pair in pairs:
        fields = (pair.query, pair.map_image)
        if any(not _holds(name, form) for name in fields):
            raise InputError(f"the {form} form of a pairs file cannot hold the names {fields}")
        lines.append(", ".join([*fields, repr(float(pair.score))]) if form == "kapture" else " ".join(fields))
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _kapture_pair(line: Line, _: tuple[str, str]) -> Pair:
    query, map_image, score = comma_fields(line, "query", "map image", "score")
    if not query or not map_image:
        raise InputError(f"{line.place}: a name is empty")
    return Pair(query, map_image, finite_numbers([score], line.place)[0])


def _hloc_pair(line: Line, prefixes: tuple[str, str]) -> Pair:
    names = line.text.split()
    if len(names) != 2:
        raise InputError(
            f"{line.place}: expected 'query, map image, score' or 'query map_image', got {line.text!r}"
        )
    query, map_image = (name.replace(prefix, "") for name, prefix in zip(names, prefixes, strict=True))
    return Pair(query, map_image)


def _holds(name: str, form: PairsForm) -> bool:
    """Whether reading gives the name back."""
    if not name or name != name.strip() or name.startswith("#") or len(name.splitlines()) != 1:
        return False
    return "," not in name and (form == "kapture" or len(name.split()) == 1)
