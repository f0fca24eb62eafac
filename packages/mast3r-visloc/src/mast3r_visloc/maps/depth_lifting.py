"""From a depth map to the 3D points that a photo sees."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mast3r_model import ImageTransform
from mast3r_visloc.cameras import Camera, normalized

from .contents import DensePoints


def lift_depth(
    depth: Float[np.ndarray, "h w"],
    camera: Camera,
    cam2world: Float[np.ndarray, "4 4"],
    transform: ImageTransform | None = None,
) -> DensePoints:
    """The 3D point of every pixel of a depth map.

    Args:
        depth: (h, w) camera z in world units; what is not finite and above 0 is unknown.
        camera: of the photo, with its distortion, in the photo's pixels.
        cam2world: 4x4, camera axes x right, y down, z forward.
        transform: between the photo's pixels and the depth map's; None: the map spans the whole photo, at
            whatever resolution.

    Returns:
        Float64 points in the world's frame, NaN where depth is unknown.
    """
    height, width = depth.shape
    if transform is None:
        whole = (0.0, 0.0, float(camera.width), float(camera.height))
        transform = ImageTransform.from_crop_and_resize(camera.shape, whole, (height, width))
    y, x = np.indices((height, width), dtype=np.float64)
    pixels = transform.points_to_original(np.stack([x.ravel(), y.ravel()], axis=1))
    z = np.asarray(depth, dtype=np.float64).reshape(-1, 1)
    z = np.where(np.isfinite(z) & (z > 0), z, np.nan)
    rays = normalized(camera, pixels)
    points = np.concatenate([rays * z, z], axis=1) @ cam2world[:3, :3].T + cam2world[:3, 3]
    return DensePoints(points.reshape(height, width, 3), transform)
