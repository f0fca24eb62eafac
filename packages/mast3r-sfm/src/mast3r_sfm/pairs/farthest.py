"""Pairs from how alike images are: key images by farthest point sampling, and neighbours (spec 30 10.4)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from mast3r_model import InputError

from .request import Pair, Similarity


def farthest_points(
    distances: Float[np.ndarray, "images images"], count: int, *, start: int | None = None
) -> tuple[Int[np.ndarray, " chosen"], Float[np.ndarray, " chosen"]]:
    """Choose images far from each other, one after the other.

    Args:
        distances: from the chosen (row) to the others (column); not necessarily symmetric.
        count: how many.
        start: the first one; None for the medoid, whose distances to and from the others sum up to least.

    Returns:
        Their numbers, in the order they were chosen, and how far each was from the nearest chosen before it
        (0 for the first).

    Raises:
        InputError: more than there are.
    """
    total = len(distances)
    if not 0 < count <= total:
        raise InputError(f"cannot choose {count} of {total} images: give 1 to {total}")
    if start is None:
        start = int((distances + distances.T).sum(axis=1).argmin())
    chosen = np.empty(count, dtype=np.int64)
    reached = np.zeros(count, dtype=distances.dtype)
    chosen[0] = start
    nearest = distances[start].copy()
    taken = np.zeros(total, dtype=bool)
    taken[start] = True
    for step in range(1, count):
        # An image is never chosen twice, even where the rest are copies of the chosen ones.
        best = int(np.where(taken, -np.inf, nearest).argmax())
        chosen[step], reached[step] = best, nearest[best]
        taken[best] = True
        np.minimum(nearest, distances[best], out=nearest)
    return chosen, reached


def retrieval_pairs(
    similarity: Similarity,
    key_images: int,
    neighbors: int,
    *,
    start: int | None = None,
    exclude_self: bool = True,
) -> list[Pair]:
    """Pairs of similar images that hold the whole set together.

    Args:
        similarity: (n, n), row = query, larger is more alike.
        key_images: so many images far from each other are all paired with one another, and every other image
            with the most similar of them; 0 for none.
        neighbors: every image is paired with so many of the most similar to it.
        start: the first key image; None for the medoid. (Upstream starts anywhere, at random.)
        exclude_self: False counts an image as its own neighbour, as upstream does, which usually costs one.

    Returns:
        (smaller, larger), sorted, each once.

    Raises:
        InputError: more key images than images.
    """
    total = len(similarity)
    distances = 1.0 - np.asarray(similarity, dtype=np.float64)
    found: list[np.ndarray] = []
    if key_images:
        keys, _ = farthest_points(distances, key_images, start=start)
        first, second = np.triu_indices(key_images, k=1)
        found.append(np.stack([keys[first], keys[second]], axis=1))
        others = np.setdiff1d(np.arange(total), keys)
        nearest_key = keys[distances[np.ix_(others, keys)].argmin(axis=1)]
        found.append(np.stack([others, nearest_key], axis=1))
    if neighbors:
        if exclude_self:
            distances = distances.copy()
            np.fill_diagonal(distances, np.inf)
            neighbors = min(neighbors, total - 1)
        closest = np.argsort(distances, axis=1, kind="stable")[:, :neighbors]
        found.append(np.stack([np.repeat(np.arange(total), closest.shape[1]), closest.ravel()], axis=1))
    if not found:
        return []
    pairs = np.sort(np.concatenate(found), axis=1)
    unique = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    return [(int(first), int(second)) for first, second in unique]
