"""Which map images see common things: each group makes a pose of its own (spec 50 C1, ``--cluster``)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from .evidence import ImageEvidence

SPACINGS = 2.0
"""Points of two images without common numbers are of one surface if they are no farther apart than so many
times what neighbours in either image are."""

LEAST_COMMON = 0.05
"""Of the points of one of two images: so many must be of a surface that the other sees."""


def clusters(parts: Sequence[ImageEvidence]) -> list[list[int]]:
    """Groups of map images that are connected by what they see.

    Images of sparse maps are connected by a common 3D point. Those of maps with depth have no numbers in
    common: they are connected where they see the same surface.

    Args:
        parts: what each map image says of a query.

    Returns:
        Indices of the images of each group, in ascending order; images that say nothing are in none.
    """
    seen = [_Seen(part) for part in parts]
    groups: list[list[int]] = []
    for number, part in enumerate(parts):
        if not len(part):
            continue
        joined, apart = [number], []
        for group in groups:
            if any(seen[number].overlaps(seen[other]) for other in group):
                joined += group
            else:
                apart.append(group)
        groups = [*apart, joined]
    return [sorted(group) for group in groups]


class _Seen:
    """What one map image sees of the world; trees are made when they are needed."""

    def __init__(self, part: ImageEvidence) -> None:
        self._part = part

    def overlaps(self, other: _Seen) -> bool:
        if self._part.numbered and other._part.numbered:
            return not self._numbers.isdisjoint(other._numbers)
        near = SPACINGS * max(self._spacing, other._spacing)
        return max(self._share_within(near, other), other._share_within(near, self)) >= LEAST_COMMON

    def _share_within(self, distance: float, other: _Seen) -> float:
        found, _ = other._tree.query(self._part.xyz, distance_upper_bound=distance)
        return float(np.isfinite(found).mean())

    @cached_property
    def _numbers(self) -> set[int]:
        return set(self._part.point_ids.tolist())

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._part.xyz)

    @cached_property
    def _spacing(self) -> float:
        """Between neighbours; 0 for a single point."""
        if len(self._part) < 2:
            return 0.0
        return float(np.median(self._tree.query(self._part.xyz, k=2)[0][:, 1]))
