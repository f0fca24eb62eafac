"""Relative poses of two cameras of known intrinsics: from matches, and from the network's points."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from mast3r_match.matches import Matches
from mast3r_match.verify import normalized, verify_matches
from mast3r_model import PairPrediction

from .posed_pairs import PosedPair

NO_POSE = (180.0, 90.0)
"""Errors where none was found."""
PNP_POINTS = 5000
PNP_ITERATIONS = 200
PNP_ERROR = 5.0
"""Of RANSAC, in network pixels, as for upstream's PnP (spec 30 section 9.5)."""


def pose_from_matches(
    pair: PosedPair, matches: Matches, threshold: float
) -> tuple[Float[np.ndarray, "4 4"] | None, int]:
    """The pose that an essential matrix gives (RANSAC), and how many matches agree with it.

    Args:
        pair: with intrinsics.
        matches: network pixels.
        threshold: of RANSAC, in network pixels.

    Returns:
        camera1_from_camera0, its translation of length 1; None if there is none.
    """
    cameras = pair.intrinsics0, pair.intrinsics1
    found = verify_matches(
        matches, "essential", threshold=threshold, intrinsics0=cameras[0], intrinsics1=cameras[1]
    )
    if found.matrix is None or found.inliers.sum() < 5:
        return None, 0
    points = (matches.keypoints0[found.inliers], matches.keypoints1[found.inliers])
    rays = [normalized(p.astype(np.float64), K) for p, K in zip(points, cameras, strict=True)]
    _, rotation, translation, _ = cv2.recoverPose(found.matrix, rays[0], rays[1], np.eye(3))
    return _pose(rotation, translation), int(found.inliers.sum())


def pose_from_points(pair: PosedPair, prediction: PairPrediction) -> Float[np.ndarray, "4 4"] | None:
    """The pose in which camera 1 sees its own points where the network puts them in camera 0's frame (PnP).

    The more confident half of image 1's pixels take part, thinned to a few thousand.

    Returns:
        camera1_from_camera0, lengths in the network's unit; None if there is none.
    """
    points = prediction.pts3d2_in_view1.cpu().double().numpy()
    usable = np.isfinite(points).all(-1)
    if prediction.conf2 is not None:
        conf = prediction.conf2.cpu().numpy()
        usable &= conf >= np.median(conf)
    y, x = np.nonzero(usable)
    step = max(1, len(x) // PNP_POINTS)
    x, y = x[::step], y[::step]
    if len(x) < 4:
        return None
    cv2.setRNGSeed(0)
    success, turn, translation, _ = cv2.solvePnPRansac(
        points[y, x],
        np.stack([x, y], axis=1).astype(np.float64),
        pair.intrinsics1.astype(np.float64),
        None,
        iterationsCount=PNP_ITERATIONS,
        reprojectionError=PNP_ERROR,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    return _pose(cv2.Rodrigues(turn)[0], translation) if success else None


def pose_errors(
    found: Float[np.ndarray, "4 4"] | None, truth: Float[np.ndarray, "4 4"]
) -> tuple[float, float]:
    """Angle of the rotation, and between the directions of the translations (at most 90), in degrees."""
    if found is None:
        return NO_POSE
    length = float(np.linalg.norm(found[:3, 3]) * np.linalg.norm(truth[:3, 3]))
    cosine = abs(float(found[:3, 3] @ truth[:3, 3])) / max(length, 1e-12)
    return angle_between(found[:3, :3], truth[:3, :3]), float(np.degrees(np.arccos(min(cosine, 1.0))))


def angle_between(first: Float[np.ndarray, "3 3"], second: Float[np.ndarray, "3 3"]) -> float:
    """Angle of the rotation between two rotation matrices, in degrees."""
    cosine = (np.trace(first.T @ second) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _pose(rotation: np.ndarray, translation: np.ndarray) -> Float[np.ndarray, "4 4"]:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation.ravel()
    return pose
