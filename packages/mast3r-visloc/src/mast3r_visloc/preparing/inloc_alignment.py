"""Where InLoc's scans stand in their building (spec 50 A3.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_visloc.formats import read_alignment

from .placing import read_lines

FOLDERS = (
    "database/alignments/{}_alignment",
    "database/alignments/{}",
    "alignments/{}_alignment",
    "alignments/{}",
    "{}_alignment",
    "mapping/{}_alignment",
)
ALL = "all_transformations.txt"
AFTER = "After general icp:"


@dataclass(frozen=True, eq=False)
class ScanAlignments:
    """The scans of a building.

    Attributes:
        source: file or folder that they were read from.
        transforms: 4x4 float64, world from scan, by the scan's three digits.
    """

    source: Path
    transforms: Mapping[str, Float[np.ndarray, "4 4"]]

    def lines(self) -> Iterator[str]:
        """The file that the dataset class reads."""
        for scan, matrix in self.transforms.items():
            yield scan
            yield AFTER
            yield from (" ".join(repr(float(value)) for value in row) for row in matrix)
            yield ""


def find_alignment(raw: Path, building: str) -> ScanAlignments:
    """Read a building's alignments, from one file or from one for each scan.

    Raises:
        InputError: neither is there, or one is damaged; names what was looked for.
    """
    for folder in (raw / pattern.format(building) for pattern in FOLDERS):
        if (folder / ALL).is_file():
            return ScanAlignments(folder / ALL, read_alignment(folder / ALL))
        single = sorted(folder.glob("transformations/*_trans_*.txt"))
        if single:
            return ScanAlignments(folder / "transformations", dict(_read_one(path) for path in single))
    places = ", ".join(pattern.format(building) for pattern in FOLDERS)
    raise InputError(
        f"{raw} holds no alignment of {building}: looked for {ALL} or transformations/*_trans_*.txt in "
        f"{places}",
        "unpack the release's alignments there",
    )


def _read_one(path: Path) -> tuple[str, Float[np.ndarray, "4 4"]]:
    """The scan is named by the file's last three digits."""
    found = re.search(r"_trans_(\d{3})\.txt$", path.name)
    lines = read_lines(path)
    places = [number for number, line in enumerate(lines) if line.strip() == AFTER]
    if found is None or not places:
        raise InputError(f"{path} is no alignment of a scan", f"expected *_trans_000.txt with {AFTER!r}")
    return found[1], _matrix(lines[places[0] + 1 : places[0] + 5], f"{path}, line {places[0] + 2}")


def _matrix(lines: list[str], place: str) -> Float[np.ndarray, "4 4"]:
    try:
        matrix = np.array([line.split() for line in lines], dtype=np.float64)
    except ValueError:
        matrix = np.zeros(0)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError(f"{place}: expected four lines of four numbers")
    return matrix
