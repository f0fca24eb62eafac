"""Which pairs of photos show the same place: their matches must agree with one epipolar geometry.

The matcher finds mutual nearest neighbours between any two photos, be they of different places. A network
that is sure of itself tells them apart by its confidences; a small one does not. So every pair is checked
once more by geometry alone: RANSAC always finds some share of random matches, and only a clearly larger one
counts. In a small image a line's neighbourhood is a larger part of the whole, so there the check is stricter.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from mast3r_match import Correspondences, Matches, verify_matches

from .pairs import Pair
from .progress import Progress, shown
from .threads import in_threads

LEAST_INLIERS = 20
"""Beyond the share: of few matches many fit by chance (``nano``: 28 of 57, 40 of 97, with a white wall)."""

LEAST_SHARE = 0.25
"""Many matches of photos of different places come to 0.07 to 0.22 by chance (``nano``, 160 to 320 pixels)."""

THRESHOLD = 1.5
"""Largest distance to an epipolar line, network pixels."""

STRICT_BELOW = 384
"""Long side in network pixels below which `THRESHOLD` shrinks with the image for the question whether."""


@dataclass(frozen=True, eq=False)
class PairCheck:
    """The epipolar check of one pair.

    Attributes:
        inliers: (n,) which matches agree.
        share: of the matches' summed confidence that agrees; in small images more closely than `inliers`.
    """

    inliers: Bool[Tensor, " n"]
    share: float

    @property
    def passed(self) -> bool:
        """Whether the photos show the same place."""
        return self.share * len(self.inliers) >= LEAST_INLIERS + LEAST_SHARE * len(self.inliers)


def check_pairs(
    matches: dict[Pair, Correspondences],
    long_side: int = STRICT_BELOW,
    *,
    progress: Progress | None = None,
) -> dict[Pair, PairCheck]:
    """Check every pair by a fundamental matrix; the cameras need not be known.

    Args:
        matches: of each pair, network pixels.
        long_side: of the network's images, in pixels.
        progress: shows a bar.
    """
    strict = THRESHOLD * min(1.0, long_side / STRICT_BELOW)
    with shown(progress, "verifying pairs", len(matches)) as advance:
        checks = in_threads(
            lambda found: _check(found, strict),
            list(matches.values()),
            workers=os.cpu_count() or 1,
            advance=advance,
        )
    return dict(zip(matches, checks, strict=True))


def _check(found: Correspondences, strict: float) -> PairCheck:
    confidence = found.confidence.cpu().double().numpy()
    points = Matches(found.xy0.cpu().float().numpy(), found.xy1.cpu().float().numpy(), confidence)
    inliers = verify_matches(points, "fundamental", threshold=THRESHOLD).inliers
    close = inliers
    if strict < THRESHOLD:
        close = verify_matches(points, "fundamental", threshold=strict).inliers
    total = float(confidence.sum())
    share = float(np.sum(confidence[close])) / total if total > 0 else 0.0
    return PairCheck(torch.from_numpy(inliers), share)
