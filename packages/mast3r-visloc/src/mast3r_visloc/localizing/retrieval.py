"""Which map images to try for a query (spec 50 D2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float

from mast3r_match import Retriever, make_retriever
from mast3r_match.retrieval import EncoderRetriever
from mast3r_model import EncodedImage, InputError
from mast3r_visloc.datasets import Candidate, Query

from .index import MapIndex
from .retrieval_vectors import pooled_tokens

SHORTLIST = 200
"""Of larger maps, so many images by one pooled vector each are looked at more closely."""

NEAR_ANGLE = 60.0
"""Degrees between directions of view beyond which a map image is no candidate for a known place."""

Prior = Float[np.ndarray, "4 4"] | Float[np.ndarray, " 3"]
"""What is known beforehand of a query: a rough cam2world, or the camera's centre alone."""

_AT_ONCE = 32


class CandidateFinder(Protocol):
    """Which map images to try for a query."""

    def __call__(self, query: Query, encoded: EncodedImage) -> Sequence[Candidate]:
        """The best ones, best first.

        Args:
            query: the photo.
            encoded: its features.

        Raises:
            InputError: nothing is known of this query.
        """
        ...


class AllImages:
    """Every image of the map, in its order.

    Args:
        index: of the map.
    """

    def __init__(self, index: MapIndex) -> None:
        self._candidates = tuple(Candidate(image.name, 1.0) for image in index.map.images)

    def __call__(self, query: Query, encoded: EncodedImage) -> Sequence[Candidate]:
        return self._candidates


class ListedImages:
    """The images that a list names for each query.

    Args:
        pairs: candidates by the name of the query.
        index: of the map; images that it lacks are left out.
        topk: at most so many.
    """

    def __init__(self, pairs: Mapping[str, Sequence[Candidate]], index: MapIndex, topk: int) -> None:
        self._pairs, self._known, self._topk = pairs, index.map.index_of, topk

    def __call__(self, query: Query, encoded: EncodedImage) -> Sequence[Candidate]:
        if query.name not in self._pairs:
            raise InputError(
                f"the list of pairs does not name the query {query.name!r}",
                f"it names {', '.join(list(self._pairs)[:3])}, ...",
            )
        return [pair for pair in self._pairs[query.name] if pair.name in self._known][: self._topk]


class NearImages:
    """Images taken near a pose, or a place, that is roughly known.

    Args:
        priors: by the name of the query: 4x4 cam2world, or (3,) the camera's centre where no more is known.
        index: of the map; images without a pose are left out.
        topk: at most so many.
        radius: in the map's unit; None for any distance.
    """

    def __init__(
        self,
        priors: Mapping[str, Prior],
        index: MapIndex,
        topk: int,
        radius: float | None = None,
    ) -> None:
        self._priors, self._topk, self._radius = priors, topk, radius
        posed = [image for image in index.map.images if image.cam2world is not None]
        self._names = [image.name for image in posed]
        self._poses = np.array([image.cam2world for image in posed]).reshape(-1, 4, 4)

    def __call__(self, query: Query, encoded: EncodedImage) -> Sequence[Candidate]:
        prior = self._priors.get(query.name)
        if prior is None:
            raise InputError(f"no rough pose of {query.name!r} is known", "give one line for each query")
        centre = prior if prior.ndim == 1 else prior[:3, 3]
        distance = np.linalg.norm(self._poses[:, :3, 3] - centre, axis=1)
        near = np.ones(len(distance), dtype=bool)
        if prior.ndim == 2:
            along = np.clip(self._poses[:, :3, 2] @ prior[:3, 2], -1, 1)
            near = np.degrees(np.arccos(along)) < NEAR_ANGLE
        if self._radius is not None:
            near &= distance <= self._radius
        order = [row for row in np.argsort(distance, kind="stable") if near[row]][: self._topk]
        return [Candidate(self._names[row], -float(distance[row])) for row in order]


class AlikeImages:
    """The images that look most like the query.

    Of large maps a shortlist is made by one vector per image, the generalised mean of the encoder's tokens,
    which an index keeps, and only the shortlist is compared by the retriever.

    Args:
        retriever: compares images.
        index: of the map.
        topk: at most so many.
        progress: called with the number of map images just described.
    """

    def __init__(
        self,
        retriever: Retriever,
        index: MapIndex,
        topk: int,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._retriever, self._index, self._topk = retriever, index, topk
        self._numbers: list[int] = []
        pooled: list[torch.Tensor] = []
        self._described: dict[int, object] = {}
        keep = len(index.map) <= SHORTLIST
        for start in range(0, len(index.map), _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, len(index.map)))
            if keep:
                features = index.get(numbers)
                images = [found.encoded for found in features.values()]
                self._described |= dict(zip(features, retriever.describe(images), strict=True))
                self._numbers += list(features)
            else:
                vectors = index.pooled(numbers)
                pooled += vectors.values()
                self._numbers += list(vectors)
            if progress is not None:
                progress(min(_AT_ONCE, len(index.map) - start))
        self._pooled = torch.stack(pooled) if pooled else torch.zeros(0, 0)
        if not keep and isinstance(retriever, EncoderRetriever):
            # Else what tells tokens apart would be fitted anew to every query's shortlist.
            step = -(-len(self._numbers) // SHORTLIST)
            sample = index.get(self._numbers[::step])
            retriever.fit(retriever.describe([found.encoded for found in sample.values()]))

    def __call__(self, query: Query, encoded: EncodedImage) -> Sequence[Candidate]:
        if not self._numbers:
            return []
        shortlist = self._shortlist(encoded)
        if self._described:
            database = [self._described[number] for number in shortlist]
        else:
            features = self._index.get(shortlist)
            shortlist = list(features)
            database = list(self._retriever.describe([found.encoded for found in features.values()]))
        similarity = self._retriever.similarity(self._retriever.describe([encoded]), database)[0]
        best = np.argsort(-similarity, kind="stable")[: self._topk]
        names = [self._index.map.images[number].name for number in shortlist]
        return [Candidate(names[row], float(similarity[row])) for row in best]

    def _shortlist(self, encoded: EncodedImage) -> list[int]:
        if len(self._numbers) <= SHORTLIST:
            return self._numbers
        alike = self._pooled @ pooled_tokens(encoded)
        return [self._numbers[row] for row in alike.topk(SHORTLIST).indices.tolist()]


def candidate_finder(
    retrieval: str,
    index: MapIndex,
    *,
    topk: int,
    pairs: Mapping[str, Sequence[Candidate]] | None = None,
    priors: Mapping[str, Prior] | None = None,
    radius: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> CandidateFinder:
    """What ``--retrieval`` names.

    Args:
        retrieval: ``auto``, ``all``, ``near``, ``pairs``, the name of a retriever or the path of a retrieval
            checkpoint; ``auto`` is ``encoder``, which needs nothing but the network (the commands put the
            checkpoint that belongs to the network in its place, where it is at hand).
        index: of the map.
        topk: at most so many candidates, but for ``all``.
        pairs: candidates by the query's name, for ``pairs``.
        priors: rough poses or places by the query's name, for ``near``.
        radius: for ``near``.
        progress: called with the number of map images just described.

    Raises:
        InputError: an unknown name, or what it needs was not given.
        CheckpointError: a retrieval checkpoint that cannot be read.
    """
    if retrieval == "all":
        return AllImages(index)
    if retrieval == "pairs":
        if pairs is None:
            raise InputError("retrieval by pairs needs a list of pairs", "give --retrieval file:PATH")
        return ListedImages(pairs, index, topk)
    if retrieval == "near":
        if priors is None:
            raise InputError("retrieval near a pose needs rough poses", "give --prior FILE")
        return NearImages(priors, index, topk, radius)
    name = "encoder" if retrieval == "auto" else retrieval
    name = str(Path(name).expanduser()) if Path(name).expanduser().is_file() else name
    return AlikeImages(make_retriever(name, index.model), index, topk, progress)
