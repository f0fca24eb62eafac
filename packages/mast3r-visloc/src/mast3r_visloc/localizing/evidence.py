"""The 2D-3D correspondences of a query, gathered image by image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from mast3r_visloc.poses import Correspondences

CELLS = 32
"""Along the query's longer side; to see whether more matches cover more of it."""


@dataclass(frozen=True, eq=False)
class ImageEvidence:
    """What one map image says of a query; pixels are those of the files.

    Attributes:
        query_xy: (n, 2) float64.
        map_xy: (n, 2) float64.
        xyz: (n, 3) float64 in the map's world frame.
        confidence: (n,).
        point_ids: (n,) of the map image's points, see `NetworkPoints`.
        numbered: whether equal `point_ids` of other images mean the same point.
    """

    query_xy: Float[np.ndarray, "n 2"]
    map_xy: Float[np.ndarray, "n 2"]
    xyz: Float[np.ndarray, "n 3"]
    confidence: Float[np.ndarray, " n"]
    point_ids: Int[np.ndarray, " n"]
    numbered: bool = True

    def __len__(self) -> int:
        """Number of correspondences."""
        return len(self.query_xy)

    def best_of_each_point(self) -> ImageEvidence:
        """Each 3D point once, where it was seen with most confidence (spec 50, trap 6)."""
        order = np.lexsort((-self.confidence, self.point_ids))
        first = np.unique(self.point_ids[order], return_index=True)[1]
        return self.select(np.sort(order[first]))

    def select(self, rows: np.ndarray) -> ImageEvidence:
        """Some of the correspondences, by a mask or indices."""
        return ImageEvidence(
            self.query_xy[rows],
            self.map_xy[rows],
            self.xyz[rows],
            self.confidence[rows],
            self.point_ids[rows],
            self.numbered,
        )


NOTHING = ImageEvidence(
    np.empty((0, 2)), np.empty((0, 2)), np.empty((0, 3)), np.empty(0), np.empty(0, np.int64)
)


@dataclass
class Evidence:
    """What all map images say of a query so far.

    Attributes:
        names: of the map images, in the order they were tried.
        parts: what each of them says.
    """

    names: list[str] = field(default_factory=list)
    parts: list[ImageEvidence] = field(default_factory=list)

    def add(self, name: str, part: ImageEvidence) -> None:
        """What a further map image says."""
        self.names.append(name)
        self.parts.append(part)

    def __len__(self) -> int:
        """Number of correspondences."""
        return sum(map(len, self.parts))

    def joined(self) -> Correspondences:
        """All of them, none an inlier yet."""
        parts = self.parts or [NOTHING]
        count = len(self)
        return Correspondences(
            query_xy=np.concatenate([part.query_xy for part in parts]),
            map_image=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
            map_xy=np.concatenate([part.map_xy for part in parts]),
            xyz=np.concatenate([part.xyz for part in parts]),
            confidence=np.concatenate([part.confidence for part in parts]),
            inlier=np.zeros(count, dtype=bool),
        )


def covered_cells(query_xy: Float[np.ndarray, "n 2"], shape: tuple[int, int]) -> int:
    """How many cells of a grid over the query hold one of these pixels.

    Args:
        query_xy: pixels of the query's file.
        shape: (height, width) of it.
    """
    side = max(shape) / CELLS
    return len(np.unique(np.floor(query_xy / side).astype(np.int64), axis=0))
