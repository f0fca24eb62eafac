"""Start the processes that train together on this machine (``--nproc-per-node``), and wait for them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.elastic.multiprocessing import (
    DefaultLogsSpecs,
    PContext,
    RunProcsResult,
    SignalException,
    start_processes,
)

from mast3r_model import ConfigError
from mast3r_train.loop.distributed import ERRORS_PREFIX
from mast3r_train.loop.failures import TOLD, LostProcessError
from mast3r_train.loop.ranks import usable_cpus

_ADDRESS = "127.0.0.1"
_SECONDS_TO_STOP = 24 * 3600  # an update in progress may take long; a second signal ends it at once
_HANDLED = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name)
]


def process_count(wanted: str | None) -> int:
    """How many processes ``--nproc-per-node`` asks this process to start; 1 = none.

    Those that torchrun or this program has started have their number from the environment.

    Args:
        wanted: a number, ``gpu`` (one a GPU), ``auto`` (the same, and 1 without GPUs), or None.

    Raises:
        ConfigError: ``gpu`` without one, or something else.
    """
    if wanted is None or "RANK" in os.environ:
        return 1
    if wanted in ("auto", "gpu"):
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if gpus == 0 and wanted == "gpu":
            raise ConfigError("--nproc-per-node gpu, but there is no CUDA device", hint="give a number")
        return max(gpus, 1)
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ConfigError(f"--nproc-per-node is {wanted!r}; expected a number from 1, auto or gpu")
    return int(wanted)


def launch(module: str, words: Sequence[str], count: int) -> int:
    """Run ``python -m module words...`` in ``count`` processes; returns the exit code of all.

    Ctrl-C and SIGTERM are passed on, and the processes stop as a single one would; a second one ends them at
    once. If one fails, the others are ended.

    Raises:
        LostProcessError: a process was killed and no other could say so.
    """
    # The meeting place is here, so that it outlives any of them and no port has to be guessed.
    store = TCPStore(_ADDRESS, 0, is_master=True, wait_for_workers=False)
    common = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": _ADDRESS,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RUN_ID": "mast3r",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, usable_cpus() // count))),
    }
    with _signals_kept(), _without_torchs_log():
        processes = start_processes(
            "train",
            sys.executable,
            args=dict.fromkeys(range(count), ("-m", module, *words)),
            envs={rank: {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)},
            logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        )
        result = _ended(processes)
    if not result.failures:
        return 0
    failures = sorted(result.failures.values(), key=lambda failure: failure.timestamp)
    own_codes = [failure.exitcode for failure in failures if failure.exitcode > 0]
    if not own_codes and not PrefixStore(ERRORS_PREFIX, store).check([TOLD]):
        first = failures[0]
        raise LostProcessError(
            f"the process of rank {first.local_rank} was killed by {signal.Signals(-first.exitcode).name}",
            hint="if it was not you, most often memory ran out: look into the system's log; the same command "
            "goes on from the last checkpoint",
        )
    return own_codes[0] if own_codes else 1


def _ended(processes: PContext) -> RunProcsResult:
    """Wait until all have ended, or one has failed and the others are ended."""
    try:
        result = processes.wait(period=0.1)
    except SignalException as asked:
        try:
            processes.close(asked.sigval, timeout=_SECONDS_TO_STOP)
        except SignalException:
            processes.close(signal.SIGKILL)
        result = processes.wait(timeout=0)
    assert result is not None
    return result


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Torch's launcher sets handlers, and leaves them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _HANDLED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _without_torchs_log() -> Iterator[None]:
    """The processes say themselves what happened to them."""
    logger = logging.getLogger("torch.distributed.elastic.multiprocessing.api")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
