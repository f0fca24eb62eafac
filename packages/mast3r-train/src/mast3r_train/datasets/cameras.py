"""Cameras of views as prepared files hold them: intrinsics and pose, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_train.errors import SampleError

from .files import read_npz

Camera = tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]
"""Intrinsics in pixels, and cam2world."""


def camera_of_npz(path: Path, intrinsics: str, cam2world: str) -> Camera:
    """A camera from an npz file.

    Args:
        path: the file.
        intrinsics: key of the 3x3 matrix.
        cam2world: key of the pose, 4x4 or 3x4.

    Raises:
        SampleError: missing, broken, or of other shapes.
    """
    return checked_camera(path, read_npz(path, (intrinsics, cam2world)), intrinsics, cam2world)


def checked_camera(path: Path, stored: Mapping[str, np.ndarray], intrinsics: str, cam2world: str) -> Camera:
    """A camera from arrays that were read from a file; see `camera_of_npz`."""
    K, pose = stored[intrinsics], stored[cam2world]
    if (
        K.shape != (3, 3)
        or pose.shape not in ((4, 4), (3, 4))
        or {K.dtype.kind, pose.dtype.kind} - set("fiu")
    ):
        raise SampleError(
            f"{path}: expected {intrinsics} 3x3 and {cam2world} 4x4, got {K.dtype} {K.shape} and "
            f"{pose.dtype} {pose.shape}"
        )
    full = np.eye(4)
    full[: len(pose)] = pose
    return K.astype(np.float64), full
