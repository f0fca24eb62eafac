"""A COLMAP model through pycolmap: which photos it has, and their cameras in our conventions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_train.preparing.extras import import_extra

PIXEL_CENTRE = 0.5
"""COLMAP's coordinate of the first pixel's centre; ours is 0."""

MODEL_FOLDERS = (".", "sparse", "sparse/0")
UNDISTORTED = ("PINHOLE", "SIMPLE_PINHOLE")


def find_model(folder: Path) -> Path | None:
    """The folder of the model's files, binary or text; None if there is none."""
    for name in MODEL_FOLDERS:
        for suffix in (".bin", ".txt"):
            if all((folder / name / f"{kind}{suffix}").is_file() for kind in ("cameras", "images")):
                return folder / name
    return None


def read_model(folder: Path) -> Any:
    """pycolmap's Reconstruction of a folder.

    Raises:
        InputError: pycolmap is not there, or the model is broken.
    """
    pycolmap = import_extra("pycolmap", extra="colmap", purpose="reading a COLMAP model")
    try:
        return pycolmap.Reconstruction(folder)
    except Exception as error:  # pycolmap raises RuntimeError, ValueError and IndexError for broken files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder} holds a broken COLMAP model: {reason}") from error


def undistorted_images(model: Any) -> list[Any]:
    """The images that have a pose, sorted by name.

    Raises:
        InputError: a camera has lens distortion.
    """
    images = sorted((image for image in model.images.values() if image.has_pose), key=lambda im: im.name)
    for image in images:
        if image.camera.model_name not in UNDISTORTED:
            raise InputError(
                f"{image.name} has a {image.camera.model_name} camera; training needs photos without lens "
                f"distortion ({' or '.join(UNDISTORTED)})",
                hint="undistort them: colmap image_undistorter --image_path IMAGES --input_path SPARSE "
                "--output_path DENSE, and give ROOT='DENSE'",
            )
    return images


def intrinsics_of(camera: Any) -> Float[np.ndarray, "3 3"]:
    """Of a pinhole camera of pycolmap's, with pixel centres at integers."""
    K = np.array(camera.calibration_matrix(), dtype=np.float64)
    K[:2, 2] -= PIXEL_CENTRE
    return K


def cam2world_of(image: Any) -> Float[np.ndarray, "4 4"]:
    """The pose of an image of pycolmap's."""
    world2cam = np.eye(4)
    world2cam[:3] = image.cam_from_world().matrix()
    return np.linalg.inv(world2cam)
