"""Which pairs of photos show the same place: their matches must agree with one epipolar geometry.

The matcher finds mutual nearest neighbours between any two photos, be they of different places. A network
that is sure of itself tells them apart by its confidences; a small one does not. So every pair is checked
once more by geometry alone: RANSAC always finds some share of random matches, and only a clearly larger one
counts.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from mast3r_match import Correspondences, Matches, verify_matches

from .pairs import Pair

LEAST_INLIERS = 20
LEAST_SHARE = 0.25
"""Matches of photos of different places come to 0.08 to 0.16 by chance (``nano`` at 320 pixels)."""

THRESHOLD = 1.5
"""Largest distance to an epipolar line, network pixels."""


@dataclass(frozen=True, eq=False)
class PairCheck:
    """The epipolar check of one pair.

    Attributes:
        inliers: (n,) which matches agree.
        share: of the matches' summed confidence that agrees.
    """

    inliers: Bool[Tensor, " n"]
    share: float

    @property
    def passed(self) -> bool:
        """Whether the photos show the same place."""
        return int(self.inliers.sum()) >= LEAST_INLIERS and self.share >= LEAST_SHARE


def check_pairs(matches: dict[Pair, Correspondences]) -> dict[Pair, PairCheck]:
    """Check every pair by a fundamental matrix; the cameras need not be known.

    Args:
        matches: of each pair, network pixels.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip(matches, threads.map(_check, matches.values()), strict=True))


def _check(found: Correspondences) -> PairCheck:
    confidence = found.confidence.cpu().double().numpy()
    points = Matches(found.xy0.cpu().float().numpy(), found.xy1.cpu().float().numpy(), confidence)
    inliers = verify_matches(points, "fundamental", threshold=THRESHOLD).inliers
    total = float(confidence.sum())
    share = float(np.sum(confidence[inliers])) / total if total > 0 else 0.0
    return PairCheck(torch.from_numpy(inliers), share)
