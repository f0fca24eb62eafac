"""The order of training items: random, one resolution a batch, each rank its share (spec 40 section 6.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
import torch
from torch.utils.data import Sampler

from mast3r_model import ConfigError


class BatchedRandomSampler(Sampler[tuple[int, int]]):
    """Pairs (item, resolution index), whose every ``batch_size`` successive ones share the resolution.

    The order depends on the epoch alone; without `set_epoch` it is drawn from torch's generator.

    Args:
        dataset: What is sampled; only its length counts.
        batch_size: Items a batch, per rank.
        pool_size: Number of resolutions.
        world_size: Number of ranks.
        rank: This process.
        drop_last: Leave out the last incomplete batch of all ranks.

    Raises:
        ConfigError: A number is out of range, or several ranks without ``drop_last``.
    """

    def __init__(
        self,
        dataset: Sized,
        batch_size: int,
        pool_size: int,
        world_size: int = 1,
        rank: int = 0,
        drop_last: bool = True,
    ) -> None:
        if batch_size < 1 or pool_size < 1 or not 0 <= rank < world_size:
            raise ConfigError(
                "the sampler needs batch_size >= 1, pool_size >= 1 and 0 <= rank < world_size, "
                f"got {batch_size}, {pool_size}, {rank} and {world_size}"
            )
        if world_size > 1 and not drop_last:
            raise ConfigError(
                f"{world_size} ranks need drop_last=True, so that all have equally many batches"
            )
        group = batch_size * world_size
        self.batch_size = batch_size
        self.pool_size = pool_size
        self.world_size = world_size
        self.rank = rank
        self.total = len(dataset) // group * group if drop_last else len(dataset)
        self.epoch: int | None = None

    def __len__(self) -> int:
        """Number of items of this rank."""
        return self.total // self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the order."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng(seed=self._seed())
        items = np.arange(self.total)
        rng.shuffle(items)
        batches = -(-self.total // self.batch_size)
        resolutions = rng.integers(self.pool_size, size=batches).repeat(self.batch_size)[: self.total]
        share = self.batch_size * -(-self.total // (self.world_size * self.batch_size))
        mine = slice(self.rank * share, (self.rank + 1) * share)
        yield from zip(items[mine].tolist(), resolutions[mine].tolist(), strict=True)

    def _seed(self) -> int:
        if self.epoch is not None:
            return self.epoch + 777
        if self.world_size > 1:
            raise ConfigError("several ranks need set_epoch before each epoch, so that their orders agree")
        return int(torch.empty((), dtype=torch.int64).random_().item())
