"""Sums, multiples and subsets of datasets (goldens train/loop/easy_dataset.json)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_model import ConfigError, parse_expression
from mast3r_train.datasets.algebra import DatasetAlgebra

RESOLUTIONS = ((512, 384), (512, 288))


class Letters(DatasetAlgebra):
    """Item i is (name, i)."""

    def __init__(self, name: str, size: int, resolutions: tuple[tuple[int, int], ...] = RESOLUTIONS) -> None:
        self.name = name
        self.size = size
        self.resolutions = resolutions
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        return self.name, index

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __repr__(self) -> str:
        return self.name


def three() -> dict[str, Callable[[], Letters]]:
    sizes = {"A": 7, "B": 3, "C": 11}
    return {name: lambda name=name, size=size: Letters(name, size) for name, size in sizes.items()}


def as_json(item: Any) -> Any:
    return json.loads(json.dumps(item))


def test_goldens(goldens: Callable[[str], Path]) -> None:
    for case in json.loads(goldens("train/loop/easy_dataset.json").read_text()):
        dataset: Any = parse_expression(case["expr"]).build([], names=three())
        dataset.set_epoch(case["epoch"])
        assert len(dataset) == case["len"], case["expr"]
        assert [as_json(dataset[i]) for i in range(len(dataset))] == case["items"], case["expr"]
        assert [as_json(dataset[i, 1]) for i in range(len(case["with_ar"]))] == case["with_ar"]


def test_epoch_reaches_every_dataset() -> None:
    a, b = Letters("A", 4), Letters("B", 4)
    (10 @ (3 @ a) + 2 * b).set_epoch(5)
    assert (a.epochs, b.epochs) == ([5], [5])


def test_items_are_located_in_the_datasets_without_operators() -> None:
    a, b = Letters("A", 4), Letters("B", 4)
    dataset = 20 @ (2 * a + b)
    for index in range(20):
        leaf, own = dataset.locate((index, 1))
        assert leaf in (a, b)
        assert leaf[own] == dataset[index, 1]


def test_a_subset_before_any_epoch_is_epoch_0() -> None:
    fresh, told = 5 @ Letters("A", 7), 5 @ Letters("A", 7)
    told.set_epoch(0)
    assert [fresh[i] for i in range(5)] == [told[i] for i in range(5)]
    told.set_epoch(1)
    assert [fresh[i] for i in range(5)] != [told[i] for i in range(5)]


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 12), count=st.integers(1, 40), epoch=st.integers(0, 9))
def test_a_subset_repeats_nothing_before_it_has_all(size: int, count: int, epoch: int) -> None:
    subset = count @ Letters("A", size)
    subset.set_epoch(epoch)
    items = [subset[i][1] for i in range(count)]
    for start in range(0, count, size):
        block = items[start : start + size]
        assert len(set(block)) == len(block)


def test_parts_of_a_sum_know_their_position() -> None:
    a, b, c = Letters("A", 4), Letters("B", 4), Letters("C", 4)
    _ = 10 @ a + (2 * b + c)
    assert [dataset.stream_index for dataset in (a, b, c)] == [0, 1, 2]


def test_repr_is_an_expression() -> None:
    dataset = 10_000 @ Letters("A", 4) + 2 * (Letters("B", 4) + Letters("C", 4))
    assert repr(dataset) == "10_000 @ A + 2*(B + C)"


def test_resolutions_are_those_of_the_parts() -> None:
    assert (3 @ (2 * Letters("A", 4)) + Letters("B", 4)).resolutions == RESOLUTIONS
    with pytest.raises(ConfigError, match="same resolutions"):
        Letters("A", 4) + Letters("B", 4, ((224, 224),))


@pytest.mark.parametrize("index", [-1, 8, (8, 0)])
def test_outside_is_an_index_error(index: Any) -> None:
    for dataset in (2 * Letters("A", 4), 8 @ Letters("A", 4), Letters("A", 4) + Letters("B", 4)):
        with pytest.raises(IndexError):
            dataset[index]


def test_impossible_operations_are_refused() -> None:
    a = Letters("A", 4)
    with pytest.raises(ConfigError, match="k > 0"):
        0 * a
    with pytest.raises(ConfigError, match="n > 0"):
        0 @ a
    with pytest.raises(ConfigError, match="empty"):
        5 @ Letters("B", 0)
    for operation in (lambda: a * a, lambda: 1.5 * a, lambda: a + 1, lambda: 0.5 @ a):
        with pytest.raises(TypeError):
            operation()  # type: ignore[no-untyped-call]
