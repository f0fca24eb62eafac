"""What is measured on one pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mast3r_match.matches import Matches
from mast3r_model import PairPrediction

from .posed_pairs import PosedPair
from .relative_poses import pose_errors, pose_from_matches, pose_from_points

NEAR_PIXELS = 3.0
SAME_DEPTH = 0.05
"""Relative difference of depth below which a pixel of image 1 shows the same point."""
POSE_MATCHES = 2000


@dataclass(frozen=True)
class PairScores:
    """One pair's results; angles in degrees, None where the truth or the result is missing.

    Attributes:
        name: of the pair.
        covisibility: share of image 0's known pixels that image 1 shows.
        matches: number of dense mutual matches.
        within_3px: share of them, where the truth is known, that lie within 3 pixels of it; without depth,
            within 3 pixels of the true epipolar line.
        rotation_error: angle between the estimated and the true rotation; 180 when none was found.
        translation_error: angle between the directions of the translations, at most 90.
        inliers: matches that the estimated pose agrees with.
        pointmap_rotation_error: likewise, of the pose in which camera 1 sees its points where they are in
            camera 0's frame (PnP on the network's points, no matches).
        pointmap_translation_error: of the same pose.
        depth_error: median relative error of the points' depth after scaling by the median ratio.
    """

    name: str
    covisibility: float | None
    matches: int
    within_3px: float | None
    rotation_error: float
    translation_error: float
    inliers: int
    pointmap_rotation_error: float
    pointmap_translation_error: float
    depth_error: float | None

    @property
    def pose_error(self) -> float:
        """The larger one of both angles, as pose AUC is usually computed."""
        return max(self.rotation_error, self.translation_error)

    @property
    def pointmap_pose_error(self) -> float:
        """The same of the pose from the points."""
        return max(self.pointmap_rotation_error, self.pointmap_translation_error)


def measure_pair(
    pair: PosedPair, prediction: PairPrediction, matches: Matches, *, threshold: float = 1.0
) -> PairScores:
    """Measure the dense matches of a pair in network pixels, the pose they give, and the points.

    Args:
        pair: images and truth.
        prediction: for the points.
        matches: all mutual nearest neighbours, in network pixels.
        threshold: of RANSAC, in network pixels.
    """
    covisibility, within = None, _near_epipolar_lines(pair, matches)
    if pair.depth0 is not None:
        truth, known, visible = true_positions(pair)
        covisibility = float(visible.sum() / max(known.sum(), 1))
        x, y = matches.keypoints0.astype(np.int64).T
        error = np.linalg.norm(matches.keypoints1 - truth[y, x], axis=1)
        at_known = known[y, x]
        within = float((error[at_known] < NEAR_PIXELS).mean()) if at_known.any() else None
    pose, inliers = pose_from_matches(pair, matches.spread(POSE_MATCHES), threshold)
    rotation, translation = pose_errors(pose, pair.camera1_from_camera0)
    points_rotation, points_translation = pose_errors(
        pose_from_points(pair, prediction), pair.camera1_from_camera0
    )
    return PairScores(
        name=pair.name,
        covisibility=covisibility,
        matches=len(matches),
        within_3px=within,
        rotation_error=rotation,
        translation_error=translation,
        inliers=inliers,
        pointmap_rotation_error=points_rotation,
        pointmap_translation_error=points_translation,
        depth_error=_depth_error(pair, prediction),
    )


def true_positions(
    pair: PosedPair,
) -> tuple[Float[np.ndarray, "h0 w0 2"], Bool[np.ndarray, "h0 w0"], Bool[np.ndarray, "h0 w0"]]:
    """Where image 1 has what each pixel of image 0 sees.

    Returns:
        The positions (x, y); whether the pixel's depth is known; and whether image 1 shows the point: inside
        the image, in front of the camera, not hidden by something nearer.
    """
    assert pair.depth0 is not None
    height, width = pair.depth0.shape
    known = (pair.depth0 > 0) & np.isfinite(pair.depth0)
    y, x = np.mgrid[:height, :width]
    rays = np.linalg.solve(pair.intrinsics0, np.stack([x, y, np.ones_like(x)]).reshape(3, -1))
    points = rays * np.where(known, pair.depth0, 1).reshape(-1)
    moved = pair.camera1_from_camera0[:3, :3] @ points + pair.camera1_from_camera0[:3, 3:]
    projected = pair.intrinsics1 @ moved
    with np.errstate(divide="ignore", invalid="ignore"):
        truth = np.where(moved[2] > 0, projected[:2] / moved[2], np.nan).T.reshape(height, width, 2)
    depth_there = moved[2].reshape(height, width)
    height1, width1 = pair.image1.shape[-2:]
    column, row = np.nan_to_num(np.round(truth), nan=-1, posinf=-1, neginf=-1).transpose(2, 0, 1)
    visible = known & (column >= 0) & (column < width1) & (row >= 0) & (row < height1)
    if pair.depth1 is not None:
        seen = pair.depth1[row[visible].astype(int), column[visible].astype(int)]
        expected = depth_there[visible]
        visible[visible] = (seen <= 0) | (np.abs(seen - expected) < SAME_DEPTH * expected)
    return truth, known, visible


def pose_auc(errors: Sequence[float], thresholds: Sequence[float] = (5, 10, 20)) -> dict[str, float]:
    """Area under the curve "share of pairs whose error is below e", for e up to each threshold.

    Args:
        errors: one per pair, degrees; infinite or 180 where no pose was found.
        thresholds: degrees.

    Returns:
        Values 0 to 1 by name, such as ``auc@5``.
    """
    found = np.sort(np.asarray(errors, dtype=np.float64))
    shares = np.arange(1, len(found) + 1) / max(len(found), 1)
    areas = {}
    for threshold in thresholds:
        below = int(np.searchsorted(found, threshold))
        steps = np.concatenate([[0.0], found[:below], [threshold]])
        heights = np.concatenate([[0.0], shares[:below], [shares[below - 1] if below else 0.0]])
        areas[f"auc@{threshold:g}"] = float(np.trapezoid(heights, steps) / threshold)
    return areas


def _near_epipolar_lines(pair: PosedPair, matches: Matches) -> float | None:
    """Share of matches within `NEAR_PIXELS` of the true epipolar line in image 1."""
    if not len(matches):
        return None
    rotation, (tx, ty, tz) = pair.camera1_from_camera0[:3, :3], pair.camera1_from_camera0[:3, 3]
    cross = np.array([[0, -tz, ty], [tz, 0, -tx], [-ty, tx, 0]])
    fundamental = np.linalg.inv(pair.intrinsics1).T @ cross @ rotation @ np.linalg.inv(pair.intrinsics0)
    ones = np.ones((len(matches), 1))
    lines = np.concatenate([matches.keypoints0, ones], axis=1) @ fundamental.T
    distance = np.abs((np.concatenate([matches.keypoints1, ones], axis=1) * lines).sum(1))
    norms = np.hypot(lines[:, 0], lines[:, 1])
    return float((distance < NEAR_PIXELS * np.maximum(norms, 1e-12)).mean())


def _depth_error(pair: PosedPair, prediction: PairPrediction) -> float | None:
    """Median relative error of the z of both images' points in camera 0's frame, after one scale."""
    if pair.depth0 is None or pair.depth1 is None:
        return None
    known1 = pair.depth1 > 0
    y, x = np.nonzero(known1)
    rays = np.linalg.solve(pair.intrinsics1, np.stack([x, y, np.ones_like(x)]).astype(np.float64))
    inverse = np.linalg.inv(pair.camera1_from_camera0)
    depth1 = (inverse[:3, :3] @ (rays * pair.depth1[known1]) + inverse[:3, 3:])[2]
    known0 = pair.depth0 > 0
    true = np.concatenate([pair.depth0[known0], depth1])
    predicted = np.concatenate(
        [
            prediction.pts3d1[..., 2].cpu().numpy()[known0],
            prediction.pts3d2_in_view1[..., 2].cpu().numpy()[known1],
        ]
    )
    usable = (true > 0) & np.isfinite(predicted) & (predicted > 0)
    if not usable.any():
        return None
    true, predicted = true[usable], predicted[usable]
    scale = np.median(true / predicted)
    return float(np.median(np.abs(predicted * scale - true) / true))
