"""Random crops as virtual cameras (spec 40 section 3.7): a crop off the centre becomes a small rotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy.spatial.transform import Rotation

from .pointmaps import camera_points_of_map, times_matrix
from .rescaling import Depth, Intrinsics, Size


def random_crops(
    image_wh: Size, count: int, resolution: Size, aug_crop: float, rng: np.random.Generator
) -> Float[np.ndarray, "count 4"]:
    """Boxes of a resolution's aspect, all of one random scale, at random places.

    Args:
        image_wh: size of the image.
        count: number of boxes.
        resolution: (width, height), whose aspect the boxes have.
        aug_crop: how much the boxes may be smaller than the largest that fits, in pixels of the short side.
        rng: one uniform number for the scale, then (count, 2) for the places.

    Returns:
        (left, top, right, bottom) in pixels of the image, corner at 0; by less than a pixel they may begin
        outside of it.
    """
    size = np.asarray(image_wh, dtype=np.float64)
    wanted = np.asarray(resolution, dtype=np.float64)
    largest = wanted * (size / wanted).min()
    scale = np.exp(rng.uniform(0.0, np.log(1 + aug_crop / size.min())))
    scaled_size = (size * scale).astype(np.int32)
    corner = rng.random((count, 2)) * (scaled_size - largest)
    boxes: np.ndarray = np.concatenate([corner, corner + largest], axis=-1) / scale
    return boxes


@dataclass(frozen=True)
class VirtualCamera:
    """A camera at the place of another one, turned a little.

    Attributes:
        size_wh: of its image.
        intrinsics: principal point at half the size.
        rotation: from its axes to the old camera's.
        homography: from its homogeneous pixels to the old image's.
    """

    size_wh: Size
    intrinsics: Intrinsics
    rotation: Float[np.ndarray, "3 3"]
    homography: Float[np.ndarray, "3 3"]


def crop_homography(
    intrinsics: Intrinsics, box: Float[np.ndarray, " 4"], target_wh: Size | None = None
) -> VirtualCamera:
    """The camera that looks at a crop with its principal point in the middle.

    The corner of the crop that is farthest from the principal point is met exactly, the others nearly.

    Args:
        intrinsics: of the whole image.
        box: (left, top, right, bottom).
        target_wh: size of the new image; default: the crop's.
    """
    edges = np.round(np.asarray(box, dtype=np.float64)).reshape(2, 2)
    size = edges[1] - edges[0]
    old = intrinsics
    new = old.copy()
    new[:2, 2] = size / 2
    farther = np.abs(edges - old[:2, 2]).argmax(axis=0)
    corner = edges[farther, [0, 1]]
    new_corner = farther * size
    rotation = _turn_to(_ray(old, corner)) @ _turn_to(_ray(new, new_corner)).T
    if target_wh is not None:
        target = np.asarray(target_wh, dtype=np.float64)
        new[:2] *= (target / size).min()
        new[:2, 2] = target / 2
        size = target
    homography = old @ rotation @ np.linalg.inv(new)
    return VirtualCamera((int(size[0]), int(size[1])), new, rotation, homography)


def _ray(intrinsics: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """The ray of a pixel where it has z = 1, as (x, y)."""
    ray = np.linalg.inv(intrinsics) @ np.array([*pixel, 1.0])
    return ray[:2] / ray[2]


def _turn_to(point: np.ndarray) -> np.ndarray:
    """The rotation without roll that takes the optical axis to the direction (x, y, 1)."""
    azimuth = np.arctan2(point[1], point[0])
    angles = [azimuth, np.arctan(np.linalg.norm(point)), -azimuth]
    return Rotation.from_euler("ZYZ", angles).as_matrix()


def look_through(
    camera: VirtualCamera, image: Image.Image, depth: Depth, intrinsics: Intrinsics
) -> tuple[Image.Image, Depth]:
    """What the virtual camera sees: image (bicubic) and depth along its own axis (nearest).

    Pixels that it would see outside of the old image are black with unknown depth.
    """
    points = camera_points_of_map(depth, intrinsics)
    turned_depth = times_matrix(points, camera.rotation[None, :, 2])[..., 0]
    return (
        warp_image(camera, image, Image.Resampling.BICUBIC),
        warp_map(camera, turned_depth),
    )


def warp_image(camera: VirtualCamera, image: Image.Image, resample: Image.Resampling) -> Image.Image:
    """The image in the virtual camera."""
    homography = camera.homography / camera.homography[2, 2]
    coefficients = homography.ravel()[:8].tolist()
    return image.transform(camera.size_wh, Image.Transform.PERSPECTIVE, coefficients, resample=resample)


def warp_map(camera: VirtualCamera, values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h2 w2"]:
    """A map of numbers in the virtual camera, by nearest neighbours; 0 outside."""
    return np.array(warp_image(camera, Image.fromarray(values.astype(np.float32)), Image.Resampling.NEAREST))
