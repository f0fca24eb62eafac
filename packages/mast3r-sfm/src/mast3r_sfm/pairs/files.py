"""Lists of pairs in files: kapture's, hloc's and COLMAP's (spec 30 section 2.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mast3r_model import InputError, OutputError, atomic_write, nearest_names

from .request import Pair

PairFormat = Literal["kapture", "hloc", "colmap"]
"""``kapture``: ``name1, name2, score`` below two header lines; ``hloc`` and ``colmap``: ``name1 name2``."""

KAPTURE_HEADER = "# kapture format: 1.1\n# query_image, map_image, score\n"


@dataclass(frozen=True)
class PairList:
    """What a file of pairs says.

    Attributes:
        names: two names of images each, as they are written.
        scores: a number for each pair, larger is more alike; 1 where the file gives none.
    """

    names: tuple[tuple[str, str], ...]
    scores: tuple[float, ...]

    def indices(self, names: Sequence[str]) -> list[Pair]:
        """The pairs as indices into `names`; see `pair_indices`."""
        return pair_indices(self.names, names)


def write_pairs(
    path: str | Path,
    names: Sequence[str],
    pairs: Sequence[Pair],
    *,
    scores: Sequence[float] | None = None,
    format: PairFormat = "kapture",
) -> None:
    """Write a list of pairs, sorted by name, each once.

    Args:
        path: the file.
        names: of all images.
        pairs: indices into `names`.
        scores: one for each pair, for kapture; None: 1.
        format: whose list.

    Raises:
        OutputError: a name that the format cannot hold, or a file that cannot be written.
    """
    for name in {names[index] for pair in pairs for index in pair}:
        _check_name(name, format)
    values = [1.0] * len(pairs) if scores is None else scores
    if len(values) != len(pairs):
        raise InputError(f"{len(values)} scores for {len(pairs)} pairs: give one for each")
    scored = {(names[i], names[j]): float(score) for (i, j), score in zip(pairs, values, strict=True)}
    if format == "kapture":
        lines = [f"{first}, {second}, {score!r}\n" for (first, second), score in sorted(scored.items())]
    else:
        lines = [f"{first} {second}\n" for first, second in sorted(scored)]
    with atomic_write(path) as temporary:
        header = KAPTURE_HEADER if format == "kapture" else ""
        temporary.write_text(header + "".join(lines), encoding="utf-8")


def read_pairs(path: str | Path) -> PairList:
    """Read a list of pairs, of any of the formats: commas separate names where there are any, else spaces.

    Empty lines and lines that start with ``#`` are skipped.

    Raises:
        InputError: no such file, or a line that is no pair.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"no such list of pairs: {path}", "check the path; `mast3r pairs` writes such lists"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list of pairs {path}: {error}") from error
    names: list[tuple[str, str]] = []
    scores: list[float] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first, second, score = _parse(line.strip(), f"{path}, line {number}")
        names.append((first, second))
        scores.append(score)
    return PairList(tuple(names), tuple(scores))


def pair_indices(pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> list[Pair]:
    """Pairs of names as pairs of indices, each ordered pair once.

    Args:
        pairs: two names each.
        names: of all images.

    Raises:
        InputError: a pair names an image that is not there, or one image twice.
    """
    rows = {name: row for row, name in enumerate(names)}
    if len(rows) != len(names):
        raise InputError("two images have the same name")
    found: dict[Pair, None] = {}
    for pair in pairs:
        for name in pair:
            if name not in rows:
                near = nearest_names(name, list(names))
                raise InputError(
                    f"a pair names the image {name!r}, which is not among the {len(names)} images",
                    hint=f"did you mean {near[0]}?" if near else f"names are like {next(iter(rows), '')}",
                )
        if pair[0] == pair[1]:
            raise InputError(f"the image {pair[0]!r} is paired with itself")
        found[rows[pair[0]], rows[pair[1]]] = None
    return list(found)


def _parse(line: str, place: str) -> tuple[str, str, float]:
    fields = re.split(r"\s*,\s*", line) if "," in line else line.split()
    if len(fields) not in (2, 3) or not all(fields):
        raise InputError(
            f"{place}: expected two names (and a score), got {line!r}",
            hint="separate them by commas where names hold spaces",
        )
    try:
        return fields[0], fields[1], float(fields[2]) if len(fields) == 3 else 1.0
    except ValueError:
        raise InputError(f"{place}: the score {fields[2]!r} is no number") from None


def _check_name(name: str, format: PairFormat) -> None:
    """Refuse what a reader would take for something else."""
    separators = r"[,\r\n]" if format == "kapture" else r"\s|,"
    if not name or name != name.strip() or name.startswith("#") or re.search(separators, name):
        hint = "rename it" if format == "kapture" or "," in name else "rename it, or write --format kapture"
        raise OutputError(f"a list of pairs ({format}) cannot hold the name {name!r}", hint)
