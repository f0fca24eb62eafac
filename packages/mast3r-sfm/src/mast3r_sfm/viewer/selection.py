"""Which points of a group are shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from .content import ViewedGroup


@dataclass(frozen=True, kw_only=True)
class PointFilter:
    """What the user asks for.

    Attributes:
        percentile: hide at most this share of the group's points in percent, the least certain; None: go by
            ``min_confidence``.
        min_confidence: show points above it.
        photo: show the points of this one alone; None: of all.
        max_points: show so many at most.
    """

    percentile: float | None = 20.0
    min_confidence: float = 0.0
    photo: int | None = None
    max_points: int = 2_000_000


@dataclass(frozen=True, eq=False)
class SelectedPoints:
    """What is shown.

    Attributes:
        positions: (n, 3) float32.
        colors: (n, 3) uint8 RGB.
        threshold: the confidence that they are above.
        passed: how many are above it; more than n where there were too many.
    """

    positions: Float[np.ndarray, "n 3"]
    colors: UInt8[np.ndarray, "n 3"]
    threshold: float
    passed: int

    def __len__(self) -> int:
        """Number of points."""
        return len(self.positions)


def confidence_threshold(group: ViewedGroup, wanted: PointFilter) -> float:
    """Above which confidence points are shown; of points that are equally sure all are, or none."""
    if wanted.percentile is None:
        return wanted.min_confidence
    values = np.concatenate([photo.points.confidence for photo in group.photos])
    if not len(values):
        return 0.0
    first_kept = int(len(values) * wanted.percentile / 100)
    return float(np.nextafter(np.partition(values, first_kept)[first_kept], np.float32(-np.inf)))


def select_points(group: ViewedGroup, wanted: PointFilter) -> SelectedPoints:
    """The dense points to draw.

    Of too many, each photo keeps the same share, from its most certain one to its least: the most certain
    alone would be a part of what is seen, such as the ground (spec 60 D9).
    """
    threshold = confidence_threshold(group, wanted)
    photos = group.photos if wanted.photo is None else (group.photos[wanted.photo],)
    # Confidences fall, so that those above the threshold come first.
    counts = [int(np.searchsorted(-photo.points.confidence, -threshold)) for photo in photos]
    passed = sum(counts)
    share = min(1.0, wanted.max_points / max(passed, 1))
    chosen = [
        (
            photo.points,
            np.linspace(0, count - 1, int(count * share)).astype(np.int64) if share < 1 else slice(count),
        )
        for photo, count in zip(photos, counts, strict=True)
    ]
    return SelectedPoints(
        np.concatenate([points.positions[rows] for points, rows in chosen]),
        np.concatenate([points.colors[rows] for points, rows in chosen]),
        threshold,
        passed,
    )


def select_sparse(
    group: ViewedGroup, photo: int | None
) -> tuple[Float[np.ndarray, "n 3"], UInt8[np.ndarray, "n 3"]]:
    """Positions and colours of the tracks of all photos, or of those that one photo sees."""
    sparse = group.sparse
    if photo is None:
        return sparse.positions, sparse.colors
    seen = np.unique(sparse.track[sparse.photo == photo])
    return sparse.positions[seen], sparse.colors[seen]
