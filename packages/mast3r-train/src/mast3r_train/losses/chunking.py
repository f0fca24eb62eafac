"""Similarities of all matches with all candidates, some rows at a time: what bounds the memory of losses."""

from __future__ import annotations

AT_ONCE = 2**27
"""Matrices of up to so many entries are not cut (0.5 GiB in float32, and three times that with gradients)."""

CHUNK = 2**24
"""Larger ones are computed in parts of so many: computing them again costs time, so no sooner than needed."""


def row_slices(rows: int, row_size: int) -> list[slice]:
    """Consecutive slices of the rows of a matrix: one of all, or several of `CHUNK` entries or one row each.

    Args:
        rows: number of rows; for none there is one empty slice.
        row_size: entries of a row, those of all batch elements together.
    """
    if rows * row_size <= AT_ONCE:
        return [slice(0, rows)]
    height = max(1, CHUNK // row_size)
    return [slice(start, min(start + height, rows)) for start in range(0, rows, height)]
