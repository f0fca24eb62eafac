"""What the preparations may ask of a network: query pairs by retrieval, matches of the map's photos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mast3r_match import Matches, MatchOptions, Retriever, match_pairs
from mast3r_model import AsymmetricCroCo3DStereo

from .contract import CandidateFinder, CandidateRequest, Track
from .running import untracked

PHOTOS_AT_ONCE = 8
PAIRS_AT_ONCE = 256
"""Pairs whose photos' features are kept at a time."""


def retrieval_candidates(
    retriever: Retriever, label: str, *, topk: int, track: Track = untracked
) -> CandidateFinder:
    """Candidates by how alike photos look.

    Args:
        retriever: says how alike, see `mast3r_match.make_retriever`.
        label: its name, for the file of pairs.
        topk: how many map images for each query.
        track: shows progress.
    """

    def find(request: CandidateRequest) -> Iterator[tuple[str, str, float]]:
        paths = [*request.map_photos.values(), *request.queries.values()]
        parts = [paths[start : start + PHOTOS_AT_ONCE] for start in range(0, len(paths), PHOTOS_AT_ONCE)]
        described: list[object] = []
        for part in track(parts, f"describing {request.scene}".rstrip(), len(parts)):
            described += retriever.describe(part)
        mapped = described[: len(request.map_photos)]
        names = list(request.map_photos)
        for name, query in zip(request.queries, described[len(mapped) :], strict=True):
            scores = np.asarray(retriever.similarity([query], mapped))[0]
            best = np.argsort(-scores, kind="stable")[:topk]
            yield from ((name, names[place], float(scores[place])) for place in best)

    return CandidateFinder(f"{label}_top{topk}", find)


class NetworkMatcher:
    """A `PairMatcher` that works through many pairs part by part, so that memory stays bounded.

    Args:
        model: a network that predicts descriptors.
        track: shows progress.
    """

    def __init__(self, model: AsymmetricCroCo3DStereo, track: Track = untracked) -> None:
        self.model = model
        self.track = track

    def __call__(self, photos: Sequence[Path], pairs: Sequence[tuple[int, int]]) -> Iterable[Matches]:
        """The matches of every pair, in their order."""
        return self.track(self._matches(photos, pairs), "matching the map", len(pairs))

    def _matches(self, photos: Sequence[Path], pairs: Sequence[tuple[int, int]]) -> Iterator[Matches]:
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            part = pairs[start : start + PAIRS_AT_ONCE]
            used = sorted({photo for pair in part for photo in pair})
            place = {photo: number for number, photo in enumerate(used)}
            yield from match_pairs(
                self.model,
                [photos[photo] for photo in used],
                [(place[first], place[second]) for first, second in part],
                options=MatchOptions(min_confidence=1.001),
            )
