"""What a PnP solver takes and gives (spec 50 D5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float

from mast3r_visloc.cameras import Camera


@dataclass(frozen=True, eq=False)
class PnPResult:
    """A camera's pose from 2D-3D correspondences.

    Attributes:
        success: whether there is a pose.
        cam_from_world: 4x4 float64, world to camera axes x right, y down, z forward; None without success.
        inliers: (n,) correspondences that agree with the pose within the threshold.
        num_inliers: their number.
        camera: the camera that the pose belongs to: the given one, or with refined focal lengths.
        covariance: 6x6 of the pose (rotation vector, then translation, of the camera's frame); None unless
            asked for.
        info: what else the solver says, ready for JSON.
    """

    success: bool
    cam_from_world: Float[np.ndarray, "4 4"] | None
    inliers: Bool[np.ndarray, " n"]
    num_inliers: int
    camera: Camera
    covariance: Float[np.ndarray, "6 6"] | None = None
    info: Mapping[str, object] = field(default_factory=dict)

    @property
    def cam2world(self) -> Float[np.ndarray, "4 4"] | None:
        """4x4 float64, camera to world; None without success."""
        if self.cam_from_world is None:
            return None
        inverse = np.eye(4)
        inverse[:3, :3] = self.cam_from_world[:3, :3].T
        inverse[:3, 3] = -inverse[:3, :3] @ self.cam_from_world[:3, 3]
        return inverse


class PnPSolver(Protocol):
    """What ``mast3r_pnp_solvers`` registers: a function from correspondences to a pose."""

    def __call__(
        self,
        points2d: Float[np.ndarray, "n 2"],
        points3d: Float[np.ndarray, "n 3"],
        camera: Camera,
        threshold_px: float,
        seed: int,
        weights: Float[np.ndarray, " n"] | None = None,
    ) -> PnPResult:
        """Find the pose that most correspondences agree with.

        Args:
            points2d: (n, 2) float64 pixels (x, y) of the photo, an integer being a pixel's centre.
            points3d: (n, 3) float64 in the world's frame.
            camera: of the photo, in its pixels.
            threshold_px: largest reprojection error of an inlier, in pixels.
            seed: of the random choices.
            weights: (n,) how much each correspondence is trusted; a solver may ignore them.

        Returns:
            The pose, or `success` False: never an exception because the points do not suffice.
        """
        ...
