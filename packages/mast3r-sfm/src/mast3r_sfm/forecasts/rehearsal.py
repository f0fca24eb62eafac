"""One batch of the network's work as a measure of all of it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mast3r_model import network_identity, registry
from mast3r_sfm.options import ReconstructionOptions
from mast3r_sfm.pairs import Pair
from mast3r_sfm.photos import ImageSet
from mast3r_sfm.predictions import Forecast, PredictionCache, PredictionWorker, forecast
from mast3r_sfm.predictions.plan import Plan, encoding_tasks, make_plan
from mast3r_sfm.predictions.predict import EngineFactory
from mast3r_sfm.predictions.tasks import DecodeTask, Task, TaskReport
from mast3r_sfm.predictions.worker import default_batch_size, device_of
from mast3r_sfm.quantities import duration, memory
from mast3r_sfm.scene import DEFAULT_FORMATS

from .alignment import AlignmentForecast, forecast_alignment
from .outputs import forecast_outputs

COUNTED = 20
"""Pairs of a complete cache whose matches are counted."""


@dataclass(frozen=True)
class RunForecast:
    """What a whole run will take; everything is about.

    Attributes:
        predictions: of the network.
        alignment: of all that follows them; None for mappers of which nothing is known.
        output_bytes: of the scene's files, without the cache of predictions.
    """

    predictions: Forecast
    alignment: AlignmentForecast | None
    output_bytes: int

    @property
    def seconds(self) -> float:
        """Of all that is known."""
        return self.predictions.seconds + (self.alignment.seconds if self.alignment else 0.0)

    @property
    def memory_bytes(self) -> int:
        """The most at any time, of a GPU and of the process taken together."""
        return self.predictions.memory_bytes + (self.alignment.memory_bytes if self.alignment else 0)

    @property
    def disk_bytes(self) -> int:
        """Of the cache and of the scene."""
        return self.predictions.disk_bytes + self.output_bytes

    def __str__(self) -> str:
        """Lines for people."""
        lines = [f"predictions: {self.predictions}"]
        if self.alignment is not None:
            lines.append(f"alignment: {self.alignment}")
        lines.append(f"the scene's files: about {memory(self.output_bytes)} on disk")
        lines.append(
            f"together: about {duration(self.seconds)}, {memory(self.memory_bytes)} of memory, "
            f"{memory(self.disk_bytes)} on disk"
        )
        return "\n".join(lines)


def rehearse(
    model: Any,
    images: ImageSet,
    pairs: Sequence[Pair],
    options: ReconstructionOptions | None = None,
    *,
    cache: Path | str | None = None,
    formats: Iterable[str] = DEFAULT_FORMATS,
) -> RunForecast:
    """Judge a whole run by a small part of it, computed twice; nothing of it is kept.

    On the CPU one pair and its two images are computed, on a GPU one batch, since small batches are slower
    there. What the cache holds already does not count.

    Args:
        model: a network.
        images: what `open_images` returns.
        pairs: that would be predicted, by their numbers.
        options: of the run.
        cache: of the run; need not exist.
        formats: that would be exported.

    Raises:
        InputError: pairs that do not fit the images, or a model that cannot be identified.
        DeviceError: a single pair does not fit into memory.
        PluginError: there is no such engine.
    """
    options = options or ReconstructionOptions()
    prediction, network = options.prediction, network_identity(model)
    on_cpu = device_of(model).type == "cpu"
    batch_size = 1 if on_cpu else default_batch_size(model, prediction)
    scratch = PredictionCache()
    kept = PredictionCache(cache) if cache is not None and Path(cache).is_dir() else scratch
    plan = make_plan(images, pairs, network, kept, prediction, batch_size=batch_size)
    measured: list[TaskReport] = []
    if plan.decoding:
        task = plan.decoding[0]
        worker = PredictionWorker(model, scratch, prediction)
        encoding = encoding_tasks(images, _images_of(task, plan), network, scratch, batch_size=batch_size)
        # The last one of each kind counts: the first also pays for warming up.
        works: list[Task] = [*encoding, encoding[-1], task, task]
        measured = [worker.run(work) for work in works]
    factory = cast(EngineFactory, registry("engines")[options.engine])
    ahead = forecast(
        measured,
        images=sum(len(task.images) for task in plan.encoding),
        pairs=sum(len(task.pairs) for task in plan.decoding),
        workers=factory(model, scratch, prediction).workers,
        free_bytes=_free_bytes(kept.folder if cache is None else Path(cache)),
    )
    matches = _matches_of_a_pair(plan, scratch if plan.decoding else kept)
    alignment = None
    if options.mapper == "sparse":
        pixels = sum(math.prod(image.shape) for image in images)
        alignment = forecast_alignment(len(images), len(pairs), matches, pixels=pixels, solver=options.solver)
    return RunForecast(ahead, alignment, forecast_outputs(images, len(pairs) * matches, tuple(formats)))


def _images_of(task: DecodeTask, plan: Plan) -> list[int]:
    """Numbers of the images that a task's pairs are of."""
    wanted = {work.key for work in task.pairs}
    return [
        number for pair, key in zip(plan.pairs, plan.keys, strict=True) if key in wanted for number in pair
    ]


def _matches_of_a_pair(plan: Plan, store: PredictionCache) -> float:
    """The mean of the pairs that were rehearsed, or else of some that the run's cache holds."""
    wanted = {work.key for work in plan.decoding[0].pairs} if plan.decoding else set(plan.keys[:COUNTED])
    found = [
        store.read_matches(key, plan.identities[pair[0]])
        for pair, key in zip(plan.pairs, plan.keys, strict=True)
        if key in wanted
    ]
    counts = [len(matches.confidence) for matches in found if matches is not None]
    return sum(counts) / len(counts) if counts else 0.0


def _free_bytes(folder: Path) -> int:
    """On the disk of a folder that may not exist yet."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    return shutil.disk_usage(existing).free
