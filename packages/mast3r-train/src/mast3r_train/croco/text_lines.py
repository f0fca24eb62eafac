"""The lines of a long list, in as little memory as its text takes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from mast3r_model import InputError


class TextLines(Sequence[str]):
    """Lines of text, kept as one block of bytes.

    Lists of pairs have millions of lines. As Python strings they would take several times the memory, and
    loader processes would each copy them as they are used.

    Args:
        lines: without their line ends.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        buffer, ends = io.BytesIO(), [0]
        for line in lines:
            ends.append(ends[-1] + buffer.write(line.encode("utf-8", "surrogateescape")))
        self._bytes = buffer.getvalue()
        self._ends = np.array(ends, dtype=np.int64)

    @classmethod
    def read(cls, path: Path) -> TextLines:
        """The lines of a list file that are neither empty nor begin with ``#``.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                stripped = (line.strip() for line in file)
                return cls(line for line in stripped if line and not line.startswith("#"))
        except OSError as error:
            raise InputError(f"cannot read the list of pairs {path}: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"line {index} of {len(self)}")
        number = index % len(self)
        start, end = self._ends[number], self._ends[number + 1]
        return self._bytes[start:end].decode("utf-8", "surrogateescape")
