"""Windows of a photo as the network sees them, with the 3D points inside, as upstream (spec 50 A6.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mast3r_match import crop_slice, rectify_crop

from .matching import KnownPoints

Window = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Crop:
    """A window of a photo.

    Attributes:
        image: (h, w, 3) float32 in [-1, 1].
        to_photo: 3x3 float64 homography from the crop's pixels to the photo's.
        points: of a map image, in the crop's pixels; None for a query.
    """

    image: Float[Tensor, "h w 3"]
    to_photo: Float[np.ndarray, "3 3"]
    points: KnownPoints | None = None

    def in_photo(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels (x, y) of the crop in the photo's."""
        mapped = np.asarray(xy, dtype=np.float64) @ self.to_photo[:, :2].T + self.to_photo[:, 2]
        return mapped[:, :2] / mapped[:, 2:]


def plain_crop(image: Float[Tensor, "H W 3"], window: Window, points: KnownPoints | None = None) -> Crop:
    """Cut a window out.

    Args:
        image: the photo, float32 in [-1, 1].
        window: (left, top, right, bottom), inside the photo.
        points: of the photo's pixels.
    """
    inside = crop_slice(window)
    to_photo = np.array([[1.0, 0.0, window[0]], [0.0, 1.0, window[1]], [0.0, 0.0, 1.0]])
    inner = None if points is None else KnownPoints(points.pts3d[inside], points.valid[inside])
    return Crop(image[inside], to_photo, inner)


def homography_crop(
    image: Float[Tensor, "H W 3"],
    window: Window,
    intrinsics: Float[np.ndarray, "3 3"],
    points: KnownPoints | None = None,
) -> Crop:
    """See a window as by a camera that is turned towards it.

    The homography goes into Pillow's transform as it is, although that counts from corners; grey levels are
    truncated on their way to 8 bits (spec 50 B, trap 5).

    Args:
        image: the photo, float32 in [-1, 1].
        window: (left, top, right, bottom), inside the photo.
        intrinsics: 3x3 in pixels of the photo.
        points: of the photo's pixels.
    """
    rectified = rectify_crop(intrinsics, window)
    homography = rectified.homography / rectified.homography[2, 2]
    coefficients = tuple(homography.flatten()[:8].tolist())

    def warp(plane: Image.Image, resample: Image.Resampling) -> np.ndarray:
        return np.array(
            plane.transform(rectified.size_wh, Image.Transform.PERSPECTIVE, coefficients, resample)
        )

    grey_levels = (255 * (image.numpy() + 1) / 2).clip(0, 255).astype(np.uint8)
    warped = torch.from_numpy(warp(Image.fromarray(grey_levels), Image.Resampling.BICUBIC))
    tensor = warped.to(torch.float32).div(255).sub(0.5).div(0.5)
    return Crop(tensor, homography, None if points is None else _warped_points(points, warp))


def _warped_points(
    points: KnownPoints, warp: Callable[[Image.Image, Image.Resampling], np.ndarray]
) -> KnownPoints:
    """Every pixel takes the point of the nearest pixel; none beyond the photo."""
    valid = warp(Image.fromarray(points.valid.astype(np.uint8) * 255), Image.Resampling.NEAREST) > 0
    planes = [
        warp(Image.fromarray(plane), Image.Resampling.NEAREST)
        for plane in np.ascontiguousarray(np.moveaxis(points.pts3d, -1, 0))
    ]
    return KnownPoints(np.stack(planes, axis=-1), valid)
