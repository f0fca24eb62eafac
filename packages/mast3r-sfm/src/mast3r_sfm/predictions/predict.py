"""Predictions of many pairs: each image encoded once, each pair decoded both ways, all kept on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias, cast

from mast3r_match import Correspondences
from mast3r_model import OutputError, network_identity, registry
from mast3r_sfm.pairs import Pair
from mast3r_sfm.photos import ImageSet
from mast3r_sfm.progress import Progress as Progress
from mast3r_sfm.progress import shown

from .cache import PredictionCache
from .forecast import Forecast, forecast
from .options import PredictionOptions
from .plan import Plan, make_plan
from .records import TwoViewPrediction
from .tasks import Task, TaskReport
from .worker import default_batch_size

LOGGER = logging.getLogger("mast3r.sfm.predictions")

EngineFactory: TypeAlias = Callable[[Any, PredictionCache, PredictionOptions], Any]
"""What `registry("engines")` holds; see `mast3r_sfm.engines.Engine`."""


class PredictedPairs(Sequence[TwoViewPrediction]):
    """The predictions of a list of pairs, read from the cache when they are asked for.

    Attributes:
        pairs: two image numbers each, in the order of the request.
        cache: where they are; a temporary one lasts as long as this object.
    """

    def __init__(self, plan: Plan, cache: PredictionCache, compute: Callable[[Sequence[Pair]], None]) -> None:
        self.pairs = plan.pairs
        self.cache = cache
        self._plan = plan
        self._compute = compute

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> TwoViewPrediction:  # type: ignore[override]
        """The prediction of one pair, on the CPU; computed again if its file has been lost or broken."""
        pair, key = self.pairs[index], self._plan.keys[index]
        first = self._plan.identities[pair[0]]
        return self._read(index, lambda: self.cache.read_pair(key, first, pair))

    def __iter__(self) -> Iterator[TwoViewPrediction]:
        """The predictions one by one; only one is in memory at a time."""
        return (self[index] for index in range(len(self)))

    def matches(self, index: int) -> Correspondences:
        """Only the matches of one pair: a small part of its file is read."""
        pair, key = self.pairs[index], self._plan.keys[index]
        return self._read(index, lambda: self.cache.read_matches(key, self._plan.identities[pair[0]]))

    def _read(self, index: int, read: Callable[[], Any]) -> Any:
        found = read()
        if found is None:
            self._compute([self.pairs[index]])
            found = read()
        if found is None:
            raise OutputError(
                f"the prediction of pair {self.pairs[index]} cannot be kept in {self.cache.folder}",
                "is the disk failing, or does something delete files there?",
            )
        return found


def predict_pairs(
    model: Any,
    images: ImageSet,
    pairs: Sequence[Pair],
    *,
    cache: PredictionCache | Path | str | None = None,
    engine: str | EngineFactory = "local",
    options: PredictionOptions | None = None,
    progress: Progress | None = None,
    on_forecast: Callable[[Forecast], None] | None = None,
) -> PredictedPairs:
    """Predict and match many pairs of images (spec 30 section 3)::

        predictions = predict_pairs(model, images, graph_pairs("complete", len(images)), cache="scene/cache")
        for prediction in predictions:
            prediction.pts3d_10, prediction.matches

    What the cache holds already is not computed again. A run that was killed goes on where it stopped.

    Args:
        model: a network.
        images: what `open_images` returns.
        pairs: two image numbers each.
        cache: a folder, made if missing; None for a temporary one.
        engine: who computes: a name of ``registry("engines")`` (``local``, ``multi-gpu``, ``ray``), or the
            factory itself.
        options: how.
        progress: shows bars.
        on_forecast: is told what is ahead after the first batches, before the long part.

    Returns:
        The predictions in the order of `pairs`; all are on the disk when this returns.

    Raises:
        InputError: pairs that do not fit the images, or a model that cannot be identified.
        DeviceError: a single pair does not fit into memory.
        OutputError: the cache cannot be written; what it holds stays valid.
        PluginError: there is no such engine.
    """
    options = options or PredictionOptions()
    store = cache if isinstance(cache, PredictionCache) else PredictionCache(cache)
    factory = cast(EngineFactory, registry("engines")[engine]) if isinstance(engine, str) else engine
    network = network_identity(model)
    batch_size = default_batch_size(model, options)

    def plan_for(chosen: Sequence[Pair]) -> Plan:
        return make_plan(images, chosen, network, store, options, batch_size=batch_size)

    def compute(plan: Plan, shown: Progress | None, tell: Callable[[Forecast], None] | None) -> None:
        if plan.decoding:
            with factory(model, store, options) as running:
                _execute(plan, running, store, shown, tell)

    plan = plan_for(pairs)
    LOGGER.info(
        "%d pairs: %d are in the cache",
        len(pairs),
        len(pairs) - sum(len(task.pairs) for task in plan.decoding),
    )
    compute(plan, progress, on_forecast)
    return PredictedPairs(plan, store, lambda chosen: compute(plan_for(chosen), None, None))


def _execute(
    plan: Plan,
    engine: Any,
    cache: PredictionCache,
    progress: Progress | None,
    on_forecast: Callable[[Forecast], None] | None,
) -> None:
    """First what the first batches need and these themselves, then the forecast, then the rest."""
    probed = plan.decoding[:2] if len(plan.decoding) > 2 else plan.decoding[:1]
    needed = {key for task in probed for key in task.needs()}
    early = [task for task in plan.encoding if needed & {image.key for image in task.images}]
    late = [task for task in plan.encoding if not needed & {image.key for image in task.images}]
    images = sum(len(task.images) for task in plan.encoding)
    pairs = sum(len(task.pairs) for task in plan.decoding)
    with ExitStack() as bars:
        show_images = bars.enter_context(shown(progress, "encoding images", images))
        show_pairs = bars.enter_context(shown(progress, "decoding pairs", pairs))

        def run(tasks: Sequence[Task]) -> list[TaskReport]:
            reports: list[TaskReport] = []
            for report in engine.run(tasks):
                reports.append(report)
                show_images(report.images)
                show_pairs(report.pairs)
            return reports

        measured = run(early)
        for task in probed:
            measured += run([task])
        ahead = forecast(
            measured,
            images=images - sum(report.images for report in measured),
            pairs=pairs - sum(report.pairs for report in measured),
            workers=engine.workers,
            free_bytes=cache.free_bytes(),
        )
        _tell(ahead, on_forecast)
        run(late)
        run(plan.decoding[len(probed) :])


def _tell(ahead: Forecast, on_forecast: Callable[[Forecast], None] | None) -> None:
    LOGGER.info("ahead: %s", ahead)
    if ahead.disk_bytes > ahead.free_bytes:
        LOGGER.warning(
            "the predictions still to come need %.1f GiB, but the disk of the cache has %.1f GiB left",
            ahead.disk_bytes / 2**30,
            ahead.free_bytes / 2**30,
        )
    if on_forecast is not None:
        on_forecast(ahead)
