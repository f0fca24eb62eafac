"""The similarity transform between two sets of points that belong together, most of them (spec 50 D5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

TOLERANCE = 0.05
"""How far apart two points that agree may be, relative to their distance from the camera."""

LEAST_SHARE = 0.5
"""Of an image's points: with fewer of them in agreement, in every image, the agreement is chance. Nano's
points of photos unlike any that it learned from agreed to 0.37, 26 degrees off."""

LARGEST_UNEXPLAINED = 0.25
"""Of the extent of the points that agree: what may remain between them. A far cloud of points agrees with any
other that is as far away; this tells them apart."""

_TRIES = 1000
_SCORED_POINTS = 2000
_TRIES_AT_ONCE = 100
_ROUNDS = 10
_TRIPLE = 3


@dataclass(frozen=True, eq=False)
class Similarity:
    """target = scale * rotation @ source + translation.

    Attributes:
        scale: positive.
        rotation: 3x3.
        translation: (3,); where the source's origin lies, such as the camera's centre.
    """

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, " 3"]

    def apply(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Points of the source in the target's frame."""
        return self.scale * points @ self.rotation.T + self.translation


def fit_similarity(
    source: Float[np.ndarray, "*batch n 3"],
    target: Float[np.ndarray, "*batch n 3"],
    weights: Float[np.ndarray, "*batch n"],
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch 3 3"], Float[np.ndarray, "*batch 3"]]:
    """Scales, rotations, translations with the least weighted squares (Umeyama 1991).

    Args:
        source: points, in any frame.
        target: where they belong.
        weights: how much each pair counts, not negative, not all 0.
    """
    shares = (weights / weights.sum(axis=-1, keepdims=True))[..., None]
    source_mean = (shares * source).sum(axis=-2, keepdims=True)
    target_mean = (shares * target).sum(axis=-2, keepdims=True)
    own, other = source - source_mean, target - target_mean
    u, values, vt = np.linalg.svd(np.swapaxes(shares * other, -1, -2) @ own)
    signs = np.ones_like(values)
    signs[..., -1] = np.where(np.linalg.det(u) * np.linalg.det(vt) < 0, -1.0, 1.0)
    rotation = (u * signs[..., None, :]) @ vt
    extent = (shares * own**2).sum(axis=(-1, -2))
    scale = (values * signs).sum(axis=-1) / np.maximum(extent, np.finfo(np.float64).tiny)
    moved = scale[..., None] * (rotation @ source_mean[..., 0, :, None])[..., 0]
    return scale, rotation, target_mean[..., 0, :] - moved


def agreeing(
    similarity: Similarity, source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]
) -> Bool[np.ndarray, " n"]:
    """Which pairs lie within `TOLERANCE`, seen from the source's origin.

    Args:
        similarity: source to target.
        source: points in the frame of a camera.
        target: where they belong.
    """
    gap = np.linalg.norm(similarity.apply(source) - target, axis=1)
    return gap < TOLERANCE * np.linalg.norm(target - similarity.translation, axis=1)


def find_similarity(
    source: Float[np.ndarray, "n 3"],
    target: Float[np.ndarray, "n 3"],
    weights: Float[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    seed: int,
) -> Similarity | None:
    """What most pairs of points agree on: RANSAC on three of them, then a fit to those that agree.

    Args:
        source: points in the frame of a camera, finite.
        target: where they belong, finite.
        weights: how much each is trusted, positive.
        groups: which image each pair comes from; three pairs that are tried are of one image.
        seed: of what is tried.

    Returns:
        None if no transform convinces: see `LEAST_SHARE` and `LARGEST_UNEXPLAINED`.
    """
    random = np.random.default_rng(seed)
    members = [rows for rows in map(np.flatnonzero, groups == np.unique(groups)[:, None]) if len(rows) >= 3]
    if not members:
        return None
    triples = np.array(
        [random.choice(members[try_ % len(members)], _TRIPLE, False) for try_ in range(_TRIES)]
    )
    scored = random.permutation(len(source))[:_SCORED_POINTS]
    best = _best_tried(source, target, triples, scored)
    if best is None:
        return None
    for _ in range(_ROUNDS):
        tried = _fitted(best, source, target, weights)
        if tried is None or _agreement(tried, source, target).sum() <= _agreement(best, source, target).sum():
            break
        best = tried
    return best if _convincing(best, source, target, groups) else None


def _best_tried(
    source: np.ndarray, target: np.ndarray, triples: np.ndarray, scored: np.ndarray
) -> Similarity | None:
    """The transform of the three pairs that the scored ones agree with best."""
    best, highest = None, 0.0
    for start in range(0, len(triples), _TRIES_AT_ONCE):
        rows = triples[start : start + _TRIES_AT_ONCE]
        scales, rotations, translations = fit_similarity(source[rows], target[rows], np.ones(rows.shape))
        moved = scales[:, None, None] * (source[scored] @ np.swapaxes(rotations, 1, 2))
        offset = target[scored] - translations[:, None]
        scores = np.where(scales > 0, _closeness(moved - offset, offset).sum(axis=1), 0)
        first = int(scores.argmax())
        if scores[first] > highest:
            highest = float(scores[first])
            best = Similarity(float(scales[first]), rotations[first], translations[first])
    return best


def _fitted(
    start: Similarity, source: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> Similarity | None:
    """The fit to the pairs that agree, the closest ones most; None if there are too few."""
    agreement = _agreement(start, source, target)
    rows = agreement > 0
    if rows.sum() < _TRIPLE:
        return None
    # Networks err in proportion to the distance.
    distance = np.linalg.norm(target[rows] - start.translation, axis=1)
    trust = weights[rows] * (agreement[rows] / distance) ** 2
    scale, rotation, translation = fit_similarity(source[rows], target[rows], trust)
    return Similarity(float(scale), rotation, translation)


def _agreement(similarity: Similarity, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n,) 1 for pairs that fall together, 0 for those that are `TOLERANCE` apart or farther."""
    return _closeness(similarity.apply(source) - target, target - similarity.translation)


def _closeness(gap: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """1 where a gap is nothing, 0 where it is `TOLERANCE` times the distance from the camera."""
    limit = TOLERANCE**2 * (offset**2).sum(axis=-1)
    closeness: np.ndarray = 1 - (gap**2).sum(axis=-1) / np.maximum(limit, np.finfo(np.float64).tiny)
    return closeness.clip(0)


def _convincing(found: Similarity, source: np.ndarray, target: np.ndarray, groups: np.ndarray) -> bool:
    rows = agreeing(found, source, target)
    if rows.sum() < _TRIPLE or found.scale <= 0:
        return False
    _, number = np.unique(groups, return_inverse=True)
    share = np.bincount(number, rows) / np.bincount(number)
    extent = target[rows] - target[rows].mean(axis=0)
    rest = found.apply(source[rows]) - target[rows]
    explained = (rest**2).sum() <= LARGEST_UNEXPLAINED**2 * (extent**2).sum()
    return bool(explained and share.max() >= LEAST_SHARE)
