"""The pose that fits the inliers best, by non-linear least squares (spec 50 D5).

The loss is Cauchy's, as wide as the inliers' own noise asks for. On the recorded inputs this is more exact
than either library's fixed width of one pixel, and both libraries then agree to a few per cent of the error.
PoseLib is 3 to 10 times faster, so it does the cameras that it knows; COLMAP does the others and focal
lengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import poselib
import pycolmap
from jaxtyping import Bool, Float

from mast3r_visloc.cameras import Camera, corner_pixels

from .outcome import LEAST_POINTS
from .poselib_solver import POSELIB_MODELS, poselib_camera
from .residuals import reprojection_errors

MAX_ROUNDS = 4
ENOUGH = 1e-4
"""A round that lowers the cost by less than this part is the last."""

CAUCHY_EFFICIENCY = 2.385
"""Width of Cauchy's loss in standard deviations, 95 % efficient on normal noise."""

RAYLEIGH_MEDIAN = 1.1774
"""Median length of a 2D normal error, in standard deviations."""

NARROWEST = 1e-3
MAX_FOCAL_CHANGE = 10.0

ENOUGH_FOR_DISTORTION = 100
"""Inliers from which a lens's distortion is fitted together with an unsure focal length."""

MAX_DISTORTION = 1.0
"""Coefficients beyond are a fit gone wrong; those of strong wide angles are about 0.3."""


@dataclass(frozen=True, eq=False)
class RefinedPose:
    """A pose and the camera that it belongs to.

    Attributes:
        cam_from_world: 4x4 float64.
        camera: the given one, or with a refined focal length.
    """

    cam_from_world: Float[np.ndarray, "4 4"]
    camera: Camera


def refine_pose(
    start: RefinedPose,
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    threshold_px: float,
    *,
    refine_focal: bool = False,
) -> RefinedPose:
    """Fit a pose to its inliers, find the inliers again, and so on while that helps.

    Args:
        start: a pose that most inliers agree with.
        points2d: (n, 2) float64 finite pixels, an integer being a pixel's centre.
        points3d: (n, 3) float64 finite, in the world's frame.
        threshold_px: largest reprojection error of an inlier.
        refine_focal: fit the focal length too, and with many inliers the distortion.

    Returns:
        A pose that is no worse: the start where no round helped.
    """
    best = start
    errors = _errors(best, points2d, points3d)
    width = loss_width(errors[errors <= threshold_px], threshold_px)
    cost = _cost(errors, width, threshold_px)
    for _ in range(MAX_ROUNDS):
        inliers = errors <= threshold_px
        if inliers.sum() < LEAST_POINTS:
            return best
        tried = _fit(best, points2d, points3d, inliers, width, refine_focal)
        if tried is None:
            return best
        errors = _errors(tried, points2d, points3d)
        before, cost = cost, _cost(errors, width, threshold_px)
        if not cost < before:
            return best
        best = tried
        if cost > (1 - ENOUGH) * before:
            return best
    return best


def loss_width(inlier_errors: Float[np.ndarray, " m"], threshold_px: float) -> float:
    """Width of the loss in pixels, from the inliers' reprojection errors."""
    if not len(inlier_errors):
        return threshold_px
    noise = float(np.median(inlier_errors)) / RAYLEIGH_MEDIAN
    return min(max(CAUCHY_EFFICIENCY * noise, NARROWEST * threshold_px), threshold_px)


def _errors(
    pose: RefinedPose, points2d: Float[np.ndarray, "n 2"], points3d: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, " n"]:
    return reprojection_errors(pose.cam_from_world, points2d, points3d, pose.camera)


def _cost(errors: Float[np.ndarray, " n"], width: float, threshold_px: float) -> float:
    """Cauchy's loss, the same for everything beyond the threshold."""
    return float(np.log1p((np.minimum(errors, threshold_px) / width) ** 2).sum())


def _fit(
    start: RefinedPose,
    points2d: Float[np.ndarray, "n 2"],
    points3d: Float[np.ndarray, "n 3"],
    inliers: Bool[np.ndarray, " n"],
    width: float,
    refine_focal: bool,
) -> RefinedPose | None:
    """One fit to fixed inliers; None if it failed."""
    if start.camera.model in POSELIB_MODELS and not refine_focal:
        pose = poselib.CameraPose()
        pose.R, pose.t = start.cam_from_world[:3, :3], start.cam_from_world[:3, 3]
        fitted, _ = poselib.refine_absolute_pose(
            corner_pixels(points2d[inliers]),
            points3d[inliers],
            pose,
            poselib_camera(start.camera),
            {"loss_type": "CAUCHY", "loss_scale": width},
        )
        return _checked(fitted.Rt, start.camera)
    camera = start.camera.to_colmap()
    found = pycolmap.refine_absolute_pose(
        pycolmap.Rigid3d(start.cam_from_world[:3]),
        corner_pixels(points2d),
        points3d,
        inliers,
        camera,
        pycolmap.AbsolutePoseRefinementOptions(
            loss_function_scale=width,
            gradient_tolerance=1e-6,
            refine_focal_length=refine_focal,
            refine_extra_params=refine_focal and int(inliers.sum()) >= ENOUGH_FOR_DISTORTION,
        ),
    )
    if found is None:
        return None
    old, new = np.array(start.camera.focal_lengths), camera.params[camera.focal_length_idxs()]
    if not ((new < MAX_FOCAL_CHANGE * old) & (new > old / MAX_FOCAL_CHANGE)).all():
        return None
    if refine_focal and (np.abs(camera.params[camera.extra_params_idxs()]) > MAX_DISTORTION).any():
        return None
    return _checked(found["cam_from_world"].matrix(), Camera.from_colmap(camera))


def _checked(matrix: Float[np.ndarray, "3 4"], camera: Camera) -> RefinedPose | None:
    if not np.isfinite(matrix).all():
        return None
    return RefinedPose(np.vstack([matrix, [0, 0, 0, 1]]), camera)
