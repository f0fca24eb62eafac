"""Cutting windows out of photos of any size, and the way back to the photos' pixels (spec 20 section 7.6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from mast3r_model import ImageTransform, LoadedImage

from .homography import apply_homography, rectify_crop, warp_image

Window = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class WorkingPhoto:
    """A photo at the size that windows are cut from: its own, unless too large or smaller than the network's.

    Attributes:
        image: the resized photo.
        transform: between the photo's pixels and those of `image`.
        allowed: (height, width) of `image`, False where it may not match; None for everywhere.
        intrinsics: 3x3 in pixels of `image`; with them windows are seen as by a camera turned towards them.
        network_shape: (height, width) of the network's input for this photo, the size of its windows.
        network_long_side: of the photo as it was resized for the network, before it was cut to whole patches.
    """

    image: Image.Image
    transform: ImageTransform
    allowed: Bool[np.ndarray, "height width"] | None
    intrinsics: Float[np.ndarray, "3 3"] | None
    network_shape: tuple[int, int]
    network_long_side: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of `image`."""
        return self.image.height, self.image.width

    @property
    def network_sees_it_all(self) -> bool:
        """Whether `image` is no larger than what the network took: windows would show nothing more."""
        return max(self.shape) <= self.network_long_side


@dataclass(frozen=True, eq=False)
class Crop:
    """A window of a working photo as the network sees it.

    Attributes:
        pixels: (h, w, 3) RGB.
        allowed_pixels: (h, w), False where it may not match; None for everywhere.
        homography: 3x3, from the crop's pixels to the working photo's.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    allowed_pixels: Bool[np.ndarray, "h w"] | None
    homography: Float[np.ndarray, "3 3"]

    @cached_property
    def tensor(self) -> Float[Tensor, "3 h w"]:
        """The network's input."""
        channels_first = torch.from_numpy(self.pixels).permute(2, 0, 1).to(torch.float32)
        return channels_first.div_(255).sub_(0.5).div_(0.5)

    @property
    def allowed(self) -> Bool[Tensor, "h w"] | None:
        """`allowed_pixels` as a tensor."""
        return None if self.allowed_pixels is None else torch.from_numpy(self.allowed_pixels)

    def to_working(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Points of the crop in pixels of the working photo."""
        return apply_homography(self.homography, points)

    def from_working(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Points of the working photo in pixels of the crop."""
        return apply_homography(np.linalg.inv(self.homography), points)


def working_photo(
    loaded: LoadedImage,
    *,
    max_size: int | None,
    mask: Bool[np.ndarray, "H W"] | None = None,
    intrinsics: Float[np.ndarray, "3 3"] | None = None,
) -> WorkingPhoto:
    """Resize a photo so that its long side is at most `max_size` and a window fits into it.

    Args:
        loaded: the photo.
        max_size: longest side to work at; None for the photo's own.
        mask: (H, W) of the photo, False where it may not match.
        intrinsics: 3x3 in pixels of the photo, or None.
    """
    height, width = loaded.transform.original_shape
    scale_x, scale_y = loaded.transform.network_from_original[[0, 1], [0, 1]]
    network_long_side = max(round(width * scale_x), round(height * scale_y))
    long_side = max(height, width) if max_size is None else min(max_size, max(height, width))
    long_side = max(long_side, network_long_side)
    image = Image.fromarray(loaded.original)
    if long_side == network_long_side:
        resized = (round(height * scale_y), round(width * scale_x))
    else:
        scale = long_side / max(height, width)
        resized = (round(height * scale), round(width * scale))
    if resized != (height, width):
        method = Image.Resampling.LANCZOS if max(resized) < max(height, width) else Image.Resampling.BICUBIC
        image = image.resize(resized[::-1], method)
    transform = ImageTransform.from_resize_and_crop((height, width), resized, (0, 0, resized[1], resized[0]))
    return WorkingPhoto(
        image,
        transform,
        None if mask is None else transform.map_to_network(mask, sampling="nearest"),
        None if intrinsics is None else transform.intrinsics_to_network(np.asarray(intrinsics)),
        loaded.transform.network_shape,
        network_long_side,
    )


def cut_window(photo: WorkingPhoto, window: Window) -> Crop:
    """The window as it is, or rectified where the photo's intrinsics are known."""
    if photo.intrinsics is not None:
        rectified = rectify_crop(photo.intrinsics, window)
        allowed = None
        if photo.allowed is not None:
            mask = Image.fromarray(photo.allowed.astype(np.uint8) * 255)
            allowed = np.array(warp_image(mask, rectified, resample=Image.Resampling.NEAREST)) > 0
        return Crop(np.array(warp_image(photo.image, rectified)), allowed, rectified.homography)
    left, top, right, bottom = window
    allowed = None if photo.allowed is None else photo.allowed[top:bottom, left:right].copy()
    shift = np.array([[1.0, 0.0, left], [0.0, 1.0, top], [0.0, 0.0, 1.0]])
    return Crop(np.array(photo.image.crop(window)), allowed, shift)
