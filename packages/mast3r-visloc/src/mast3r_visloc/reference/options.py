"""What upstream's two localisation scripts are told, with their defaults (spec 50 A1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from mast3r_model import ConfigError
from mast3r_visloc.pnp.reference import ReferenceMode

ReferenceMatcher = Literal["descriptors", "points3d"]
"""``descriptors``: MASt3R's script. ``points3d``: DUSt3R's."""

DEFAULT_CONFIDENCE: dict[ReferenceMatcher, float] = {"descriptors": 1.001, "points3d": 3.0}


@dataclass(frozen=True)
class ReferenceOptions:
    """Options of `ReferencePipeline`.

    Attributes:
        matcher: how query and map meet.
        confidence_threshold: matches below it are dropped; None for the matcher's own default.
        pixel_tol: a round trip of matching ends strictly closer than so many network pixels.
        coarse_to_fine: match again in windows where the query is larger than the network's input.
        max_image_size: longest side, in pixels, that windows are cut from; None for the photo's own.
        c2f_crop_with_homography: windows are seen as by a camera that is turned towards them.
        pnp_mode: which library finds the pose.
        reprojection_error: RANSAC's threshold in pixels of the query.
        reprojection_error_diag_ratio: the threshold as a share of the query's diagonal; where given, it
            replaces `reprojection_error`.
        max_batch_size: pairs of windows at a time.
        pnp_max_points: of more points, a random subset of this size goes into PnP.
        seed: of that subset. Upstream draws it unseeded.
    """

    matcher: ReferenceMatcher = "descriptors"
    confidence_threshold: float | None = None
    pixel_tol: int = 5
    coarse_to_fine: bool = False
    max_image_size: int | None = None
    c2f_crop_with_homography: bool = False
    pnp_mode: ReferenceMode = "cv2"
    reprojection_error: float = 5.0
    reprojection_error_diag_ratio: float | None = None
    max_batch_size: int = 48
    pnp_max_points: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what upstream refuses, or what means nothing.

        Raises:
            ConfigError: a value outside its range.
        """
        _one_of("matcher", self.matcher, get_args(ReferenceMatcher))
        _one_of("pnp_mode", self.pnp_mode, get_args(ReferenceMode))
        positive = {
            "pixel_tol": self.pixel_tol,
            "max_image_size": self.max_image_size,
            "reprojection_error": self.reprojection_error,
            "reprojection_error_diag_ratio": self.reprojection_error_diag_ratio,
            "max_batch_size": self.max_batch_size,
            "pnp_max_points": self.pnp_max_points,
        }
        for name, value in positive.items():
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be above 0, got {value}")
        if self.matcher == "points3d" and self.coarse_to_fine:
            raise ConfigError(
                "coarse_to_fine needs descriptors, got matcher 'points3d'", hint="leave one of the two out"
            )

    @property
    def min_confidence(self) -> float:
        """Matches with at least this confidence are kept."""
        if self.confidence_threshold is None:
            return DEFAULT_CONFIDENCE[self.matcher]
        return self.confidence_threshold

    def threshold_px(self, size_wh: tuple[int, int]) -> float:
        """RANSAC's threshold in pixels of a query of (width, height)."""
        if self.reprojection_error_diag_ratio is None:
            return self.reprojection_error
        return self.reprojection_error_diag_ratio * math.hypot(*size_wh)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} must be one of {', '.join(known)}, got {value!r}")
