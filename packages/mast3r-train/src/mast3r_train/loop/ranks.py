"""The processes that train together: here one; a distributed group gives the same four answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mast3r_model import ConfigError


@dataclass(frozen=True)
class Ranks:
    """This process among all: everything that the loop asks of the others goes through here.

    Attributes:
        rank: number of this process; only rank 0 writes files and logs.
        world_size: how many there are.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def sum(self, values: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """Element-wise sum over the processes."""
        return dict(values)

    def gather(self, values: Mapping[str, list[float]]) -> dict[str, list[float]]:
        """The lists of all processes, one after the other."""
        return dict(values)

    def all_true(self, flag: bool) -> bool:
        """Whether the flag is true on every process."""
        return flag


def ranks_of_environment() -> Ranks:
    """This process among those that a launcher such as torchrun says it started: only one works as yet.

    Raises:
        ConfigError: there are several. They would all train the same and write to the same files.
    """
    world_size = os.environ.get("WORLD_SIZE", "1")
    if "RANK" in os.environ and world_size != "1":
        raise ConfigError(
            f"training works in one process, but the environment has WORLD_SIZE={world_size}",
            hint="start it without torchrun, or with --nproc-per-node 1; --accum_iter makes larger batches",
        )
    return Ranks()
