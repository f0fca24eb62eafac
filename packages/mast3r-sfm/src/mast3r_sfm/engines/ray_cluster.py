"""The engine of a Ray cluster (extra ``ray``)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import torch

from mast3r_model import EncodedImage, PluginError
from mast3r_sfm.predictions.cache import PredictionCache
from mast3r_sfm.predictions.files import BrokenRecordError, Record, features_from_bytes
from mast3r_sfm.predictions.options import PredictionOptions
from mast3r_sfm.predictions.tasks import DecodeTask, Task, TaskReport
from mast3r_sfm.predictions.worker import PredictionWorker

from .retries import TaskQueue
from .transport import ModelSource, shipped_by_value

CPU_WORKERS = 2
FEATURES_IN_CLUSTER = 256
"""Features of so many images stay in the cluster's object store."""


class RayEngine:
    """Actors on a Ray cluster, one a GPU; without any, a few on CPUs. See `Engine`.

    The cluster's machines need no common disk: features travel through Ray's object store, results come back
    as file contents and are written here. An actor that dies is replaced, and its task done again.

    Args:
        model: a network, on any device.
        cache: of this machine.
        options: ``workers`` bounds the number of actors.

    Raises:
        PluginError: Ray is not installed.
    """

    def __init__(self, model: Any, cache: PredictionCache, options: PredictionOptions) -> None:
        try:
            import ray
        except ImportError as error:
            raise PluginError(
                "the engine 'ray' needs Ray, which is not installed", "pip install 'mast3r-sfm[ray]'"
            ) from error
        self._ray = ray
        self._model = model
        self._cache = cache
        self._options = options
        self._sent: OrderedDict[str, Any] = OrderedDict()
        self._actors: list[Any] = []
        self._source: Any = None
        self._started_ray = False
        self.workers = options.workers or 1

    def __enter__(self) -> Self:
        """Join the cluster (``RAY_ADDRESS``), or start one on this machine, and start the actors."""
        ray = self._ray
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False)
            self._started_ray = True
        resources = ray.cluster_resources()
        self._gpus = int(resources.get("GPU", 0))
        # Actors beyond what the cluster has would wait for ever.
        room = self._gpus or max(1, int(resources.get("CPU", 1)))
        self.workers = min(room, self._options.workers or self._gpus or CPU_WORKERS)
        self._source = ray.put(shipped_by_value(self._model))
        self._actors = [self._new_actor() for _ in range(self.workers)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the actors, and Ray if it was started here."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors, self._source = [], None
        self._sent.clear()
        if self._started_ray:
            self._ray.shutdown()

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskReport]:
        """Do all tasks; see `Engine`."""
        queue = TaskQueue(tasks)
        idle = list(self._actors)
        running: dict[Any, tuple[Any, Task, int]] = {}
        while queue or running:
            while queue and idle:
                task, losses = queue.take()
                actor = idle.pop()
                running[self._start(actor, task)] = (actor, task, losses)
            (done,), _ = self._ray.wait(list(running), num_returns=1)
            actor, task, losses = running.pop(done)
            try:
                report, records = self._ray.get(done)
            except self._ray.exceptions.RayActorError as error:
                self._actors.remove(actor)
                queue.put_back(task, losses, str(error).splitlines()[0])
                actor = self._new_actor()
                self._actors.append(actor)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, Exception) else error from None
            else:
                self._cache.write(records)
                yield report
            idle.append(actor)

    def _new_actor(self) -> Any:
        on_gpu = self._gpus > 0
        remote = self._ray.remote(num_gpus=1, num_cpus=0) if on_gpu else self._ray.remote(num_cpus=1)
        return remote(_Actor).remote(self._source, self._options, "cuda" if on_gpu else "cpu")

    def _start(self, actor: Any, task: Task) -> Any:
        keys = task.needs() if isinstance(task, DecodeTask) else []
        return actor.run.remote(task, keys, *(self._features(key) for key in keys))

    def _features(self, key: str) -> Any:
        """Features in the cluster's store: a reference, sent once."""
        if key not in self._sent:
            self._sent[key] = self._ray.put(self._cache.path("features", key).read_bytes())
        self._sent.move_to_end(key)
        while len(self._sent) > FEATURES_IN_CLUSTER:
            self._sent.popitem(last=False)
        return self._sent[key]


class _CarriedStore:
    """Features that came with a task, and results on their way back."""

    def __init__(self) -> None:
        self.features: dict[str, bytes] = {}
        self.records: list[Record] = []

    def read_features(self, key: str) -> EncodedImage | None:
        try:
            return features_from_bytes(self.features[key], key)
        except (KeyError, BrokenRecordError):
            return None

    def write(self, records: Sequence[Record]) -> None:
        self.records += records


class _Actor:
    """A worker on some machine of the cluster."""

    def __init__(self, source: ModelSource, options: PredictionOptions, device: str) -> None:
        self._store = _CarriedStore()
        self._worker = PredictionWorker(source.build(torch.device(device)), self._store, options)

    def run(self, task: Task, keys: Sequence[str], *features: bytes) -> tuple[TaskReport, list[Record]]:
        self._store.features = dict(zip(keys, features, strict=True))
        self._store.records = []
        report = self._worker.run(task)
        return report, self._store.records
