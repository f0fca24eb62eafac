"""Ranks without other processes: the environment, who loads what, how many are started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Any

import pytest
import torch

from mast3r_model import ConfigError
from mast3r_train import TrainConfig
from mast3r_train.datasets.algebra import DatasetAlgebra
from mast3r_train.loop.distributed import joined_ranks, ranks_of_environment
from mast3r_train.loop.failures import LostProcessError, dead_workers_told, one_voice
from mast3r_train.loop.launching import process_count
from mast3r_train.loop.loading import PairLoader
from mast3r_train.loop.meters import Meters
from mast3r_train.loop.ranks import Ranks, usable_cpus
from mast3r_train.loop.sharing import Sharing, share_model

LAUNCHED = {
    "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1"
}  # fmt: skip


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)


def launched(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> None:
    for name, value in {**LAUNCHED, **changes}.items():
        if value is not None:
            monkeypatch.setenv(name, value)


def test_the_environment_of_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks_of_environment() == Ranks()
    launched(monkeypatch)
    assert ranks_of_environment() == Ranks(3, 8, 1, 2)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert ranks_of_environment() == Ranks()
    with joined_ranks() as ranks:
        assert ranks == Ranks()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MASTER_ADDR": None, "MASTER_PORT": None}, "WORLD_SIZE=8, .* no MASTER_ADDR and no MASTER_PORT"),
        ({"RANK": "8"}, "RANK=8.* a rank below"),
        ({"RANK": "first"}, "whole numbers"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK=2"),
    ],
)
def test_incomplete_environments(
    changes: dict[str, str | None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(monkeypatch, **changes)
    with pytest.raises(ConfigError, match=message) as caught, joined_ranks("cpu"):
        pass
    assert "--nproc-per-node" in str(caught.value.hint)


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_a_device_that_processes_cannot_share(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch)
    with (
        pytest.raises(ConfigError, match=f"8 processes cannot share --device {device}"),
        joined_ranks(device),
    ):
        pass


def test_how_many_processes_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [process_count(wanted) for wanted in (None, "1", "3")] == [1, 1, 3]
    for wanted in ("0", "-1", "many", "1.5"):
        with pytest.raises(ConfigError, match="expected a number from 1, auto or gpu"):
            process_count(wanted)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert process_count("auto") == 1
    with pytest.raises(ConfigError, match="no CUDA device"):
        process_count("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [process_count(wanted) for wanted in ("auto", "gpu")] == [4, 4]
    launched(monkeypatch)  # a started process starts no others
    assert process_count("3") == 1


class Numbers(DatasetAlgebra):
    def __init__(self, length: int) -> None:
        self.length = length
        self.resolutions = [(16, 16)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> list[dict[str, Any]]:
        return [{"number": index[0]}, {"number": index[0]}]


def numbers_of(loader: PairLoader, epoch: int) -> list[int]:
    return [number for view1, _ in loader.epoch(epoch) for number in view1["number"].tolist()]


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_cover_every_index_once(world_size: int) -> None:
    length = 12 * world_size
    seen = {}
    for epoch in range(2):
        loaders = [
            PairLoader(
                Numbers(length), batch_size=2, num_workers=0, seed=0, shuffle=True, ranks=Ranks(rank, world_size)
            )
            for rank in range(world_size)
        ]  # fmt: skip
        shares = [numbers_of(loader, epoch) for loader in loaders]
        assert {len(share) for share in shares} == {12}
        seen[epoch] = list(chain.from_iterable(shares))
        assert sorted(seen[epoch]) == list(range(length))
    assert seen[0] != seen[1]


@pytest.mark.parametrize(("length", "repeated"), [(6, 0), (7, 1)])
def test_test_sets_are_those_of_torchs_sampler(length: int, repeated: int) -> None:
    """Every sample, the first ones again where the ranks would not have equally many."""
    shares = []
    for rank in range(2):
        loader = PairLoader(
            Numbers(length), batch_size=2, num_workers=0, seed=0, shuffle=False, ranks=Ranks(rank, 2)
        )
        sampler = torch.utils.data.DistributedSampler(
            Numbers(length), num_replicas=2, rank=rank, shuffle=False, drop_last=False
        )
        shares.append(numbers_of(loader, 0))
        assert shares[-1] == list(sampler)
    assert Counter(chain.from_iterable(shares)) == {n: 2 if n < repeated else 1 for n in range(length)}


def test_meters_of_two_ranks_add_up() -> None:
    one, other = Meters(), Meters()
    one.update({"loss": 1.0})
    other.update({"loss": 4.0, "rare": 2.0})
    other.update({"loss": 4.0})
    one.add(other)
    assert one.averages(Ranks()) == {"loss": 3.0, "rare": 2.0}


class TwoRanks(Ranks):
    """This process and another one with meters of its own."""

    other: Meters

    def sum(self, values: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        theirs = self.other.state()
        return {
            name: tuple(map(sum, zip(values.get(name, (0, 0)), theirs.get(name, (0, 0)), strict=True)))  # type: ignore[misc]
            for name in {**values, **theirs}
        }

    def gather(self, values: Mapping[str, list[float]]) -> dict[str, list[float]]:
        theirs = {name: meter.values for name, meter in self.other.by_name.items()}
        return {name: [*values.get(name, []), *theirs.get(name, [])] for name in {**values, **theirs}}


def test_averages_and_medians_are_over_all_ranks() -> None:
    """Upstream's medians are rank 0's alone (spec 40 section 9.6)."""
    ranks, own = TwoRanks(0, 2), Meters(keep_values=True)
    object.__setattr__(ranks, "other", Meters(keep_values=True))
    for value in (1.0, 9.0, 8.0):
        own.update({"loss": value})
    for value in (2.0, 3.0, 4.0):
        ranks.other.update({"loss": value, "rare": value})
    assert own.averages(ranks) == {"loss": 4.5, "rare": 3.0}
    assert own.lower_medians(ranks) == {"loss": 3.0, "rare": 3.0}


def test_helpers_share_the_cpus() -> None:
    many = usable_cpus() * 4
    assert Ranks().share_of_cpus(many) == usable_cpus()
    assert Ranks(local_world_size=many).share_of_cpus(8) == 1
    assert Ranks(local_world_size=many).share_of_cpus(0) == 0


def test_alone_a_model_is_not_wrapped() -> None:
    model = torch.nn.Linear(2, 1)
    sharing = share_model(model, torch.device("cpu"), Ranks(), shard=True)
    assert type(sharing) is Sharing
    assert sharing.trained(model) is model
    assert list(sharing.model_state(model)) == ["weight", "bias"]


def test_fsdp_keeps_no_average() -> None:
    with pytest.raises(ConfigError, match="--fsdp and --ema"):
        TrainConfig(train_dataset="X", fsdp=True, ema=0.9)


def test_a_dead_data_worker_is_told_in_one_line() -> None:
    killed = "DataLoader worker (pid 12) is killed by signal: Killed. "
    with (
        pytest.raises(LostProcessError, match=r"was killed \(signal: Killed\); training stopped"),
        dead_workers_told(Ranks()),
    ):
        raise RuntimeError(killed)
    gone = "DataLoader worker (pid(s) 12, 13) exited unexpectedly"
    with pytest.raises(LostProcessError, match="for rank 1 has ended"), dead_workers_told(Ranks(1, 2)):
        raise RuntimeError(gone)
    with pytest.raises(RuntimeError, match="something else"), dead_workers_told(Ranks()):
        raise RuntimeError("something else")


def test_alone_errors_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="mine"), one_voice(Ranks()):
        raise ValueError("mine")
