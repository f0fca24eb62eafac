"""Between our pinhole cameras and pycolmap's."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pycolmap
from jaxtyping import Float

from mast3r_model import InputError

from .convention import pixels_to_colmap

CameraModel = Literal["SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "OPENCV"]

FOCAL_GUESS = 1.2
"""Focal length of an uncalibrated camera, in units of its image's longer side (COLMAP's own guess)."""


def colmap_camera(
    shape: tuple[int, int],
    intrinsics: Float[np.ndarray, "3 3"] | None,
    *,
    focal_guess: float | None = None,
    model: CameraModel = "PINHOLE",
    camera_id: int = 1,
) -> pycolmap.Camera:
    """A camera for COLMAP.

    Args:
        shape: (height, width) of the photo.
        intrinsics: 3x3 in the photo's pixels, our convention; None if unknown: a guess that COLMAP refines.
        focal_guess: that guess in the photo's pixels; None: COLMAP's own.
        model: COLMAP's name; distortion is 0. Models with one focal length take the mean of both.
        camera_id: as in the database or reconstruction.
    """
    height, width = shape
    known = intrinsics is not None
    guess = FOCAL_GUESS * max(shape) if focal_guess is None else focal_guess
    K = np.array([[guess, 0, width / 2], [0, guess, height / 2], [0, 0, 1]])
    if intrinsics is not None:
        K = pixels_to_colmap(intrinsics)
    focal = [K[0, 0], K[1, 1]] if model in ("PINHOLE", "OPENCV") else [(K[0, 0] + K[1, 1]) / 2]
    distortion = {"SIMPLE_RADIAL": 1, "OPENCV": 4}.get(model, 0)
    return pycolmap.Camera(
        camera_id=camera_id,
        model=model,
        width=width,
        height=height,
        params=[*focal, K[0, 2], K[1, 2], *[0.0] * distortion],
        has_prior_focal_length=known,
    )


def intrinsics_of(camera: pycolmap.Camera) -> Float[np.ndarray, "3 3"]:
    """The pinhole part of a COLMAP camera, 3x3 in our convention.

    Raises:
        InputError: a fisheye or spherical camera, which no pinhole comes near to.
    """
    if not camera.is_perspective_pinhole():
        raise InputError(f"camera {camera.camera_id} is a {camera.model_name}, which is no pinhole camera")
    return pixels_to_colmap(camera.calibration_matrix(), inverse=True)


def is_distorted(camera: pycolmap.Camera) -> bool:
    """Whether the camera has lens distortion, which its intrinsics do not say."""
    return not camera.is_undistorted()
