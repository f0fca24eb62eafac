"""Labels of DL3DV's scenes from the page that lists them: HTML, Markdown or CSV (spec 41 section 14)."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

from mast3r_model import InputError
from mast3r_train.datasets.dl3dv_labels import COLUMNS, SceneLabels
from mast3r_train.datasets.files import load_text

HASH = re.compile(r"[0-9a-f]{64}")
_SUBSET = re.compile(r"\d{1,2}K")
_BOUNDED = ("", "bd", "unbd")


def read_page(path: Path) -> list[SceneLabels]:
    """The labels of all scenes in a table: rows with a hash of 64 digits.

    Columns are found by the words of a heading row (``hash``, ``subset``, ``light``, ...), else they stand in
    the order of `COLUMNS`, the hash first or wherever it is.

    Raises:
        InputError: the file cannot be read, has no such row, or a row's words are not labels; it is named.
    """
    text = load_text(path)
    heading: Sequence[str] | None = None
    labels: dict[str, SceneLabels] = {}
    for cells in _rows(text):
        found = next((place for place, cell in enumerate(cells) if HASH.search(cell)), None)
        if found is None:
            heading = _heading(cells) or heading
            continue
        scene = _labels(path, cells, found, heading)
        labels[scene.hash] = scene
    if not labels:
        raise InputError(f"{path} has no table row with a scene's hash of 64 hexadecimal digits")
    return list(labels.values())


def count_by_light(labels: Sequence[SceneLabels]) -> str:
    """For the log: how many scenes have which light."""
    counts = Counter(scene.light or "unlabelled" for scene in labels)
    return ", ".join(f"{count:,} {light}" for light, count in counts.most_common())


def _rows(text: str) -> list[list[str]]:
    """The cells of the tables of a text, whichever way it is written."""
    if re.search(r"<t[dh][\s>]", text, re.IGNORECASE):
        parser = _TableParser()
        parser.feed(text)
        return parser.rows
    lines = text.splitlines()
    if any(line.lstrip().startswith("|") for line in lines):
        tables = (line.strip().strip("|") for line in lines if line.lstrip().startswith("|"))
        return [[cell.strip(" `*") for cell in line.split("|")] for line in tables]
    return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text))]


def _heading(cells: Sequence[str]) -> list[str] | None:
    """Names of the columns if a row has at least those of the hash and the light."""
    words = [cell.lower().strip() for cell in cells]
    return words if {"hash", "light"} <= set(words) else None


def _labels(path: Path, cells: Sequence[str], found: int, heading: Sequence[str] | None) -> SceneLabels:
    match = HASH.search(cells[found])
    assert match is not None
    if heading is not None:
        values = {name: cell for name, cell in zip(heading, cells, strict=False) if name in COLUMNS}
    else:
        rest = [*cells[:found], *cells[found + 1 :]]
        while rest and rest[0].isdecimal():  # a column that numbers the rows
            rest = rest[1:]
        values = dict(zip(COLUMNS[1:], rest, strict=False))
    scene = SceneLabels(**{**values, "hash": match[0]})
    is_subset = not scene.subset or _SUBSET.fullmatch(scene.subset)
    if not is_subset or scene.bounded not in _BOUNDED or re.search(r"[^a-z,;+/& -]", scene.light):
        raise InputError(
            f"{path}: the row of scene {scene.hash} has subset={scene.subset!r}, bounded={scene.bounded!r}, "
            f"light={scene.light!r}: expected the columns {', '.join(COLUMNS)}",
            hint="save the page with its heading row, or write a CSV with these columns",
        )
    return scene


class _TableParser(HTMLParser):
    """Collects the text of table cells."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._is_in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
            self._is_in_cell = False
        elif tag in ("td", "th"):
            if not self.rows:
                self.rows.append([])
            self.rows[-1].append("")
            self._is_in_cell = True
        elif self._is_in_cell and tag == "a":  # the hash may be in the link alone
            link = HASH.search(dict(attrs).get("href") or "")
            if link and not HASH.search(self.rows[-1][-1]):
                self.rows[-1][-1] += f" {link[0]} "

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr"):
            self._is_in_cell = False

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.rows[-1][-1] = f"{self.rows[-1][-1]}{data}".strip()
