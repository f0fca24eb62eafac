"""Encodes images, decodes pairs both ways and matches them: what every engine runs (spec 30 section 3.1)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_match import match_prediction
from mast3r_model import EncodedImage, InputError, PairPrediction
from mast3r_sfm.photos import network_input

from .files import Record, pack_features, pack_pair
from .memory import FittingBatches, peak_bytes
from .options import PredictionOptions
from .records import TwoViewPrediction
from .tasks import DecodeTask, EncodeTask, PairWork, Store, Task, TaskReport

BATCH_ON_GPU = 16
BATCH_ON_CPU = 4


class PredictionWorker:
    """Carries out tasks with one network on one device.

    Args:
        model: a network.
        store: where features come from and results go.
        options: how.
    """

    def __init__(self, model: Any, store: Store, options: PredictionOptions) -> None:
        self.device = device_of(model)
        self._model = model
        self._store = store
        self._options = options
        self._features: OrderedDict[str, EncodedImage] = OrderedDict()
        size = default_batch_size(model, options)
        self._encoding = FittingBatches(size, self._features.clear)
        self._decoding = FittingBatches(size, self._features.clear)

    @torch.no_grad()
    def run(self, task: Task) -> TaskReport:
        """Do one task and keep its results.

        Raises:
            DeviceError: a single image or pair does not fit into memory.
            InputError: features that the task needs are missing.
            OutputError: the results cannot be written.
        """
        started = time.monotonic()
        records = self._encode(task) if isinstance(task, EncodeTask) else self._decode(task)
        self._store.write(records)
        return TaskReport(
            images=len(task.images) if isinstance(task, EncodeTask) else 0,
            pairs=len(task.pairs) if isinstance(task, DecodeTask) else 0,
            seconds=time.monotonic() - started,
            written_bytes=sum(len(record.data) for record in records),
            peak_bytes=peak_bytes(self.device),
        )

    def _encode(self, task: EncodeTask) -> list[Record]:
        tensors = [network_input(work.pixels) for work in task.images]

        def compute(batch: Sequence[Tensor]) -> list[EncodedImage]:
            return self._model.encode(list(batch), batch_size=len(batch))

        features = self._encoding.run(tensors, compute, "images")
        for work, encoded in zip(task.images, features, strict=True):
            self._keep(work.key, encoded)
        return [pack_features(encoded, work.key) for work, encoded in zip(task.images, features, strict=True)]

    def _decode(self, task: DecodeTask) -> list[Record]:
        return self._decoding.run(task.pairs, self._decode_batch, "pairs")

    def _decode_batch(self, works: Sequence[PairWork]) -> list[Record]:
        keys = DecodeTask(tuple(works)).needs()
        features = [self._load(key) for key in keys]
        number = {key: index for index, key in enumerate(keys)}
        pairs = [(number[work.features0], number[work.features1]) for work in works]
        both_ways = [way for first, second in pairs for way in ((first, second), (second, first))]
        decoded = iter(self._model.decode_pairs(features, both_ways, batch_size=len(both_ways)))
        return [self._finish(work, next(decoded), next(decoded)) for work in works]

    def _finish(self, work: PairWork, forward: PairPrediction, reverse: PairPrediction) -> Record:
        matches = match_prediction(
            forward,
            reverse=reverse,
            options=self._options.matching,
            allowed0=_on(work.allowed0, forward.pts3d1.device),
            allowed1=_on(work.allowed1, forward.pts3d1.device),
        )
        prediction = TwoViewPrediction(
            image0=0,
            image1=1,
            pts3d_00=forward.pts3d1,
            conf_00=_confidence(forward.conf1, forward.pts3d1),
            pts3d_10=forward.pts3d2_in_view1,
            conf_10=_confidence(forward.conf2, forward.pts3d2_in_view1),
            pts3d_11=reverse.pts3d1,
            conf_11=_confidence(reverse.conf1, reverse.pts3d1),
            pts3d_01=reverse.pts3d2_in_view1,
            conf_01=_confidence(reverse.conf2, reverse.pts3d2_in_view1),
            matches=matches,
        )
        return pack_pair(prediction, work.key, work.first, self._options.storage)

    def _load(self, key: str) -> EncodedImage:
        features = self._features.get(key)
        if features is None:
            features = self._store.read_features(key)
            if features is None:
                raise InputError(
                    "features of an image have vanished from the cache while they were needed",
                    "start the same command again; two runs may share a cache, but not delete in it",
                )
            features = features.to(self.device)
        self._keep(key, features)
        return features

    def _keep(self, key: str, features: EncodedImage) -> None:
        self._features[key] = features
        self._features.move_to_end(key)
        while len(self._features) > self._options.features_kept:
            self._features.popitem(last=False)


def device_of(model: Any) -> torch.device:
    """Where a network's weights are; the CPU for one without weights."""
    parameters = getattr(model, "parameters", None)
    first = next(iter(parameters()), None) if callable(parameters) else None
    return torch.device("cpu") if first is None else first.device


def default_batch_size(model: Any, options: PredictionOptions) -> int:
    """Images, and unordered pairs, at a time."""
    on_cpu = device_of(model).type == "cpu"
    return options.batch_size or (BATCH_ON_CPU if on_cpu else BATCH_ON_GPU)


def _confidence(given: Float[Tensor, "h w"] | None, points: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w"]:
    return torch.ones_like(points[..., 0]) if given is None else given


def _on(allowed: Bool[np.ndarray, "h w"] | None, device: torch.device) -> Bool[Tensor, "h w"] | None:
    return None if allowed is None else torch.from_numpy(allowed).to(device)
