"""Several processes that train together, as torchrun or ``--nproc-per-node`` starts them (spec 40 9.1)."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from mast3r_model import ConfigError
from mast3r_train.loop.ranks import Ranks

STORE_PREFIX = "mast3r"
ERRORS_PREFIX = f"{STORE_PREFIX}/errors"

_Plain = TypeVar("_Plain")

# A process may wait this long for the others: rank 0 evaluates, draws and writes while they do. One that has
# died is noticed at once.
_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class Peer:
    """One process of the group.

    Attributes:
        host: name of its machine.
        pid: its process number there; 0 where it cannot be seen from here.
    """

    host: str
    pid: int


@dataclass(frozen=True)
class ProcessGroup(Ranks):
    """Several processes. What they tell each other goes over gloo, only gradients over NCCL.

    So a process that has died is noticed by the others in their next meeting, on GPUs as well, and no meeting
    waits for a GPU.

    Attributes:
        has_gpus: whether every process has a GPU of its own.
        store: key-value store that all processes see, also when their connections are broken.
        peers: the processes by rank.
        launcher: process number of the program that started this one and watches it; 0 = nobody does.
    """

    has_gpus: bool = False
    store: Store | None = None
    peers: tuple[Peer, ...] = field(default=())
    launcher: int = 0

    @property
    def is_orphan(self) -> bool:
        return self.launcher != 0 and os.getppid() != self.launcher

    def device_name(self, wanted: str) -> str:
        return f"cuda:{self.local_rank}" if self.has_gpus and wanted in ("auto", "cuda") else wanted

    def sum(self, values: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        total: dict[str, tuple[float, float]] = {}
        for own in self._gather_json(dict(values)):
            for name, (first, second) in own.items():
                before = total.get(name, (0.0, 0.0))
                total[name] = (before[0] + first, before[1] + second)
        return total

    def gather(self, values: Mapping[str, list[float]]) -> dict[str, list[float]]:
        joined: dict[str, list[float]] = {}
        for own in self._gather_json(dict(values)):
            for name, numbers in own.items():
                joined.setdefault(name, []).extend(numbers)
        return joined

    def all_true(self, flag: bool) -> bool:
        return not self.largest([float(not flag)])[0]

    def largest(self, values: Sequence[float]) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.tolist()

    def mean(self, value: float) -> float:
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.item() / self.world_size

    def gather_bytes(self, payload: bytes) -> list[bytes]:
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor([len(payload)]))
        longest = max(int(size) for size in sizes)
        if longest == 0:
            return [b""] * self.world_size
        padded = _bytes_tensor(payload.ljust(longest, b"\0"))
        gathered = [torch.empty_like(padded) for _ in range(self.world_size)]
        dist.all_gather(gathered, padded)
        return [_bytes_of(tensor[: int(size)]) for tensor, size in zip(gathered, sizes, strict=True)]

    def broadcast_bytes(self, payload: bytes, source: int) -> bytes:
        size = torch.tensor([len(payload)])
        dist.broadcast(size, source)
        own = self.rank == source
        tensor = _bytes_tensor(payload) if own else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(tensor, source)
        return payload if own else _bytes_of(tensor)

    def barrier(self) -> None:
        self.largest([0.0])

    def _gather_json(self, values: _Plain) -> list[_Plain]:
        """Plain values of all processes; json keeps floats to the last bit, NaN and infinity too."""
        return [json.loads(payload) for payload in self.gather_bytes(json.dumps(values).encode())]


_JOINED: ContextVar[Ranks | None] = ContextVar("mast3r_train_ranks", default=None)


@contextmanager
def joined_ranks(device: str = "auto") -> Iterator[Ranks]:
    """Inside the block, this process is one of those that the environment says train together.

    Without ``RANK`` and ``WORLD_SIZE`` in the environment it is alone. Blocks may be nested: the outermost
    one joins the others and leaves them.

    Args:
        device: what the user asked to train on; with ``auto`` or ``cuda`` each process gets its own GPU.

    Raises:
        ConfigError: the environment is incomplete, or there are too few GPUs.
    """
    joined = _JOINED.get()
    if joined is not None:
        yield joined
        return
    ranks = ranks_of_environment()
    if ranks.world_size == 1:
        yield ranks
        return
    group = _join(ranks, device)
    token = _JOINED.set(group)
    try:
        yield group
    except BaseException:
        # NCCL waits in vain for a peer that has died; the end of the process ends this group then.
        if not group.has_gpus:
            dist.destroy_process_group()
        raise
    else:
        dist.destroy_process_group()
    finally:
        _JOINED.reset(token)


def ranks_of_environment() -> Ranks:
    """This process among those that a launcher such as torchrun says it started; joins nobody.

    Raises:
        ConfigError: the environment names several processes, but not where they meet, or wrong numbers.
    """
    rank, world_size = (os.environ.get(name) for name in ("RANK", "WORLD_SIZE"))
    if rank is None or world_size in (None, "1"):
        return Ranks()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    given = {name: os.environ[name] for name in names if name in os.environ}
    told = ", ".join(f"{name}={value}" for name, value in given.items())
    hint = "start it by `mast3r train --nproc-per-node N` or torchrun; or unset RANK to train in one process"
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in given]:
        raise ConfigError(f"the environment has {told}, but no {' and no '.join(missing)}", hint)
    try:
        world = int(given["WORLD_SIZE"])
        local_world = int(given.get("LOCAL_WORLD_SIZE", world))
        ranks = Ranks(int(given["RANK"]), world, int(given.get("LOCAL_RANK", given["RANK"])), local_world)
    except ValueError:
        raise ConfigError(f"the environment has {told}: expected whole numbers", hint) from None
    if not 0 <= ranks.rank < ranks.world_size or not 0 <= ranks.local_rank < ranks.local_world_size:
        raise ConfigError(f"the environment has {told}: expected a rank below its number of processes", hint)
    return ranks


def _join(ranks: Ranks, device: str) -> ProcessGroup:
    has_gpus = device in ("auto", "cuda") and torch.cuda.is_available()
    if has_gpus:
        if ranks.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"{ranks.local_world_size} processes on this machine, but GPUs: {torch.cuda.device_count()}",
                hint="start one process a GPU (--nproc-per-node gpu), or train on --device cpu",
            )
        torch.cuda.set_device(ranks.local_rank)
    elif device != "cpu" and (device != "auto" or torch.backends.mps.is_available()):
        raise ConfigError(
            f"{ranks.world_size} processes cannot share --device {device}",
            hint="give --device cuda (each process takes its own GPU) or --device cpu",
        )
    try:
        store, _, _ = next(rendezvous("env://", ranks.rank, ranks.world_size, timeout=_TIMEOUT))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if has_gpus else "gloo",
            store=PrefixStore(STORE_PREFIX, store),
            rank=ranks.rank,
            world_size=ranks.world_size,
            timeout=_TIMEOUT,
        )
    except (dist.DistError, OSError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise ConfigError(
            f"rank {ranks.rank} of {ranks.world_size} cannot meet the others at {place}: "
            f"{str(error).splitlines()[0]}",
            hint="are all processes running, and can they reach that address?",
        ) from error
    group = ProcessGroup(
        **dataclasses.asdict(ranks),
        has_gpus=has_gpus,
        store=PrefixStore(ERRORS_PREFIX, store),
        launcher=os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else 0,
    )
    return dataclasses.replace(group, peers=_peers(group))


def _peers(group: ProcessGroup) -> tuple[Peer, ...]:
    """Who the processes are, so that one that dies can be named."""
    here = socket.gethostname()
    own = json.dumps([here, os.getpid()]).encode()
    told = [json.loads(payload) for payload in group.gather_bytes(own)]
    # In another container the same machine's process numbers mean others.
    return tuple(Peer(host, pid if host == here and process_lives(pid) else 0) for host, pid in told)


def process_lives(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended and waits for its parent does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (ProcessLookupError, IndexError):
        return False
    except OSError:
        pass  # no such process, or a system without /proc
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _bytes_tensor(payload: bytes) -> Tensor:
    return (
        torch.frombuffer(bytearray(payload), dtype=torch.uint8)
        if payload
        else torch.empty(0, dtype=torch.uint8)
    )


def _bytes_of(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()
