"""InLoc's alignments of scans with the building: ``all_transformations.txt`` (spec 50 A3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mast3r_model import InputError
from mast3r_visloc.formats.lines import Line, content_lines, finite_numbers

_MATRIX_FOLLOWS = "After general icp:"


def read_alignment(path: Path) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """Read the transformation of every scan of a building.

    Returns:
        Scan id (three characters, such as ``005``) -> 4x4 from the scan's frame to the building's.

    Raises:
        InputError: a matrix that cannot be read (line named), one without a scan, or none at all.
    """
    lines = content_lines(path)
    scan = None
    found = {}
    for line in lines:
        if len(line.text) == 3:
            scan = line.text
        elif line.text == _MATRIX_FOLLOWS:
            if scan is None:
                raise InputError(f"{line.place}: no scan id (three characters) before {_MATRIX_FOLLOWS!r}")
            found[scan] = np.array([_row(lines, line) for _ in range(4)])
    if not found:
        raise InputError(f"{path} has no line {_MATRIX_FOLLOWS!r}", "expected InLoc's alignment file")
    return found


def _row(lines: Iterator[Line], start: Line) -> list[float]:
    line = next(lines, None)
    if line is None:
        raise InputError(f"{start.place}: the file ends within the matrix")
    row = finite_numbers(line.text.split(), line.place)
    if len(row) != 4:
        raise InputError(f"{line.place}: expected four numbers, got {line.text!r}")
    return row
