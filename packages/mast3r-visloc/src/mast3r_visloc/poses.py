"""What localising a photo gives (spec 50 D6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from mast3r_visloc.cameras import Camera

Failure = Literal["no_candidates", "few_matches", "few_inliers", "chance"]
"""``chance``: there is a pose with enough inliers, but wrong matches would agree with some pose as well."""
Method = Literal["pnp", "pointmap"]


@dataclass(frozen=True, eq=False)
class Correspondences:
    """2D-3D correspondences of a query with the map, one per row of every array.

    Pixels are (x, y) of the photos, an integer being a pixel's centre.

    Attributes:
        query_xy: (n, 2) float64 pixels of the query.
        map_image: (n,) index into the pose's `candidates`.
        map_xy: (n, 2) float64 pixels of that map image.
        xyz: (n, 3) float64 in the map's world frame.
        confidence: (n,) of the match.
        inlier: (n,) whether it agrees with the pose.
    """

    query_xy: Float[np.ndarray, "n 2"]
    map_image: Int[np.ndarray, " n"]
    map_xy: Float[np.ndarray, "n 2"]
    xyz: Float[np.ndarray, "n 3"]
    confidence: Float[np.ndarray, " n"]
    inlier: Bool[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of correspondences."""
        return len(self.query_xy)


@dataclass(frozen=True, eq=False)
class Pose:
    """Where a photo was taken, or why that is not known.

    Attributes:
        name: of the query.
        success: whether there is a pose.
        cam2world: 4x4 float64, camera axes x right, y down, z forward; None without success.
        camera: of the query in its pixels, as the pose was found with it.
        camera_source: where the camera comes from, for people.
        num_inliers: correspondences that agree with the pose.
        candidates: names of the map images that were tried, in that order.
        correspondences: all of them.
        method: how the pose was found; None without success.
        reason: why there is no pose; None with success.
        covariance: 6x6 of the pose, if it was asked for.
        warnings: what looks suspicious, for people.
        timings: seconds by stage.
    """

    name: str
    success: bool
    cam2world: Float[np.ndarray, "4 4"] | None
    camera: Camera
    camera_source: str
    num_inliers: int
    candidates: Sequence[str]
    correspondences: Correspondences
    method: Method | None = None
    reason: Failure | None = None
    covariance: Float[np.ndarray, "6 6"] | None = None
    warnings: Sequence[str] = ()
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def inlier_ratio(self) -> float:
        """Share of the correspondences that agree with the pose, 0 without any."""
        return self.num_inliers / len(self.correspondences) if len(self.correspondences) else 0.0
