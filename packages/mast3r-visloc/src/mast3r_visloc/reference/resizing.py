"""How upstream brings photos and their 3D points to the network's size, to the number (spec 50 A4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from PIL import Image
from torch import Tensor
from torch.nn import functional

from mast3r_model import InputError

_LANDSCAPE_SHAPES: dict[int, tuple[tuple[float, tuple[int, int]], ...]] = {
    512: (
        (4 / 3, (384, 512)),
        (32 / 21, (336, 512)),
        (16 / 9, (288, 512)),
        (2.0, (256, 512)),
        (16 / 5, (160, 512)),
    ),
    224: ((1.0, (224, 224)),),
}
"""By longest side: width over height -> (height, width)."""
_SAME_RATIO = 1.19e-7


@dataclass(frozen=True, eq=False)
class ResizePlan:
    """A centre crop, then a resize.

    The matrices act on (x, y, 1) with the corner of an image, not a pixel's centre, at 0. They place the crop
    at exactly half of the margin; the pixels are cut at a whole number (trap 4).

    Attributes:
        original: (height, width) of the photo.
        crop: (height, width) of the cut.
        shape: (height, width) of the network's input.
        to_orig: 3x3, from the network's input to the photo.
        to_rescaled: 3x3, from the photo to the network's input.
    """

    original: tuple[int, int]
    crop: tuple[int, int]
    shape: tuple[int, int]
    to_orig: Float64[np.ndarray, "3 3"]
    to_rescaled: Float64[np.ndarray, "3 3"]


@dataclass(frozen=True, eq=False)
class RescaledPoints:
    """3D points on another pixel grid.

    Attributes:
        xy: (n, 2) where every point falls, an integer being a pixel's centre.
        pixels: (m, 2) whole (x, y) of those that fall inside, in the order of the input.
        pts3d: (h, w, 3), NaN where nothing fell.
        valid: (h, w) where `pts3d` is known.
    """

    xy: Float[np.ndarray, "n 2"]
    pixels: Int64[np.ndarray, "m 2"]
    pts3d: Float32[np.ndarray, "h w 3"]
    valid: Bool[np.ndarray, "h w"]


def resize_plan(shape: tuple[int, int], maxdim: int) -> ResizePlan:
    """What a photo of (height, width) is cut and resized to.

    Args:
        shape: (height, width) of the photo.
        maxdim: longest side of the network's input, 512 or 224.

    Raises:
        InputError: another `maxdim`, or a photo so thin that nothing is left of it.
    """
    known = _LANDSCAPE_SHAPES.get(maxdim)
    if known is None:
        raise InputError(
            f"the reference pipeline knows networks of {sorted(_LANDSCAPE_SHAPES)} pixels, got {maxdim}",
            "evaluate without --parity",
        )
    height, width = shape
    if (min(shape), max(shape)) in [landscape for _, landscape in known]:
        return ResizePlan(shape, shape, shape, np.eye(3), np.eye(3))
    ratio = width / height
    if width >= height:
        target = min(known, key=lambda entry: abs(entry[0] - ratio))[1]
    else:
        tall, wide = min(known, key=lambda entry: abs(1 / entry[0] - ratio))[1]
        target = wide, tall
    crop = _largest_crop(shape, target[1] / target[0])
    if min(crop) < 1:
        raise InputError(
            f"a photo of {width}x{height} pixels is too thin to be cut to {target[1]}x{target[0]}"
        )
    margin_y, margin_x = (height - crop[0]) / 2, (width - crop[1]) / 2
    scale_y, scale_x = crop[0] / target[0], crop[1] / target[1]
    moved = np.array([[1, 0, margin_x], [0, 1, margin_y], [0, 0, 1]])
    moved_back = np.array([[1, 0, -margin_x], [0, 1, -margin_y], [0, 0, 1]])
    to_orig = moved @ np.diag([scale_x, scale_y, 1])
    to_rescaled = np.diag([1 / scale_x, 1 / scale_y, 1]) @ moved_back
    return ResizePlan(shape, crop, target, to_orig, to_rescaled)


def _largest_crop(shape: tuple[int, int], ratio: float) -> tuple[int, int]:
    """(height, width) of the largest cut of that width over height."""
    height, width = shape
    if abs(width / height - ratio) < _SAME_RATIO:
        return shape
    return (int(width / ratio), width) if width / height < ratio else (height, int(height * ratio))


def network_tensor(photo: Image.Image, plan: ResizePlan) -> Float32[Tensor, "3 h w"]:
    """The network's input: values in [-1, 1], cut, then resized with antialiasing."""
    # Contiguous: for channels-last tensors the resize rounds otherwise than upstream's.
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1).contiguous().to(torch.float32)
    values = (pixels / 255 - 0.5) / 0.5
    if plan.original == plan.shape:
        return values
    (height, width), (crop_height, crop_width) = plan.original, plan.crop
    top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
    cut = values[:, top : top + crop_height, left : left + crop_width]
    return functional.interpolate(
        cut[None], size=plan.shape, mode="bilinear", align_corners=False, antialias=True
    )[0]


def rescale_points3d(
    xy: Float[np.ndarray, "n 2"],
    xyz: Float[np.ndarray, "n 3"],
    to_rescaled: Float64[np.ndarray, "3 3"],
    shape: tuple[int, int],
) -> RescaledPoints:
    """Bring 3D points from the pixels of one image to those of another; the last one in a pixel wins.

    Args:
        xy: (n, 2) pixels, an integer being a pixel's centre.
        xyz: (n, 3) the 3D points there.
        to_rescaled: 3x3 between both images, the corner of an image being at 0.
        shape: (height, width) of the other image.
    """
    moved = (xy + 0.5) @ to_rescaled[:2, :2].T + to_rescaled[:2, 2] - 0.5
    pixels, inside = _pixels_inside(moved, shape)
    grid = _scatter(pixels, xyz[inside], shape)
    return RescaledPoints(moved, pixels, grid, np.isfinite(grid).all(axis=-1))


def scatter_points3d(
    xy: Float[np.ndarray, "n 2"], xyz: Float[np.ndarray, "n 3"], shape: tuple[int, int]
) -> Float32[np.ndarray, "h w 3"]:
    """3D points on the pixel grid of their own image, NaN elsewhere; the last one in a pixel wins."""
    pixels, inside = _pixels_inside(xy, shape)
    return _scatter(pixels, xyz[inside], shape)


def _pixels_inside(
    xy: Float[np.ndarray, "n 2"], shape: tuple[int, int]
) -> tuple[Int64[np.ndarray, "m 2"], Bool[np.ndarray, " n"]]:
    """The nearest pixels (ties to even) of the points inside the image, and which those are."""
    nearest = np.rint(xy).astype(np.int64)
    inside = ((nearest >= 0) & (nearest < (shape[1], shape[0]))).all(axis=1)
    return nearest[inside], inside


def _scatter(
    pixels: Int64[np.ndarray, "m 2"], xyz: Float[np.ndarray, "m 3"], shape: tuple[int, int]
) -> Float32[np.ndarray, "h w 3"]:
    grid = np.full((*shape, 3), np.nan, dtype=np.float32)
    grid[pixels[:, 1], pixels[:, 0]] = xyz
    return grid


def rescale_grid3d(
    grid: Float[np.ndarray, "H W 3"], to_rescaled: Float64[np.ndarray, "3 3"], shape: tuple[int, int]
) -> RescaledPoints:
    """`rescale_points3d` of the known pixels of a grid of 3D points, row after row."""
    rows, columns = np.nonzero(np.isfinite(grid).all(axis=-1))
    xy = np.stack([columns, rows], axis=1).astype(np.float64)
    return rescale_points3d(xy, grid[rows, columns], to_rescaled, shape)
