"""The order of training items (goldens train/loop/batched_sampler.json)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_model import ConfigError
from mast3r_train.datasets.sampler import BatchedRandomSampler


def test_goldens(goldens: Callable[[str], Path]) -> None:
    for case in json.loads(goldens("train/loop/batched_sampler.json").read_text()):
        for golden in case["ranks"]:
            sampler = BatchedRandomSampler(
                range(case["N"]),
                case["batch_size"],
                case["pool_size"],
                world_size=case["world_size"],
                rank=golden["rank"],
                drop_last=case["drop_last"],
            )
            sampler.set_epoch(case["epoch"])
            items = [list(item) for item in sampler]
            assert len(sampler) == golden["len"] == len(items)
            assert items[: len(golden["items"])] == golden["items"]


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(0, 60),
    batch_size=st.integers(1, 5),
    pool_size=st.integers(1, 4),
    world_size=st.integers(1, 4),
    epoch=st.integers(0, 5),
)
def test_ranks_share_each_item_once(
    size: int, batch_size: int, pool_size: int, world_size: int, epoch: int
) -> None:
    seen = []
    for rank in range(world_size):
        sampler = BatchedRandomSampler(range(size), batch_size, pool_size, world_size=world_size, rank=rank)
        sampler.set_epoch(epoch)
        items = list(sampler)
        assert len(items) == len(sampler)
        for start in range(0, len(items), batch_size):
            assert len({resolution for _, resolution in items[start : start + batch_size]}) == 1
        seen += [item for item, _ in items]
    assert sorted(seen) == list(range(size // (batch_size * world_size) * batch_size * world_size))


def test_without_an_epoch_the_order_is_torchs() -> None:
    sampler = BatchedRandomSampler(range(50), 5, 3)
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        orders.append(list(sampler))
    assert orders[0] == orders[1] != orders[2]


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="drop_last"):
        BatchedRandomSampler(range(9), 2, 1, world_size=2, drop_last=False)
    with pytest.raises(ConfigError, match="rank < world_size"):
        BatchedRandomSampler(range(9), 2, 1, world_size=2, rank=2)
    with pytest.raises(ConfigError, match="set_epoch"):
        list(BatchedRandomSampler(range(9), 2, 1, world_size=2))
