"""Which photos are to meet."""

from __future__ import annotations

from typing import Any

import numpy as np

from mast3r_match import make_retriever
from mast3r_model import AsymmetricCroCo3DStereo

from .options import ReconstructionOptions
from .pairs import Pair, graph_pairs
from .photos import ImageSet
from .predictions import PredictionCache, encode_images
from .progress import Progress, shown


def choose_pairs(
    images: ImageSet,
    model: AsymmetricCroCo3DStereo,
    cache: PredictionCache,
    options: ReconstructionOptions,
    progress: Progress | None = None,
) -> list[Pair]:
    """The pairs of ``options.graph``; if that asks which images look alike, they are encoded now."""

    def similarity() -> np.ndarray:
        retriever = make_retriever(options.retriever, model)
        features = encode_images(
            model, images, cache=cache, engine=options.engine, options=options.prediction, progress=progress
        )
        described: list[Any] = []
        with shown(progress, "comparing images", len(images)) as advance:
            for one in features:
                described += retriever.describe([one])
                advance(1)
        return np.asarray(retriever.similarity(described, described), dtype=np.float32)

    return graph_pairs(options.graph, len(images), similarity=similarity)
