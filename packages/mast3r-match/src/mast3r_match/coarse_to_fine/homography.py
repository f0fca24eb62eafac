"""Crops seen as by a camera that was turned towards them (spec 20 section 7.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from PIL import Image

from mast3r_model import InputError

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class RectifiedCrop:
    """A virtual camera that looks at a crop.

    Attributes:
        size_wh: (width, height) of its image.
        intrinsics: 3x3, its principal point in the middle.
        rotation: 3x3, from the virtual camera's axes to the photo's.
        homography: 3x3, maps its pixels to the photo's.
    """

    size_wh: tuple[int, int]
    intrinsics: Float[np.ndarray, "3 3"]
    rotation: Float[np.ndarray, "3 3"]
    homography: Float[np.ndarray, "3 3"]


def rectify_crop(
    intrinsics: Float[np.ndarray, "3 3"],
    crop: Float[np.ndarray, " 4"] | tuple[float, float, float, float],
    target_size_wh: tuple[int, int] | None = None,
) -> RectifiedCrop:
    """Turn a camera about its centre so that a crop lies in the middle of its view.

    The crop's corner farthest from the principal point stays a corner.

    Args:
        intrinsics: 3x3 of the photo.
        crop: (left, top, right, bottom) in pixels of the photo; rounded.
        target_size_wh: (width, height) of the new view; None for the crop's own size.

    Raises:
        InputError: an empty crop.
    """
    camera = np.asarray(intrinsics, dtype=np.float64)
    left, top, right, bottom = np.round(np.asarray(crop, dtype=np.float64))
    crop_size = np.array([right - left, bottom - top])
    if (crop_size < 1).any():
        raise InputError(f"a crop must hold at least one pixel, got {tuple(crop)}")
    new_camera, size = camera.copy(), crop_size
    if target_size_wh is not None:
        size = np.array(target_size_wh, dtype=np.float64)
        new_camera[:2] *= (size / crop_size).min()
    new_camera[:2, 2] = size / 2
    corners = np.array([[left, top], [right, bottom]])
    farthest = np.abs(corners - camera[:2, 2]).argmax(0)
    corner = np.choose(farthest, corners)
    new_corner = np.where(farthest == 0, 0.0, size)
    rotation = (_towards(camera, corner) * _towards(new_camera, new_corner).inv()).as_matrix()
    homography = camera @ rotation @ np.linalg.inv(new_camera)
    return RectifiedCrop((int(size[0]), int(size[1])), new_camera, rotation, homography)


def _towards(camera: Float[np.ndarray, "3 3"], pixel: Float[np.ndarray, " 2"]) -> Rotation:
    """The rotation, without roll, that takes the optical axis to a pixel's ray."""
    from scipy.spatial.transform import Rotation

    x, y, z = np.linalg.solve(camera, np.append(pixel, 1.0))
    azimuth, inclination = np.arctan2(y, x), np.arctan(np.hypot(x, y) / z)
    return Rotation.from_euler("ZYZ", [azimuth, inclination, -azimuth])


def warp_image(
    image: Image.Image, rectified: RectifiedCrop, *, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """The photo as the virtual camera sees it.

    The homography is about pixel centres, Pillow's transform about corners: the half pixel is accounted for.
    Grey levels between whole ones are rounded; Pillow truncates them, which makes a photo half a level
    darker (spec 50, trap 5).

    Args:
        image: the photo, of 8 bits or floats a channel.
        rectified: the virtual camera.
        resample: bicubic for photos, nearest for masks.
    """
    to_centre = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
    matrix = np.linalg.inv(to_centre) @ rectified.homography @ to_centre
    coefficients = tuple((matrix / matrix[2, 2]).flatten()[:8].tolist())

    def warp(plane: Image.Image) -> Image.Image:
        return plane.transform(rectified.size_wh, Image.Transform.PERSPECTIVE, coefficients, resample)

    if resample == Image.Resampling.NEAREST or image.mode == "F":
        return warp(image)
    exact = np.stack([np.asarray(warp(plane.convert("F"))) for plane in image.split()], axis=-1)
    grey_levels = np.rint(exact).clip(0, 255).astype(np.uint8)
    return Image.fromarray(grey_levels if len(image.getbands()) > 1 else grey_levels[..., 0])


def apply_homography(
    homography: Float[np.ndarray, "3 3"], points: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, "n 2"]:
    """Map points (x, y)."""
    mapped = np.asarray(points, dtype=np.float64) @ homography[:, :2].T + homography[:, 2]
    return mapped[:, :2] / mapped[:, 2:]


def crop_to_homography(
    K: Float[np.ndarray, "3 3"],
    crop: Float[np.ndarray, " 4"] | tuple[float, float, float, float],
    target_size: tuple[int, int] | None = None,
) -> tuple[tuple[int, int], np.ndarray, np.ndarray, np.ndarray]:
    """`rectify_crop` with upstream's name and return: (width, height), K2, R, H."""
    found = rectify_crop(K, crop, target_size)
    return found.size_wh, found.intrinsics, found.rotation, found.homography
