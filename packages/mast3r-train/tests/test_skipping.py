"""Samples that cannot be made: replaced, counted, named, and too many of them stop the training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from mast3r_model import InputError, hookimpl
from mast3r_model.plugins import temporary_plugin
from mast3r_train import TrainConfig, train
from mast3r_train.datasets.algebra import DatasetAlgebra
from mast3r_train.errors import SampleError
from mast3r_train.loop.checkpointing import checkpoint_path, read_checkpoint
from mast3r_train.loop.loading import PairLoader, make_batch
from mast3r_train.loop.skipping import Skip, SkipLog, sample_or_another

Settings = Callable[..., TrainConfig]


class SomeBroken(DatasetAlgebra):
    """Items that say which they are; some cannot be read."""

    def __init__(self, length: int, broken: Any = (), error: type[Exception] = SampleError) -> None:
        self.length = length
        self.broken = frozenset(range(length) if broken == "all" else broken)
        self.error = error
        self.resolutions = [(16, 16), (32, 16)]
        self.reads = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> list[dict[str, Any]]:
        number, resolution = index
        self.reads += 1
        if number in self.broken:
            raise self.error(f"{number}.png is broken")
        view = {"img": torch.zeros(1), "instance": str(number), "draw": torch.rand(1).item()}
        return [{**view, "idx": (number, resolution, place)} for place in range(2)]


def loader_of(dataset: Any, **options: Any) -> PairLoader:
    return PairLoader(dataset, **{"batch_size": 3, "num_workers": 0, "seed": 1, "shuffle": True, **options})


def drawn(batches: Any) -> list[tuple[list[str], list[float]]]:
    return [(view1["instance"], view1["draw"].tolist()) for view1, _ in batches]


def test_a_broken_sample_is_replaced_by_one_of_its_part_and_resolution() -> None:
    both = SomeBroken(20, {4, 7}) + 2 * SomeBroken(10, {0})
    skipped: list[Skip] = []
    view1, _ = make_batch(both, [(4, 1), (5, 1), (20, 1)], skipped=skipped)
    assert len(view1["instance"]) == 3
    assert view1["idx"][1].tolist() == [1, 1, 1]
    by_dataset = [(skip.number, skip.resolution, skip.message) for skip in skipped]
    assert by_dataset == [(4, 1, "4.png is broken"), (0, 1, "0.png is broken")]
    assert view1["instance"] == [str(skipped[0].replaced_by), "5", str(skipped[1].replaced_by)]


def test_the_same_sample_has_the_same_replacement_and_every_index_is_tried() -> None:
    for length in (1, 2, 3, 4, 12, 31):
        for number in range(length):
            alone = SomeBroken(length, set(range(length)) - {length - 1})
            first: list[Skip] = []
            view1, _ = sample_or_another(alone, (number, 0), first)
            assert view1["instance"] == str(length - 1)
            assert len({skip.number for skip in first}) == len(first) == alone.reads - 1
            again: list[Skip] = []
            sample_or_another(alone, (number, 0), again)
            assert again == first


def test_neighbours_are_left_at_once() -> None:
    skipped: list[Skip] = []
    sample_or_another(SomeBroken(1000, range(100, 300)), (200, 0), skipped)
    assert len(skipped) == 1


def test_a_dataset_where_nothing_works_stops_quickly() -> None:
    dataset = SomeBroken(100_000, "all")
    with pytest.raises(
        InputError, match=r"none of 32 samples .* can be made; the last: \d+\.png is broken; "
    ):
        next(loader_of(dataset, skips=SkipLog("train", limit=10**9)).epoch(0))
    assert dataset.reads == 32


def test_without_a_list_the_error_is_raised() -> None:
    with pytest.raises(SampleError, match=r"4\.png"):
        make_batch(SomeBroken(9, {4}), [(4, 0)])


def test_other_errors_are_not_skipped() -> None:
    with pytest.raises(InputError, match=r"\.png is broken"):
        next(loader_of(SomeBroken(9, "all", InputError)).epoch(0))
    with pytest.raises(KeyError):
        next(loader_of(SomeBroken(9, "all", KeyError)).epoch(0))


def test_a_dataset_that_makes_whole_batches_answers_for_itself() -> None:
    class AtOnce(SomeBroken):
        def batch(self, items: Any) -> Any:
            raise SampleError("one of them is broken")

    skips = SkipLog("train")
    with pytest.raises(SampleError, match="one of them"):
        next(loader_of(AtOnce(9), skips=skips).epoch(0))
    assert skips.count == 0


@pytest.mark.parametrize("num_workers", [0, 1])
def test_skips_travel_from_the_workers_and_are_named_once(
    num_workers: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "skipped.jsonl"
    skips = SkipLog("train", file=file, rank=2)
    loader = loader_of(SomeBroken(12, {3, 9}), num_workers=num_workers, skips=skips)
    for epoch in range(2):
        skips.begin(epoch)
        batches = list(loader.epoch(epoch))
        assert all(len(view1["instance"]) == 3 for view1, _ in batches)
        assert not {"3", "9"} & set(chain(*(names for names, _ in drawn(batches))))
        assert skips.count == 2
    assert sorted(record.getMessage() for record in caplog.records) == [
        "train: skipped sample 3 of SomeBroken: 3.png is broken",
        "train: skipped sample 9 of SomeBroken: 9.png is broken",
    ]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 0, 1, 1]
    assert lines[0].keys() == {
        "epoch", "set", "rank", "dataset", "number", "resolution", "replaced_by", "message"
    }  # fmt: skip
    assert {(line["set"], line["rank"], line["dataset"]) for line in lines} == {("train", 2, "SomeBroken")}


def test_batches_are_the_same_from_any_place_and_worker() -> None:
    dataset = SomeBroken(12, {3, 8, 9})
    whole = drawn(loader_of(dataset).epoch(1))
    assert drawn(loader_of(dataset, num_workers=2).epoch(1)) == whole
    assert drawn(loader_of(dataset).epoch(1, first=2)) == whole[2:]


def test_too_many_skips_stop() -> None:
    skips = SkipLog("train", limit=2)
    with pytest.raises(InputError) as caught:
        list(loader_of(SomeBroken(12, {1, 2, 3, 4, 5}), skips=skips).epoch(0))
    assert "of epoch 0 cannot be made, --max_skipped allows 2; the last: " in str(caught.value)
    assert ".png is broken" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "--max_skipped" in str(caught.value.hint)
    with pytest.raises(InputError, match="1 sample of epoch 0 cannot be made, --max_skipped allows 0"):
        list(loader_of(SomeBroken(12, {1}), skips=SkipLog("train", limit=0)).epoch(0))
    assert len(list(loader_of(SomeBroken(12), skips=SkipLog("train", limit=0)).epoch(0))) == 4


@pytest.fixture(scope="module", autouse=True)
def _broken_toys(toys: ModuleType) -> Iterator[None]:
    """A toy dataset some of whose samples cannot be read."""

    class BrokenToyPairs(toys.ToyPairs):  # type: ignore[misc, name-defined]
        def __init__(self, length: int, broken: list[int], **options: Any) -> None:
            super().__init__(length, **options)
            self.broken = broken

        def __getitem__(self, index: Any) -> Any:
            if index[0] in self.broken:
                raise SampleError(f"{index[0]}.exr is cut off")
            return super().__getitem__(index)

    plugin = SimpleNamespace(
        mast3r_datasets=hookimpl(lambda: {"BrokenToyPairs": BrokenToyPairs}, specname="mast3r_datasets")
    )
    with temporary_plugin(plugin, "broken-toy-pairs"):
        yield


BROKEN = {
    "train_dataset": "BrokenToyPairs(8, [2, 6], noise=0.1)",
    "test_dataset": "BrokenToyPairs(2, [1]) + ToyPairs(1)",
}


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mast3r_train.loop.logs.plot_curves", lambda *files: None)


def test_a_run_counts_skips_in_its_log_and_goes_on_with_the_same_bits(
    toy_settings: Settings, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(toy_settings(whole, **BROKEN)).completed
    lines = [json.loads(line) for line in (whole / "log.txt").read_text().splitlines()]
    assert "train_skipped" not in lines[0]
    for line in lines[1:]:
        assert (line["train_skipped"], line["BrokenToyPairs_skipped"], line["ToyPairs_skipped"]) == (2, 1, 0)
    noted = [json.loads(line) for line in (whole / "skipped.jsonl").read_text().splitlines()]
    assert sorted((line["epoch"], line["set"], line["number"]) for line in noted) == [
        (0, "train", 2), (0, "train", 6), (1, "BrokenToyPairs", 1),
        (1, "train", 2), (1, "train", 6), (2, "BrokenToyPairs", 1),
    ]  # fmt: skip

    while not train(toy_settings(parts, **BROKEN, max_minutes=1e-9)).completed:
        position = read_checkpoint(checkpoint_path(parts, "last"))["position"]
        assert 0 <= position["skipped"] <= 2
    ended = [read_checkpoint(checkpoint_path(folder, "final"))["model"] for folder in (whole, parts)]
    assert all(torch.equal(ended[0][name], ended[1][name]) for name in ended[0])
    again = [json.loads(line) for line in (parts / "log.txt").read_text().splitlines()]
    assert [line.get("train_skipped") for line in again if line["epoch"]] == [2, 2]


def test_a_run_with_too_many_stops_and_names_the_file(toy_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--max_skipped allows 1; the last: \d\.exr is cut off") as caught:
        train(toy_settings(tmp_path, **BROKEN, max_skipped=1))
    assert str(tmp_path / "skipped.jsonl") in str(caught.value.hint)
    train(toy_settings(tmp_path / "dry", **BROKEN, dry_run=True))
    assert not (tmp_path / "dry").exists()
