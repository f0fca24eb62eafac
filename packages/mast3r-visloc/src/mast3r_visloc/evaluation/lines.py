"""What the terminal says about a localised photo, one line each (spec 50 D7, 60 F2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mast3r_visloc.poses import Pose

LEVEL = 1e-3
"""A view whose horizontal part is shorter than this looks straight up or down, and has no heading."""


@dataclass(frozen=True)
class Horizon:
    """How a map's world stands: only a map with one has headings.

    A map made of photos alone is turned anyhow, and an angle in it says nothing: such maps have no horizon.
    A geo-registered map has `ENU`, or whatever its axes are.

    Attributes:
        up: unit vector of the world away from the ground.
        north: horizontal unit vector of the world from which headings count, clockwise seen from above.
    """

    up: tuple[float, float, float]
    north: tuple[float, float, float]

    def heading(self, cam2world: Float[np.ndarray, "4 4"]) -> float | None:
        """Direction of view in degrees, 0 = north, 90 = east, below 360; None straight up or down."""
        up, north = np.asarray(self.up, dtype=float), np.asarray(self.north, dtype=float)
        view = np.asarray(cam2world, dtype=float)[:3, 2]
        along_north, along_east = float(view @ north), float(view @ np.cross(north, up))
        if math.hypot(along_north, along_east) < LEVEL:
            return None
        return math.degrees(math.atan2(along_east, along_north)) % 360.0


ENU = Horizon(up=(0.0, 0.0, 1.0), north=(0.0, 1.0, 0.0))
"""x east, y north, z up."""


def result_line(
    pose: Pose,
    *,
    min_inliers: int,
    horizon: Horizon | None = None,
    seconds: float | None = None,
    name_width: int = 0,
) -> str:
    """One line about a photo.

    ::

        a.jpg   localised   412 of 1033 inliers (40 %)     x 12.41  y -3.08  z 1.52   heading 128.4°   0.42 s
        b.jpg   failed      too few inliers (7 < 12)       nearest photo: db/1023.jpg

    Positions are those of the camera in the map's unit.

    Args:
        pose: what was found.
        min_inliers: how many a pose needs.
        horizon: of the map; None leaves the heading out.
        seconds: that the photo took; None adds up the pose's timings.
        name_width: characters of the longest name, so that lines are aligned.
    """
    spent = sum(pose.timings.values()) if seconds is None else seconds
    parts = [f"{pose.name:<{name_width}}", "localised" if pose.success else "failed   "]
    if pose.success and pose.cam2world is not None:
        parts += [f"{inlier_words(pose):<28}", _position(pose.cam2world)]
        heading = horizon.heading(pose.cam2world) if horizon is not None else None
        parts += [f"heading {heading:.1f}°"] if heading is not None else []
    else:
        parts += [f"{failure_words(pose, min_inliers):<28}"]
        parts += [f"nearest photo: {pose.candidates[0]}"] if pose.candidates else []
    parts += [f"{spent:.2f} s"] if spent > 0 else []
    return "   ".join(parts).rstrip()


def inlier_words(pose: Pose) -> str:
    """``412 of 1033 inliers (40 %)``."""
    matches = len(pose.correspondences)
    return f"{pose.num_inliers} of {matches} inliers ({100 * pose.inlier_ratio:.0f} %)"


def failure_words(pose: Pose, min_inliers: int) -> str:
    """Why a photo has no pose, ``too few inliers (7 < 12)``."""
    if pose.reason == "no_candidates":
        return "no photo of the map to try"
    if pose.reason == "few_matches":
        count = len(pose.correspondences)
        return f"{count} matches that fix no pose" if count >= min_inliers else f"too few matches ({count})"
    if pose.reason == "chance":
        return f"{pose.num_inliers} of {len(pose.correspondences)} inliers: may be chance"
    return f"too few inliers ({pose.num_inliers} < {min_inliers})"


def _position(cam2world: Float[np.ndarray, "4 4"]) -> str:
    x, y, z = np.asarray(cam2world)[:3, 3]
    # Adding zero turns the -0.00 of rounding into 0.00.
    return "  ".join(
        f"{axis} {round(float(value), 2) + 0.0:.2f}" for axis, value in zip("xyz", (x, y, z), strict=True)
    )
