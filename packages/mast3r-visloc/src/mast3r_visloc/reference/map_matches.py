"""What matching a query with one map image gives (spec 50 A8, the match files)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, eq=False)
class MapMatches:
    """2D-3D matches of a query with one map image, one per row of every array.

    Pixels are (x, y) of the photos, an integer being a pixel's centre. The names in brackets are those of the
    arrays in upstream's match files.

    Attributes:
        query_xy: (n, 2) float64 pixels of the query (``matches_im_query``).
        map_xy: (n, 2) float64 pixels of the map image (``matches_im_map``).
        xyz: (n, 3) float32 in the map's world frame (``valid_pts3d``).
        confidence: (n,) float32 (``matches_conf``).
    """

    query_xy: Float[np.ndarray, "n 2"]
    map_xy: Float[np.ndarray, "n 2"]
    xyz: Float[np.ndarray, "n 3"]
    confidence: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of matches."""
        return len(self.query_xy)

    def __getitem__(self, rows: slice | Bool[np.ndarray, " n"]) -> MapMatches:
        """Some of the matches."""
        return MapMatches(self.query_xy[rows], self.map_xy[rows], self.xyz[rows], self.confidence[rows])

    @classmethod
    def concatenate(cls, parts: Sequence[MapMatches]) -> MapMatches:
        """The parts' rows, one part after the other; no rows without parts."""
        if not parts:
            return cls(np.empty((0, 2)), np.empty((0, 2)), np.empty((0, 3), "f4"), np.empty(0, "f4"))
        return cls(
            np.concatenate([part.query_xy for part in parts]),
            np.concatenate([part.map_xy for part in parts]),
            np.concatenate([part.xyz for part in parts]),
            np.concatenate([part.confidence for part in parts]),
        )
