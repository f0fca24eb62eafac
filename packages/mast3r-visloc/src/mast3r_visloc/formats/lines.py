"""Lines of the text files of datasets, each with the place that an error names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from mast3r_model import InputError
from mast3r_visloc.reasons import reason


@dataclass(frozen=True)
class Line:
    """A line that says something.

    Attributes:
        text: without blanks around it.
        place: file and number, for errors.
    """

    text: str
    place: str


def content_lines(path: Path) -> Iterator[Line]:
    """The lines that are neither blank nor begin with ``#``, one after the other.

    Raises:
        InputError: the file cannot be read as text.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                text = line.strip()
                if text and not text.startswith("#"):
                    yield Line(text, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {reason(error)}", "expected a text file in UTF-8") from None


def comma_fields(line: Line, *names: str) -> list[str]:
    """The fields of a line, separated by commas.

    Raises:
        InputError: more or fewer than `names`.
    """
    fields = [field.strip() for field in line.text.split(",")]
    if len(fields) != len(names):
        raise InputError(f"{line.place}: expected '{', '.join(names)}', got {line.text!r}")
    return fields


def finite_numbers(fields: Sequence[str], place: str) -> list[float]:
    """Every field as a number.

    Raises:
        InputError: one is not a finite number.
    """
    try:
        numbers = [float(field) for field in fields]
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
    if not np.isfinite(numbers).all():
        raise InputError(f"{place}: a number is not finite")
    return numbers


def whole_number(field: str, what: str, place: str) -> int:
    """A field as a whole number.

    Raises:
        InputError: it is none.
    """
    try:
        return int(field)
    except ValueError:
        raise InputError(f"{place}: the {what} must be a whole number, got {field!r}") from None


def relative_name(name: str, place: str) -> str:
    """A file's name in a dataset, sure to stay in the dataset's folder.

    Raises:
        InputError: it is empty, absolute, or climbs out with ``..``.
    """
    # A dataset written on Windows must be no way out either.
    windows = PureWindowsPath(name)
    if not name or windows.anchor or PurePosixPath(name).is_absolute() or ".." in windows.parts:
        raise InputError(
            f"{place}: the name {name!r} is empty or leaves the dataset's folder",
            "names are relative to the folder, without '..'",
        )
    return name
