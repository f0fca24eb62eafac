"""Depth, confidence and normals of a photo as pictures (spec 60 D2; A3's gallery, with numbers)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mast3r_model import InputError

from .legend import (
    PADDING,
    STRIP,
    TEXT_SIZE,
    UNKNOWN,
    ColourScale,
    empty_strip,
    enlarged,
    picture_with_bar,
    range_of,
    write_on,
)

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from mast3r_sfm import Scene, SceneImage


def depth_picture(scene: Scene, k: int, *, metric: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """How far away a photo's pixels are, near ones red, far ones blue, with a bar of numbers to the right.

    Args:
        scene: whole or filtered.
        k: index of the photo.
        metric: distances are metres.

    Returns:
        RGB. The photo's pixels begin at the top left corner, each a square of `picture_scale` pixels; grey
        where there is no depth.

    Raises:
        InputError: there is no such photo.
    """
    image = photo_of(scene, k)
    known = image.depth > 0
    low, high = range_of(image.depth[known])
    unit = "metres" if metric else "depth"
    return picture_with_bar(image.depth, known, ColourScale(low, high, "turbo_r", unit))


def confidence_picture(scene: Scene, k: int, *, threshold: float | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """How sure the network is of a photo's pixels, with a bar of numbers to the right.

    Args:
        scene: whole or filtered.
        k: index of the photo.
        threshold: pixels that are not above it are faint, and the bar has a mark there.

    Returns:
        RGB, as `depth_picture`; grey where a pixel is not used.

    Raises:
        InputError: there is no such photo.
    """
    image = photo_of(scene, k)
    known = image.confidence > 0
    scale = ColourScale(*range_of(image.confidence[known]), "viridis", "confidence")
    faint = None if threshold is None else known & (image.confidence <= threshold)
    return picture_with_bar(image.confidence, known, scale, faint=faint, mark=threshold)


def normals_picture(scene: Scene, k: int) -> UInt8[np.ndarray, "H W 3"]:
    """Which way the surfaces of a photo face: the more to the right, up and towards the camera, the more red,
    green and blue; a ball to the right shows all of them.

    Returns:
        RGB, as `depth_picture`; grey where there is no normal.

    Raises:
        InputError: there is no such photo.
    """
    normals = normals_of(photo_of(scene, k))
    known = np.isfinite(normals).all(axis=-1)
    painted = np.where(known[..., None], _as_colours(np.nan_to_num(normals)), UNKNOWN)
    picture = enlarged(painted.astype(np.uint8))
    return np.concatenate([picture, _ball_strip(picture.shape[0])], axis=1)


def photo_of(scene: Scene, k: int) -> SceneImage:
    """A photo of a scene.

    Raises:
        InputError: there is no such photo.
    """
    if not 0 <= k < len(scene.images):
        raise InputError(
            f"there is no photo {k + 1}: the scene has {len(scene.images)}", "choose one of the list"
        )
    return scene.images[k]


def normals_of(image: SceneImage) -> Float[np.ndarray, "h w 3"]:
    """Unit normals in the camera's axes, turned to x right, y up, z towards the camera.

    From differences between each pixel's neighbours; NaN at the border and where one of them has no depth.
    """
    depth = np.where(image.depth > 0, image.depth, np.nan).astype(np.float64)
    height, width = depth.shape
    K = image.network_intrinsics
    x, y = (np.arange(width) - K[0, 2]) / K[0, 0], (np.arange(height) - K[1, 2]) / K[1, 1]
    points = np.stack([depth * x, -depth * y[:, None], -depth], axis=-1)
    normals = np.full(points.shape, np.nan)
    across = points[1:-1, 2:] - points[1:-1, :-2]
    upward = points[:-2, 1:-1] - points[2:, 1:-1]
    found = np.cross(across, upward)
    length = np.linalg.norm(found, axis=-1, keepdims=True)
    normals[1:-1, 1:-1] = np.divide(found, length, out=np.full_like(found, np.nan), where=length > 0)
    return normals


def _as_colours(normals: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    return np.round(127.5 * (normals + 1))


def _ball_strip(height: int) -> UInt8[np.ndarray, "h w 3"]:
    """A half ball seen from the camera in the colours of its normals."""
    strip = empty_strip(height)
    side = STRIP - 2 * PADDING
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(1, -1, side))
    inside = x**2 + y**2 <= 1
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    ball = Image.fromarray(_as_colours(np.stack([x, y, z], axis=-1)).astype(np.uint8))
    top = 2 * PADDING + TEXT_SIZE
    write_on(strip, (STRIP / 2, PADDING + TEXT_SIZE / 2), "normals", anchor="mm")
    strip.paste(ball, (PADDING, top), Image.fromarray((inside * 255).astype(np.uint8)))
    words = ("red: right", "green: up", "blue: to you")
    for line, word in enumerate(words):
        write_on(strip, (PADDING / 2, top + side + PADDING + (line + 0.5) * 1.4 * TEXT_SIZE), word)
    return np.array(strip)
