"""Photos at the size that windows are cut from, as upstream shrinks them (spec 50 A6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from .matching import KnownPoints
from .resizing import rescale_grid3d
from .views import ReferenceView


@dataclass(frozen=True, eq=False)
class CappedPhoto:
    """A photo that was shrunk to at most some size.

    Attributes:
        name: of the photo.
        image: (h, w, 3) float32 in [-1, 1].
        intrinsics: 3x3 in pixels of `image`, an integer being a pixel's centre.
        to_photo: 3x3 from pixels of `image` to the photo's: a scale without the half pixels (trap 3).
        points: of a map image, on the pixels of `image`; None for a query.
    """

    name: str
    image: Float[Tensor, "h w 3"]
    intrinsics: Float[np.ndarray, "3 3"]
    to_photo: Float[np.ndarray, "3 3"]
    points: KnownPoints | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of `image`."""
        return self.image.shape[0], self.image.shape[1]

    def from_photo(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels (x, y) of the photo in those of `image`."""
        return xy / self.to_photo[[0, 1], [0, 1]]

    def in_photo(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels (x, y) of `image` in those of the photo."""
        return xy * self.to_photo[[0, 1], [0, 1]]


def capped_shape(size_wh: tuple[int, int], max_size: int | None) -> tuple[int, int]:
    """(height, width) that a photo of (width, height) is shrunk to."""
    width, height = size_wh
    if max_size is None or max(size_wh) <= max_size:
        return height, width
    if width >= height:
        return int(height * (max_size / width)), max_size
    return max_size, int(width * (max_size / height))


def cap_photo(view: ReferenceView, max_size: int | None) -> CappedPhoto:
    """Shrink a view's photo, its intrinsics and its 3D points.

    Args:
        view: of the photo.
        max_size: longest side in pixels; None leaves every photo as it is.
    """
    shape = capped_shape(view.rgb.size, max_size)
    width, height = view.rgb.size
    scale = np.diag([shape[1] / width, shape[0] / height, 1.0])
    return CappedPhoto(
        view.image_name,
        _shrunk(view.rgb, shape),
        _scaled_intrinsics(view.intrinsics, scale),
        np.diag([width / shape[1], height / shape[0], 1.0]),
        _shrunk_points(view, scale, shape),
    )


def _shrunk(photo: Image.Image, shape: tuple[int, int]) -> Float[Tensor, "h w 3"]:
    tensor = torch.from_numpy(np.array(photo)).permute(2, 0, 1).to(torch.float32)
    tensor = tensor.div(255).sub(0.5).div(0.5)
    if shape != (photo.height, photo.width):
        tensor = torch.nn.functional.interpolate(
            tensor[None], shape, mode="bilinear", align_corners=False, antialias=True
        )[0]
    return tensor.permute(1, 2, 0)


def _scaled_intrinsics(
    intrinsics: Float[np.ndarray, "3 3"], scale: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "3 3"]:
    """The exact way, with the half pixels: only points are scaled without."""
    scaled = np.array(intrinsics, dtype=np.float64)
    scaled[:2, 2] += 0.5
    scaled = scale @ scaled
    scaled[:2, 2] -= 0.5
    return scaled


def _shrunk_points(
    view: ReferenceView, scale: Float[np.ndarray, "3 3"], shape: tuple[int, int]
) -> KnownPoints | None:
    if view.pts3d is None or view.valid is None:
        return None
    if shape == view.pts3d.shape[:2]:
        return KnownPoints(view.pts3d.astype(np.float32), view.valid)
    rescaled = rescale_grid3d(view.pts3d, scale, shape)
    return KnownPoints(rescaled.pts3d, rescaled.valid)
