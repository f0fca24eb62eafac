"""From pairs to what mappers need: predictions, canonical views, matches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mast3r_model import AsymmetricCroCo3DStereo
from mast3r_sfm.known_cameras import KnownCameras
from mast3r_sfm.options import ReconstructionOptions
from mast3r_sfm.pairs import Pair
from mast3r_sfm.photos import ImageSet
from mast3r_sfm.predictions import Forecast, PredictionCache, predict_pairs
from mast3r_sfm.progress import OnLoss, Progress
from mast3r_sfm.report import StageLog
from mast3r_sfm.scene import Scene

from .gathering import gather
from .task import MappingTask


def prepare_mapping(
    images: ImageSet,
    model: AsymmetricCroCo3DStereo,
    pairs: Sequence[Pair],
    *,
    known: KnownCameras | None,
    cache: PredictionCache,
    options: ReconstructionOptions,
    log: StageLog,
    progress: Progress | None,
    on_forecast: Callable[[Forecast], None] | None,
    on_partial: Callable[[Scene], None] | None = None,
    on_loss: OnLoss | None = None,
) -> MappingTask:
    """Predict the pairs, and gather what they say of images and matches; arguments as for `reconstruct`."""
    with log.stage("predictions"):
        predictions = predict_pairs(
            model,
            images,
            pairs,
            cache=cache,
            engine=options.engine,
            options=options.prediction,
            progress=progress,
            on_forecast=on_forecast,
        )
    with log.stage("canonical views"):
        gathered = gather(
            images,
            predictions,
            subsample=options.prediction.matching.subsample or 8,
            verify=options.verify,
            matching_confidence=options.matching_confidence,
            upstream_centers=options.solver == "adam",
            progress=progress,
        )
    return MappingTask(images, predictions, gathered, known, options, log, progress, on_partial, on_loss)
