"""Small pictures of photos and their depth, inside of the page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from mast3r_model.pages import data_uri
from mast3r_sfm.scene import SceneImage

BUDGET_BYTES = 8 * 2**20
"""Of all small pictures together, as they stand in the page."""
SIDES = ((60, 144), (300, 96))
"""Long side in pixels for up to so many images; `SMALLEST` for more."""
SMALLEST = 64
UNKNOWN = 128
"""Grey where there is no depth."""


@dataclass(frozen=True)
class Thumbnail:
    """Data URIs of two pictures of one size.

    Attributes:
        color: the photo as the network saw it.
        depth: near is yellow, far is violet, grey is unknown; each image for itself.
        width: in pixels.
        height: in pixels.
    """

    color: str
    depth: str
    width: int
    height: int


def thumbnails(images: Sequence[SceneImage], budget: int = BUDGET_BYTES) -> list[Thumbnail]:
    """Pictures of the first images, of as many as the budget allows.

    Args:
        images: of the scene.
        budget: bytes of all together.
    """
    side = next((side for count, side in SIDES if len(images) <= count), SMALLEST)
    made: list[Thumbnail] = []
    for image in images:
        picture = thumbnail(image, side)
        budget -= len(picture.color) + len(picture.depth)
        if budget < 0:
            break
        made.append(picture)
    return made


def thumbnail(image: SceneImage, side: int) -> Thumbnail:
    """Both pictures of one image.

    Args:
        image: of a scene.
        side: the longer one in pixels.
    """
    height, width = image.depth.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image.color, size, interpolation=cv2.INTER_AREA)
    return Thumbnail(_jpeg(small), _jpeg(depth_picture(_sampled(image.depth, size))), *size)


def depth_picture(depth: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Depth as RGB colours, from its 2nd to its 98th percentile, on a logarithmic scale."""
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        return np.full((*depth.shape, 3), UNKNOWN, np.uint8)
    logarithm = np.log(np.where(known, depth, 1.0))
    near, far = np.quantile(logarithm[known], [0.02, 0.98])
    nearness = np.clip((far - logarithm) / max(far - near, 1e-6), 0, 1)
    colors = cv2.applyColorMap(np.round(255 * nearness).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.where(known[..., None], colors[..., ::-1], np.uint8(UNKNOWN)).astype(np.uint8)


def _sampled(depth: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """Single pixels, not means: there is nothing between a thing and what is behind it."""
    return cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)


def _jpeg(picture: UInt8[np.ndarray, "h w 3"]) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=72)
    return data_uri(file.getvalue(), "jpeg")
