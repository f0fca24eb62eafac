"""The engine of several devices: one process each."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import torch.multiprocessing as multiprocessing

from mast3r_model import DeviceError, Mast3rError
from mast3r_sfm.predictions.cache import PredictionCache
from mast3r_sfm.predictions.options import PredictionOptions
from mast3r_sfm.predictions.tasks import Task, TaskReport
from mast3r_sfm.predictions.worker import PredictionWorker

from .retries import TaskQueue
from .transport import ModelSource, shipped_by_file

CPU_WORKERS = 2


@dataclass(eq=False)
class _Process:
    """A worker's process, the line to it, and what it is at."""

    process: Any
    connection: Connection
    work: tuple[Task, int] | None = field(default=None)


class ProcessesEngine:
    """One process on every CUDA device; without any, a few on the CPU. See `Engine`.

    Workers read features from the cache and write results to it; only tasks and reports travel. A worker that
    ends (killed, out of memory) is not replaced: the others do its work.

    Args:
        model: a network, on any device.
        cache: of this machine.
        options: ``workers`` bounds the number of processes.
    """

    def __init__(self, model: Any, cache: PredictionCache, options: PredictionOptions) -> None:
        self._model = model
        self._cache = cache
        self._options = options
        self._devices = worker_devices(options.workers)
        self._processes: list[_Process] = []
        self._cleanup = ExitStack()

    @property
    def workers(self) -> int:
        """Processes that are alive, or will be."""
        return len(self._processes) or len(self._devices)

    def __enter__(self) -> Self:
        """Start the processes."""
        source, closing = shipped_by_file(self._model)
        self._cleanup.enter_context(closing)
        context = multiprocessing.get_context("spawn")
        threads = max(1, torch.get_num_threads() // len(self._devices))
        for device in self._devices:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve,
                args=(theirs, source, self._cache.folder, self._options, device, threads),
                daemon=True,
            )
            process.start()
            theirs.close()
            self._processes.append(_Process(process, ours))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the processes: kindly, or at once if something went wrong."""
        for worker in self._processes:
            with suppress(OSError):
                worker.connection.send(None)
            worker.connection.close()
            if error is not None:
                worker.process.terminate()
            worker.process.join()
        self._processes = []
        self._cleanup.close()

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskReport]:
        """Do all tasks; see `Engine`."""
        queue = TaskQueue(tasks)
        while queue or any(worker.work for worker in self._processes):
            for worker in list(self._processes):
                if worker.work is None and queue:
                    worker.work = queue.take()
                    with suppress(OSError):  # a worker that is gone is noticed below
                        worker.connection.send(worker.work[0])
            busy = {worker.connection: worker for worker in self._processes if worker.work}
            for connection in wait(list(busy)):
                reply = self._receive(busy[connection], queue)  # type: ignore[index]
                if reply is not None:
                    yield reply

    def _receive(self, worker: _Process, queue: TaskQueue) -> TaskReport | None:
        assert worker.work is not None
        try:
            reply = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._processes.remove(worker)
            queue.put_back(*worker.work, f"exit code {worker.process.exitcode}")
            if not self._processes:
                raise DeviceError(
                    "all worker processes have ended", "is memory short? start the same command again"
                ) from None
            return None
        worker.work = None
        if isinstance(reply, BaseException):
            raise reply
        return reply


def worker_devices(workers: int | None) -> list[torch.device]:
    """One device for each worker.

    Args:
        workers: at most so many; None for all CUDA devices, else two on the CPU.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count:
        return [torch.device("cuda", index) for index in range(min(count, workers or count))]
    return [torch.device("cpu")] * (workers or CPU_WORKERS)


def _serve(
    connection: Connection,
    source: ModelSource,
    folder: Path,
    options: PredictionOptions,
    device: torch.device,
    threads: int,
) -> None:
    """A worker's life: tasks in, reports or errors out, until None comes or the line is cut."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    torch.set_num_threads(threads)
    worker: PredictionWorker | None = None
    with suppress(EOFError, BrokenPipeError):
        while (task := connection.recv()) is not None:
            reply: TaskReport | Exception
            try:
                worker = worker or PredictionWorker(source.build(device), PredictionCache(folder), options)
                reply = worker.run(task)
            except Mast3rError as error:
                reply = error
            except Exception as error:  # others may not survive the journey as they are
                reply = RuntimeError(f"{type(error).__name__}: {error}")
            connection.send(reply)
