"""A pose as the seven numbers of text files: world to camera, quaternion with the real part first."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from mast3r_model import InputError

Sign = Literal["positive", "upstream"]
"""``positive``: qw >= 0. ``upstream``: as it comes out of upstream's conversion, for parity only."""

PoseNumbers = tuple[float, float, float, float, float, float, float]
"""qw qx qy qz tx ty tz, world to camera."""

UPSTREAM_FAILURE: PoseNumbers = (1.0, -0.0, -0.0, -0.0, 0.0, 0.0, 0.0)
"""What upstream writes for a query that was not localised, down to the signs of the zeros (spec 50 A8)."""


def pose_numbers(cam2world: Float[np.ndarray, "4 4"], *, sign: Sign = "positive") -> PoseNumbers:
    """qw qx qy qz tx ty tz, world to camera.

    Args:
        cam2world: 4x4.
        sign: which of the two quaternions.

    Raises:
        InputError: the matrix is not finite, or not one of a rotation and a translation.
    """
    matrix = np.asarray(cam2world, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError(f"a pose must be a finite 4x4 matrix, got {matrix.tolist()}")
    if np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() > 1e-3 or np.linalg.det(matrix) < 0:
        raise InputError(f"a pose must hold a rotation, got {matrix[:3, :3].tolist()}")
    world2cam = np.linalg.inv(matrix)
    if sign == "upstream":
        quaternion = _eigenvector_quaternion(world2cam[:3, :3])
    else:
        quaternion = Rotation.from_matrix(world2cam[:3, :3]).as_quat(canonical=True, scalar_first=True)
    return tuple(float(number) for number in (*quaternion, *world2cam[:3, 3]))  # type: ignore[return-value]


def pose_matrix(numbers: PoseNumbers) -> Float[np.ndarray, "4 4"]:
    """4x4 cam2world of qw qx qy qz tx ty tz, world to camera; quaternions are normalised.

    Raises:
        InputError: not seven finite numbers, or a quaternion of length zero.
    """
    values = np.asarray(numbers, dtype=np.float64)
    if values.shape != (7,) or not np.isfinite(values).all():
        raise InputError(f"expected seven finite numbers qw qx qy qz tx ty tz, got {list(numbers)}")
    length = np.linalg.norm(values[:4])
    if length < 1e-6:
        raise InputError(f"a quaternion must not be zero, got {values[:4].tolist()}")
    world2cam = Rotation.from_quat(values[:4] / length, scalar_first=True).as_matrix()
    cam2world = np.eye(4)
    cam2world[:3, :3] = world2cam.T
    cam2world[:3, 3] = -world2cam.T @ values[4:]
    return cam2world


def _eigenvector_quaternion(rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, " wxyz"]:
    """Bar-Itzhack's way (2000), an eigenvector: its sign is LAPACK's, and so it is in upstream's files."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    matrix = np.array(
        [
            [a - e - i, d + b, g + c, f - h],
            [d + b, e - a - i, h + f, g - c],
            [g + c, h + f, i - a - e, b - d],
            [f - h, g - c, b - d, a + e + i],
        ]
    )
    _, vectors = scipy.linalg.eigh(matrix / 3, subset_by_index=(3, 3))
    x, y, z, w = vectors[:, 0]
    return np.array([w, -x, -y, -z])
