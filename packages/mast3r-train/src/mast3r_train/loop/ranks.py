"""The processes that train together: here one; a process group gives the same answers for several."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranks:
    """This process among all: everything that the loop asks of the others goes through here.

    Except for those that say something about this process alone, every method is a meeting: all processes
    call it, in the same order.

    Attributes:
        rank: number of this process; only rank 0 writes files and logs.
        world_size: how many there are.
        local_rank: number of this process among those of this machine.
        local_world_size: how many there are on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    @property
    def is_orphan(self) -> bool:
        """Whether the program that started this process has died, so that nobody can stop it any more."""
        return False

    def device_name(self, wanted: str) -> str:
        """The device of this process, for what the user asked for: each has its own GPU."""
        return wanted

    def share_of_cpus(self, count: int) -> int:
        """``count`` helpers of this process, but not more than its share of the CPUs, and one at least."""
        return min(count, max(1, usable_cpus() // self.local_world_size))

    def sum(self, values: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """Element-wise sum over the processes; the names may differ among them."""
        return dict(values)

    def gather(self, values: Mapping[str, list[float]]) -> dict[str, list[float]]:
        """The lists of all processes, one after the other; the names may differ among them."""
        return dict(values)

    def all_true(self, flag: bool) -> bool:
        """Whether the flag is true on every process."""
        return flag

    def largest(self, values: Sequence[float]) -> list[float]:
        """Element-wise maximum over the processes."""
        return list(values)

    def mean(self, value: float) -> float:
        """Mean over the processes."""
        return value

    def gather_bytes(self, payload: bytes) -> list[bytes]:
        """What each process gives, by rank; for small things: every process gets all."""
        return [payload]

    def broadcast_bytes(self, payload: bytes, source: int) -> bytes:
        """What the process ``source`` gives; the others' payload does not count."""
        return payload

    def barrier(self) -> None:
        """Wait until all processes are here."""


def usable_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
