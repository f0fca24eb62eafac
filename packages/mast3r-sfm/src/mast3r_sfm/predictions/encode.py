"""Features of images by themselves, for what looks at images before pairs are chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from mast3r_model import EncodedImage, OutputError, network_identity, registry
from mast3r_sfm.photos import ImageSet
from mast3r_sfm.progress import Progress, shown

from .cache import PredictionCache
from .keys import features_key
from .options import PredictionOptions
from .plan import encoding_tasks
from .predict import EngineFactory
from .worker import default_batch_size


def encode_images(
    model: Any,
    images: ImageSet,
    *,
    cache: PredictionCache | Path | str | None = None,
    engine: str | EngineFactory = "local",
    options: PredictionOptions | None = None,
    progress: Progress | None = None,
) -> Iterator[EncodedImage]:
    """Encode all images and keep their features, where `predict_pairs` finds them again.

    Args:
        model: a network.
        images: what `open_images` returns.
        cache: a folder, made if missing; None for a temporary one.
        engine: who computes, see `predict_pairs`.
        options: how.
        progress: shows a bar.

    Returns:
        The features of one image after the other, on the CPU; all are computed before the first comes.

    Raises:
        OutputError: the cache cannot be written.
    """
    options = options or PredictionOptions()
    store = cache if isinstance(cache, PredictionCache) else PredictionCache(cache)
    factory = cast(EngineFactory, registry("engines")[engine]) if isinstance(engine, str) else engine
    network = network_identity(model)
    batch_size = default_batch_size(model, options)
    tasks = encoding_tasks(images, range(len(images)), network, store, batch_size=batch_size)
    if tasks:
        count = sum(len(task.images) for task in tasks)
        bar = shown(progress, "encoding images", count)
        with factory(model, store, options) as running, bar as advance:
            for report in running.run(tasks):
                advance(report.images)
    for image in images:
        features = store.read_features(features_key(image, network))
        if features is None:
            raise OutputError(
                f"the features of {image.name} cannot be kept in {store.folder}",
                "is the disk failing, or does something delete files there?",
            )
        yield features
