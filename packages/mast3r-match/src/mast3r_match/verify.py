"""Which matches agree with one epipolar geometry: RANSAC through OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float

from mast3r_model import InputError

from .matches import Matches

Model = Literal["fundamental", "essential"]
LEAST_MATCHES = {"fundamental": 8, "essential": 6}
CONFIDENCE = 0.9999
MAX_ITERATIONS = 10_000


@dataclass(frozen=True)
class Verification:
    """What RANSAC found.

    Attributes:
        inliers: (n,) True for the matches that fit.
        matrix: 3x3, ``[x1; 1]^T matrix [x0; 1] = 0`` in pixels (fundamental) or in normalised coordinates
            (essential); None when nothing was found.
    """

    inliers: Bool[np.ndarray, " n"]
    matrix: Float[np.ndarray, "3 3"] | None


def verify_matches(
    matches: Matches,
    model: Model = "fundamental",
    *,
    threshold: float = 1.5,
    intrinsics0: Float[np.ndarray, "3 3"] | None = None,
    intrinsics1: Float[np.ndarray, "3 3"] | None = None,
    seed: int = 0,
) -> Verification:
    """Find the epipolar geometry that most matches agree with (MAGSAC).

    Args:
        matches: in the photos' pixels.
        model: ``fundamental`` for unknown cameras, ``essential`` for known ones.
        threshold: largest distance to an epipolar line, in pixels of the images that were matched (the
            network's, or the photos' own after coarse to fine), which `matches` knows.
        intrinsics0: 3x3 of photo 0, for ``essential``.
        intrinsics1: 3x3 of photo 1.
        seed: of OpenCV's random numbers.

    Raises:
        InputError: ``essential`` without intrinsics.
    """
    if model == "essential" and (intrinsics0 is None or intrinsics1 is None):
        raise InputError("verifying by an essential matrix needs the intrinsics of both photos")
    if len(matches) < LEAST_MATCHES[model]:
        return Verification(np.zeros(len(matches), dtype=bool), None)
    points0, points1 = matches.keypoints0.astype(np.float64), matches.keypoints1.astype(np.float64)
    threshold *= _photo_pixels(matches)
    cv2.setRNGSeed(seed)
    try:
        if model == "fundamental":
            matrix, mask = cv2.findFundamentalMat(
                points0, points1, cv2.USAC_MAGSAC, threshold, CONFIDENCE, MAX_ITERATIONS
            )
        else:
            assert intrinsics0 is not None
            assert intrinsics1 is not None
            focal = np.mean([intrinsics0[0, 0], intrinsics0[1, 1], intrinsics1[0, 0], intrinsics1[1, 1]])
            matrix, mask = cv2.findEssentialMat(
                normalized(points0, intrinsics0),
                normalized(points1, intrinsics1),
                np.eye(3),
                method=cv2.USAC_MAGSAC,
                prob=CONFIDENCE,
                threshold=threshold / float(focal),
                maxIters=MAX_ITERATIONS,
            )
    except cv2.error as error:
        # OpenCV's way to say of some degenerate matches that no sample of them gave a model.
        if "model.empty()" not in str(error):
            raise
        matrix = None
    if matrix is None or matrix.shape != (3, 3):
        return Verification(np.zeros(len(matches), dtype=bool), None)
    return Verification(mask.ravel().astype(bool), matrix)


def _photo_pixels(matches: Matches) -> float:
    """How many pixels of the photos one pixel of the matched images is; 1 where nothing is known."""
    scales = [
        transform.network_from_original[[0, 1], [0, 1]]
        for transform in (matches.transform0, matches.transform1)
        if transform is not None
    ]
    return 1 / float(np.mean(scales)) if scales else 1.0


def normalized(
    points: Float[np.ndarray, "n 2"], intrinsics: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "n 2"]:
    """Pixels as directions (x / z, y / z) of the camera's rays."""
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    rays = np.linalg.solve(intrinsics, homogeneous.T).T
    return rays[:, :2] / rays[:, 2:]
