"""Depth maps to 3D points in the world's frame (spec 50 A3.5)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera


def lift_depth(
    depth: Float32[np.ndarray, "h w"], camera: Camera, cam2world: Float[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "h w 3"]:
    """The 3D point of every pixel, NaN where the depth is not positive.

    Args:
        depth: z in the camera's frame, in metres.
        camera: of the photo, without distortion.
        cam2world: 4x4 of the photo.

    Raises:
        InputError: a camera with distortion, or of another size than the depth map.
    """
    if camera.model not in ("SIMPLE_PINHOLE", "PINHOLE"):
        raise InputError(
            f"depth maps need a camera without distortion, got {camera.model}", "undistort the photos first"
        )
    if depth.shape != camera.shape:
        raise InputError(f"the depth map is {depth.shape}, its camera {camera.shape} (height, width)")
    intrinsics = camera.intrinsics
    rows, columns = np.indices(depth.shape)
    z = np.where(depth > 0, depth.astype(np.float64), np.nan)
    x = (columns - intrinsics[0, 2]) * z / intrinsics[0, 0]
    y = (rows - intrinsics[1, 2]) * z / intrinsics[1, 1]
    points = np.stack([x, y, z], axis=-1) @ cam2world[:3, :3].T + cam2world[:3, 3]
    return points.astype(np.float32)
