"""The datasets' way to the network's size: crop to a supported aspect, then resize (spec 20 section 6)."""

from __future__ import annotations

from typing import Literal

from PIL import Image

from mast3r_model.errors import InputError
from mast3r_model.image_transform import ImageTransform

SUPPORTED_RESOLUTIONS_WH: dict[int, tuple[tuple[int, int], ...]] = {
    512: ((512, 384), (512, 336), (512, 288), (512, 256), (512, 160)),
    224: ((224, 224),),
}
"""Landscape (width, height) that the official models were trained at, by long side."""


def nearest_network_shape(shape: tuple[int, int], size: int = 512) -> tuple[int, int]:
    """The supported network shape with the nearest aspect.

    Args:
        shape: (height, width) of an image; a square counts as landscape.
        size: 512 or 224, the long side.

    Returns:
        (height, width); the first of equally near ones.

    Raises:
        InputError: a size for which no resolutions are listed.
    """
    if size not in SUPPORTED_RESOLUTIONS_WH:
        raise InputError(f"no resolutions for size {size}; known: {sorted(SUPPORTED_RESOLUTIONS_WH)}")
    height, width = shape
    landscape = width >= height
    aspect = width / height if landscape else height / width
    long_side, short_side = min(SUPPORTED_RESOLUTIONS_WH[size], key=lambda wh: abs(aspect - wh[0] / wh[1]))
    return (short_side, long_side) if landscape else (long_side, short_side)


def crop_and_resize_transform(shape: tuple[int, int], size: int = 512) -> ImageTransform:
    """The transform of a centred crop to the nearest supported aspect, then a resize.

    It is the identity where the image has a supported size already.

    Args:
        shape: (height, width) of the original image.
        size: 512 or 224.

    Returns:
        The transform; `matrix_to_original(pixels="corner")` is upstream's `to_orig`,
        `matrix_to_network(pixels="corner")` its `to_rescaled`.
    """
    height, width = shape
    if (max(shape), min(shape)) in SUPPORTED_RESOLUTIONS_WH.get(size, ()):
        return ImageTransform.identity(shape)
    target = nearest_network_shape(shape, size)
    aspect = target[1] / target[0]
    crop_height, crop_width = height, width
    if width / height < aspect:
        crop_height = int(width / aspect)
    else:
        crop_width = int(height * aspect)
    # The corner may be half a pixel: the resampling below honours it, so that matrix and pixels agree.
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    return ImageTransform.from_crop_and_resize(
        shape, (left, top, left + crop_width, top + crop_height), target
    )


def apply_transform(
    image: Image.Image, transform: ImageTransform, *, sampling: Literal["smooth", "nearest"] = "smooth"
) -> Image.Image:
    """Resample a photo with a transform whose network image lies wholly on it.

    Args:
        image: the upright photo, `transform.original_shape`.
        transform: as made by `crop_and_resize_transform`.
        sampling: "smooth" (Lanczos when shrinking, bicubic when enlarging) for photos, "nearest" for masks.

    Returns:
        The image at `transform.network_shape`.

    Raises:
        InputError: the photo has another size than the transform's.
    """
    if image.size[::-1] != transform.original_shape:
        raise InputError(
            f"the transform is for (height, width) {transform.original_shape}, got {image.size[::-1]}"
        )
    if transform == ImageTransform.identity(transform.original_shape):
        return image
    height, width = transform.network_shape
    matrix = transform.matrix_to_original(pixels="corner")
    left, top = matrix[:2, 2]
    # Rounding of the last digit must not push the box over the photo's edge, which Pillow refuses.
    box = (
        max(left, 0.0),
        max(top, 0.0),
        min(left + width * matrix[0, 0], float(image.width)),
        min(top + height * matrix[1, 1], float(image.height)),
    )
    if sampling == "nearest":
        method = Image.Resampling.NEAREST
    else:
        method = Image.Resampling.LANCZOS if max(matrix[0, 0], matrix[1, 1]) > 1 else Image.Resampling.BICUBIC
    return image.resize((width, height), method, box=box)
