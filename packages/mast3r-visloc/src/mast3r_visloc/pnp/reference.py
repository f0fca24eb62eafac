"""PnP as the reference implementation calls it, for numbers that compare with upstream's (spec 50 A7).

Use `estimate_pose` for anything else: this one reports poses found in pure noise as success.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, get_args

import cv2
import numpy as np
import poselib
import pycolmap
from jaxtyping import Float

from mast3r_model import InputError

_logger = logging.getLogger("mast3r.visloc")

ReferenceMode = Literal["cv2", "poselib", "pycolmap"]
"""What upstream's ``--pnp_mode`` takes."""

LEAST_POINTS = 5
CONFIDENCE = 0.9999


def run_pnp(
    pts2D: Float[np.ndarray, "n 2"],
    pts3D: Float[np.ndarray, "n 3"],
    K: Float[np.ndarray, "3 3"],
    distortion: Sequence[float] | None,
    mode: ReferenceMode,
    reprojection_error: float,
    img_size: tuple[int, int] | None = None,
) -> tuple[bool, Float[np.ndarray, "4 4"] | None]:
    """A camera's pose, with upstream's calls and settings.

    Args:
        pts2D: (n, 2) float32 pixels (x, y), an integer being a pixel's centre.
        pts3D: (n, 3) in the world's frame.
        K: intrinsics, an integer being a pixel's centre.
        distortion: OpenCV's k1, k2, p1, p2; None for a pinhole camera.
        mode: which library.
        reprojection_error: RANSAC's threshold in pixels.
        img_size: (width, height); ``pycolmap`` requires it, ``poselib`` guesses it from `K` without.

    Returns:
        Whether there is a pose, and the 4x4 float64 camera to world; None without. Fewer than 5 points fail.

    Raises:
        InputError: unknown mode, another number of distortion coefficients, or no `img_size` for
            ``pycolmap``.
    """
    if mode not in get_args(ReferenceMode):
        raise InputError(f"unknown PnP mode {mode!r}", f"one of {', '.join(get_args(ReferenceMode))}")
    if distortion is not None and len(distortion) != 4:
        raise InputError(f"distortion must be k1, k2, p1, p2, got {len(distortion)} numbers")
    if mode == "pycolmap" and img_size is None:
        raise InputError("mode pycolmap needs the size of the image", "give img_size=(width, height)")
    if len(pts2D) < LEAST_POINTS:
        return False, None
    if mode == "cv2":
        pose = _with_opencv(pts2D, pts3D, K, distortion, reprojection_error)
    elif mode == "poselib":
        pose = _with_poselib(pts2D, pts3D, K, distortion, reprojection_error, img_size)
    else:
        assert img_size is not None
        pose = _with_pycolmap(pts2D, pts3D, K, distortion, reprojection_error, img_size)
    return (False, None) if pose is None else (True, np.linalg.inv(pose))


def _with_opencv(
    pts2D: Float[np.ndarray, "n 2"],
    pts3D: Float[np.ndarray, "n 3"],
    K: Float[np.ndarray, "3 3"],
    distortion: Sequence[float] | None,
    reprojection_error: float,
) -> Float[np.ndarray, "4 4"] | None:
    """World to camera, 4x4 float64."""
    points = pts2D
    try:
        if distortion is not None:
            points = cv2.undistortPoints(pts2D, K, np.asarray(distortion, dtype=np.float64), R=None, P=K)
        success, rotation_vector, translation, _ = cv2.solvePnPRansac(
            pts3D,
            points,
            K,
            None,
            flags=cv2.SOLVEPNP_SQPNP,
            iterationsCount=10_000,
            reprojectionError=reprojection_error,
            confidence=CONFIDENCE,
        )
    except cv2.error as error:  # upstream counts OpenCV's refusals as failures too
        _logger.warning("OpenCV's PnP refused the points: %s", str(error).strip().splitlines()[-1])
        return None
    if not success:
        return None
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(rotation_vector)[0]
    pose[:3, 3] = translation.ravel()
    return pose


def _with_poselib(
    pts2D: Float[np.ndarray, "n 2"],
    pts3D: Float[np.ndarray, "n 3"],
    K: Float[np.ndarray, "3 3"],
    distortion: Sequence[float] | None,
    reprojection_error: float,
    img_size: tuple[int, int] | None,
) -> Float[np.ndarray, "4 4"] | None:
    """World to camera, 4x4 float64."""
    model, params = _corner_camera(K, distortion)
    width, height = img_size or (int(2 * K[0, 2]), int(2 * K[1, 2]))
    pose, _ = poselib.estimate_absolute_pose(
        pts2D.astype(np.float64) + 0.5,
        pts3D,
        {"model": model, "width": width, "height": height, "params": params},
        {"max_reproj_error": reprojection_error, "max_iterations": 10_000, "success_prob": CONFIDENCE},
        {},
    )
    return None if pose is None else np.vstack([pose.Rt, [0, 0, 0, 1]])


def _with_pycolmap(
    pts2D: Float[np.ndarray, "n 2"],
    pts3D: Float[np.ndarray, "n 3"],
    K: Float[np.ndarray, "3 3"],
    distortion: Sequence[float] | None,
    reprojection_error: float,
    img_size: tuple[int, int],
) -> Float[np.ndarray, "4 4"] | None:
    """World to camera, 4x4 float64. Upstream's function is gone from pycolmap 4; this is the new name."""
    model, params = _corner_camera(K, distortion)
    camera = pycolmap.Camera(model=model, width=img_size[0], height=img_size[1], params=params)
    estimation = pycolmap.AbsolutePoseEstimationOptions()
    estimation.ransac.max_error = reprojection_error
    estimation.ransac.min_inlier_ratio = 0.01
    estimation.ransac.min_num_trials = 1000
    estimation.ransac.max_num_trials = 100_000
    estimation.ransac.confidence = CONFIDENCE
    # Upstream leaves the seed to the library, which then goes on from call to call. A fixed one is as good,
    # and repeatable.
    estimation.ransac.random_seed = 0
    found = pycolmap.estimate_and_refine_absolute_pose(
        pts2D.astype(np.float64) + 0.5, pts3D.astype(np.float64), camera, estimation_options=estimation
    )
    if found is None or found["num_inliers"] == 0:
        return None
    return np.vstack([found["cam_from_world"].matrix(), [0, 0, 0, 1]])


def _corner_camera(
    K: Float[np.ndarray, "3 3"], distortion: Sequence[float] | None
) -> tuple[str, list[float]]:
    """COLMAP's model and parameters, whose first pixel centre is 0.5."""
    pinhole = [float(K[0, 0]), float(K[1, 1]), float(K[0, 2]) + 0.5, float(K[1, 2]) + 0.5]
    if distortion is None:
        return "PINHOLE", pinhole
    return "OPENCV", [*pinhole, *(float(value) for value in distortion)]
