"""Sums, multiples and random subsets of datasets (spec 40 sections 1.3 and 6)."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from mast3r_model import ConfigError

Index = int | tuple[int, int]
"""Number of an item, alone or with the number of the resolution it is wanted in."""


class DatasetAlgebra(ABC):
    """Gives a dataset the operators of expressions: ``a + b``, ``3 * a``, ``1_000 @ a``.

    A dataset has ``__len__`` and ``__getitem__`` for an `Index`, and fills in ``resolutions``.

    Attributes:
        resolutions: What items can be asked for, as (width, height).
        stream_index: Position of the dataset in its expression. It is mixed into the seed of the random
            stream where the user gave none, so that the parts of a sum do not draw the same numbers.
    """

    resolutions: Sequence[tuple[int, int]]
    stream_index: int = 0

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: Index) -> Any: ...

    def locate(self, index: Index) -> tuple[DatasetAlgebra, Index]:
        """The dataset without operators that makes this item, and the item's index there."""
        return self, index

    def set_epoch(self, epoch: int) -> None:  # noqa: B027 - most datasets do not care
        """Tell the dataset which epoch is next; subsets choose their items anew."""

    def assign_stream_indices(self, first: int = 0) -> int:
        """Number the datasets of an expression from left to right; returns the next free number."""
        self.stream_index = first
        return first + 1

    def __add__(self, other: object) -> CatDataset:
        if not isinstance(other, DatasetAlgebra):
            return NotImplemented
        return CatDataset([self, other])

    def __rmul__(self, factor: object) -> MulDataset:
        if not isinstance(factor, (int, np.integer)):
            return NotImplemented
        return MulDataset(int(factor), self)

    def __rmatmul__(self, size: object) -> ResizedDataset:
        if not isinstance(size, (int, np.integer)):
            return NotImplemented
        return ResizedDataset(int(size), self)


class MulDataset(DatasetAlgebra):
    """``k * dataset``: each item k times in a row."""

    def __init__(self, factor: int, dataset: DatasetAlgebra) -> None:
        if factor <= 0:
            raise ConfigError(f"k * dataset needs k > 0, got {factor}")
        self.factor = factor
        self.dataset = dataset
        self.resolutions = dataset.resolutions

    def __len__(self) -> int:
        return self.factor * len(self.dataset)

    def __getitem__(self, index: Index) -> Any:
        leaf, own = self.locate(index)
        return leaf[own]

    def locate(self, index: Index) -> tuple[DatasetAlgebra, Index]:
        number, rest = _split(index, len(self))
        return self.dataset.locate(_join(number // self.factor, rest))

    def set_epoch(self, epoch: int) -> None:
        self.dataset.set_epoch(epoch)

    def assign_stream_indices(self, first: int = 0) -> int:
        return self.dataset.assign_stream_indices(first)

    def __repr__(self) -> str:
        return f"{self.factor:_}*{_bracketed(self.dataset)}"


class ResizedDataset(DatasetAlgebra):
    """``n @ dataset``: n items, another random choice at each epoch, every item before any is repeated.

    Before the first `set_epoch` it is as in epoch 0.
    """

    def __init__(self, size: int, dataset: DatasetAlgebra) -> None:
        if size <= 0:
            raise ConfigError(f"n @ dataset needs n > 0, got {size}")
        if len(dataset) == 0:
            raise ConfigError(f"{size:_} items cannot be drawn from an empty dataset: {dataset!r}")
        self.size = size
        self.dataset = dataset
        self.resolutions = dataset.resolutions
        self._choice = self._choose(0)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Index) -> Any:
        leaf, own = self.locate(index)
        return leaf[own]

    def locate(self, index: Index) -> tuple[DatasetAlgebra, Index]:
        number, rest = _split(index, self.size)
        return self.dataset.locate(_join(int(self._choice[number]), rest))

    def set_epoch(self, epoch: int) -> None:
        self.dataset.set_epoch(epoch)
        self._choice = self._choose(epoch)

    def assign_stream_indices(self, first: int = 0) -> int:
        return self.dataset.assign_stream_indices(first)

    def __repr__(self) -> str:
        return f"{self.size:_} @ {_bracketed(self.dataset)}"

    def _choose(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        permutation = np.random.default_rng(seed=epoch + 777).permutation(len(self.dataset))
        return np.resize(permutation, self.size)  # repeats it as often as needed, then cuts


class CatDataset(DatasetAlgebra):
    """``a + b``: the items of each part, one part after the other."""

    def __init__(self, datasets: Sequence[DatasetAlgebra]) -> None:
        if not datasets:
            raise ConfigError("a sum of datasets needs at least one part, got none")
        resolutions = [[tuple(r) for r in dataset.resolutions] for dataset in datasets]
        for dataset, own in zip(datasets, resolutions, strict=True):
            if own != resolutions[0]:
                raise ConfigError(
                    f"the parts of a sum need the same resolutions: {resolutions[0]} in {datasets[0]!r}, "
                    f"{own} in {dataset!r}"
                )
        self.datasets = tuple(datasets)
        self.resolutions = datasets[0].resolutions
        self._ends = list(accumulate(len(dataset) for dataset in datasets))
        self.assign_stream_indices()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: Index) -> Any:
        leaf, own = self.locate(index)
        return leaf[own]

    def locate(self, index: Index) -> tuple[DatasetAlgebra, Index]:
        number, rest = _split(index, len(self))
        part = bisect_right(self._ends, number)
        start = self._ends[part - 1] if part else 0
        return self.datasets[part].locate(_join(number - start, rest))

    def set_epoch(self, epoch: int) -> None:
        for dataset in self.datasets:
            dataset.set_epoch(epoch)

    def assign_stream_indices(self, first: int = 0) -> int:
        for dataset in self.datasets:
            first = dataset.assign_stream_indices(first)
        return first

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.datasets))


def _split(index: Index, length: int) -> tuple[int, int | None]:
    """The item's number, checked, and the resolution's (None if not given)."""
    number, resolution = index if isinstance(index, tuple) else (index, None)
    number = operator.index(number)
    if not 0 <= number < length:
        raise IndexError(f"item {number} of a dataset of {length} items")
    return number, resolution


def _join(number: int, resolution: int | None) -> Index:
    return number if resolution is None else (number, resolution)


def _bracketed(dataset: DatasetAlgebra) -> str:
    return f"({dataset!r})" if isinstance(dataset, CatDataset) else repr(dataset)
