"""When one of several processes fails or dies: who says so, and in which words (spec 40 section 9.7)."""

from __future__ import annotations

import atexit
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from mast3r_model import Mast3rError
from mast3r_train.loop.distributed import ProcessGroup, process_lives
from mast3r_train.loop.ranks import Ranks

TOLD, SAID = "told", "said"
"""Keys of the group's store: somebody tells an error; it has been said."""

_GO_ON = "the same command goes on from the last checkpoint"
_SECONDS_TO_FIND_CAUSE = 3.0


class LostProcessError(Mast3rError):
    """A process that the training needs has died."""


class ToldElsewhereError(Exception):
    """Another process tells what went wrong; this one leaves without a word.

    Attributes:
        exit_code: what this process returns.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process tells the error")
        self.exit_code = exit_code


@contextmanager
def dead_workers_told(ranks: Ranks) -> Iterator[None]:
    """Say in one line that a process that loads data has died; torch raises wherever the code just is.

    Args:
        ranks: the process that it loads data for.

    Raises:
        LostProcessError: one has died inside the block.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not text.startswith("DataLoader worker"):
            raise
        by = re.search(r"killed by signal: ([\w ]+)", text)
        how = f"was killed (signal: {by[1].strip()})" if by else "has ended"
        whose = f" for rank {ranks.rank}" if ranks.world_size > 1 else ""
        raise LostProcessError(
            f"a process that loads data{whose} {how}; training stopped",
            hint="most often memory ran out: give a smaller --num_workers or --batch_size, or look into the "
            f"system's log; {_GO_ON}",
        ) from error


@contextmanager
def one_voice(ranks: Ranks) -> Iterator[None]:
    """Of an error that several processes meet, one tells, and the others leave without a word.

    An error that another process' end has caused becomes one that names it.

    Raises:
        ToldElsewhereError: another process tells.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(ranks, ProcessGroup):
            raise
        told = error if isinstance(error, Mast3rError) else _cause(error, ranks)
        if told is None or not _first_to_tell(ranks):
            _wait_until_said(ranks)
            raise ToldElsewhereError(getattr(error, "exit_code", 1)) from None
        if told is error:
            raise
        raise told from error


def leave_after_main(ranks: Ranks) -> None:
    """At the end of the work: wait until rank 0 has had its last words.

    A launcher that sees one process leave with an exit code other than 0, as after a signal, ends the others.
    """
    if not isinstance(ranks, ProcessGroup) or ranks.store is None:
        return
    if ranks.is_main:
        atexit.register(_say, ranks.store)
    else:
        _wait_until_said(ranks)


def _cause(error: Exception, group: ProcessGroup) -> Exception | None:
    """What is behind an error that may come from a broken connection; None: another process tells that.

    What broke the connection may take a moment to show.
    """
    end = time.monotonic() + _SECONDS_TO_FIND_CAUSE
    while time.monotonic() < end:
        if _is_told(group):
            return None
        if dead := _dead_ranks(group):
            return LostProcessError(
                f"the process of {' and '.join(dead)} has ended; training stopped",
                hint=f"if it was killed, most often memory ran out: look into the system's log; {_GO_ON}",
            )
        time.sleep(0.1)
    if isinstance(error, dist.DistError) or re.search("gloo|NCCL|[Cc]onnection", str(error)):
        return LostProcessError(
            f"rank {group.rank} has lost the other processes: {str(error).splitlines()[0]}",
            hint=f"look into the output of the other machines; {_GO_ON}",
        )
    return error


def _dead_ranks(group: ProcessGroup) -> list[str]:
    return [
        f"rank {rank} (process {peer.pid} on {peer.host})"
        for rank, peer in enumerate(group.peers)
        if peer.pid and not process_lives(peer.pid)
    ]


def _is_told(group: ProcessGroup) -> bool:
    with suppress(dist.DistError):  # the store may have ended with the process that kept it
        return group.store is not None and group.store.check([TOLD])
    return False


def _first_to_tell(group: ProcessGroup) -> bool:
    if group.store is None:
        return group.is_main
    store = group.store
    try:
        first = store.add(TOLD, 1) == 1
    except dist.DistError:
        return True
    if first:
        atexit.register(_say, store)
    return first


def _say(store: Store) -> None:
    with suppress(dist.DistError):
        store.set(SAID, "1")


def _wait_until_said(group: ProcessGroup) -> None:
    """A launcher ends all processes as soon as one has failed: leave after the one that tells."""
    if group.store is not None:
        with suppress(dist.DistError):
            group.store.wait([SAID], timedelta(seconds=10))
