"""Scaling and cropping an image together with its depth and intrinsics (spec 40 sections 3.1 to 3.6).

Sizes are ``(width, height)`` throughout. Intrinsics have pixel centres at integers. Their arithmetic stays in
the dtype that they come in: crop positions are rounded halves, so a more exact dtype would round elsewhere.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from PIL import Image

Size = tuple[int, int]
"""(width, height)"""

Intrinsics = Float[np.ndarray, "3 3"]
Depth = Float[np.ndarray, "height width *channels"]

ViewStyle = Literal["mast3r", "dust3r"]


def rescale(
    image: Image.Image, depth: Depth | None, intrinsics: Intrinsics, size_wh: Size, *, force: bool = True
) -> tuple[Image.Image, Depth | None, Intrinsics]:
    """Scale so that the image just covers a size.

    Args:
        image: RGB.
        depth: of the same size, or None; nearest neighbours are taken.
        intrinsics: of the image.
        size_wh: to be covered.
        force: enlarge too; else an image that would have to be is returned as it is.

    Returns:
        Image, depth and intrinsics, scaled.
    """
    width, height = image.size
    scale = max(size_wh[0] / width, size_wh[1] / height) + 1e-8
    if scale >= 1 and not force:
        return image, depth, intrinsics
    out = (int(np.floor(width * scale)), int(np.floor(height * scale)))
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    if out != image.size:  # Pillow would copy the pixels
        image = image.resize(out, resample=method)
    if depth is not None:
        depth = resize_nearest(depth, out)
    return image, depth, camera_matrix_of_crop(intrinsics, (width, height), out, scaling=scale)


def resize_nearest(array: Depth, size_wh: Size) -> Depth:
    """Nearest neighbour as OpenCV's INTER_NEAREST takes it: ``min(floor(x / scale), last)``."""
    height, width = array.shape[:2]
    if (width, height) == tuple(size_wh):
        return array
    columns = _source_index(size_wh[0], width)
    rows = _source_index(size_wh[1], height)
    return array[rows[:, None], columns]


def _source_index(size: int, source_size: int) -> np.ndarray:
    step = 1.0 / (size / source_size)
    return np.minimum(np.floor(np.arange(size) * step).astype(np.int64), source_size - 1)


def camera_matrix_of_crop(
    intrinsics: Intrinsics, in_wh: Size, out_wh: Size, *, scaling: float = 1.0, offset_factor: float = 0.5
) -> Intrinsics:
    """Intrinsics after scaling an image and cropping a part out of it.

    Args:
        intrinsics: of the image.
        in_wh: its size.
        out_wh: size of the crop.
        scaling: factor of the scaling before the crop.
        offset_factor: share of the margins that lies left and above of the crop; 0.5 crops the centre.

    Raises:
        ValueError: the crop is larger than the scaled image.
    """
    margins = np.asarray(in_wh) * scaling - np.asarray(out_wh)
    if (margins < 0).any():
        raise ValueError(f"a crop of {out_wh} does not fit into an image of {in_wh} scaled by {scaling}")
    new: Intrinsics = intrinsics.copy()
    new[:2, 2] += 0.5
    new[:2] *= scaling
    new[:2, 2] -= offset_factor * margins
    new[:2, 2] -= 0.5
    return new


def scaled_intrinsics(intrinsics: Intrinsics, from_wh: Size, to_wh: Size) -> Intrinsics:
    """Intrinsics of an image after it was resized, each axis by its own factor; float64."""
    scaled = np.array(intrinsics, dtype=np.float64)
    scaled[:2, 2] += 0.5
    scaled[0] *= to_wh[0] / from_wh[0]
    scaled[1] *= to_wh[1] / from_wh[1]
    scaled[:2, 2] -= 0.5
    return scaled


def crop(
    image: Image.Image, depth: Depth | None, intrinsics: Intrinsics, box: tuple[int, int, int, int]
) -> tuple[Image.Image, Depth | None, Intrinsics]:
    """Cut out the box (left, top, right, bottom), in pixels."""
    left, top, right, bottom = box
    new = intrinsics.copy()
    new[0, 2] -= left
    new[1, 2] -= top
    if depth is not None:
        depth = depth[top:bottom, left:right]
    if box == (0, 0, *image.size):
        return image, depth, new
    return image.crop(box), depth, new


def final_crop(
    image: Image.Image, depth: Depth | None, intrinsics: Intrinsics, size_wh: Size
) -> tuple[Image.Image, Depth | None, Intrinsics]:
    """Cut the centre out to exactly a size."""
    wanted = camera_matrix_of_crop(intrinsics, image.size, size_wh)
    left, top = np.round(intrinsics[:2, 2] - wanted[:2, 2]).astype(np.int32).tolist()
    return crop(image, depth, intrinsics, (left, top, left + size_wh[0], top + size_wh[1]))


def crop_around_principal_point(
    image: Image.Image, depth: Depth | None, intrinsics: Intrinsics
) -> tuple[Image.Image, Depth | None, Intrinsics]:
    """The largest part of the image whose centre is the (rounded) principal point."""
    width, height = image.size
    cx, cy = np.round(intrinsics[:2, 2]).astype(int).tolist()
    mx, my = min(cx, width - cx), min(cy, height - cy)
    if mx <= 0 or my <= 0:
        raise ValueError(f"the principal point ({cx}, {cy}) is outside of the image of {image.size}")
    return crop(image, depth, intrinsics, (cx - mx, cy - my, cx + mx, cy + my))


def choose_orientation(
    image_wh: Size, resolution: Size, rng: np.random.Generator, *, random_if_square: bool = True
) -> Size:
    """Turn a landscape resolution to portrait for portrait images, and for half of the square ones.

    Args:
        image_wh: size of the image.
        resolution: width >= height.
        rng: asked only for nearly square images.
        random_if_square: else the draw is made and ignored.
    """
    width, height = image_wh
    if height > 1.1 * width:
        return resolution[1], resolution[0]
    if 0.9 < height / width < 1.1 and resolution[0] != resolution[1]:
        turned = bool(rng.integers(2))
        if turned and random_if_square:
            return resolution[1], resolution[0]
    return resolution


def crop_resize(
    image: Image.Image,
    depth: Depth | None,
    intrinsics: Intrinsics,
    resolution: Size,
    rng: np.random.Generator,
    *,
    style: ViewStyle = "mast3r",
    aug_crop: int = 0,
    random_if_square: bool = True,
) -> tuple[Image.Image, Depth | None, Intrinsics]:
    """From a view as it is stored to one of a training resolution (spec 40 section 3.6).

    Args:
        resolution: (width, height), landscape; portrait images get it turned.
        rng: source of the draws: orientation of nearly square images, then ``aug_crop``'s.
        style: ``mast3r``; or ``dust3r``, which first cuts the image so that the principal point is centred.
        aug_crop: with ``dust3r``, up to so many pixels are cut off.
        random_if_square: orientation of nearly square images at random; ``dust3r`` always does.

    Raises:
        ValueError: the principal point lies outside of the image (``dust3r``).
    """
    if style == "dust3r":
        image, depth, intrinsics = crop_around_principal_point(image, depth, intrinsics)
        random_if_square = True
    resolution = choose_orientation(image.size, resolution, rng, random_if_square=random_if_square)
    target = resolution
    if style == "dust3r" and aug_crop > 1:
        extra = int(rng.integers(0, aug_crop))
        target = (resolution[0] + extra, resolution[1] + extra)
    return final_crop(*rescale(image, depth, intrinsics, target), resolution)
