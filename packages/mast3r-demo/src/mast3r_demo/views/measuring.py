"""Distances between two pixels of a photo, and the marks that show them (spec 60 D2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mast3r_model import InputError

from .legend import TEXT_SIZE, scale_for
from .map_pictures import photo_of

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from mast3r_sfm import Scene

Pixel = tuple[float, float]
RADIUS = 6


def picture_scale(scene: Scene, k: int) -> int:
    """How many pixels of a photo's pictures one pixel of its maps takes along each side."""
    return scale_for(photo_of(scene, k).depth.shape)


def measure(scene: Scene, k: int, xy0: Pixel, xy1: Pixel) -> float:
    """The distance between what two places of a photo show.

    Args:
        scene: whole.
        k: index of the photo.
        xy0: (x, y) in pixels of the photo's `depth_picture`, as a click gives them.
        xy1: the other place.

    Returns:
        Distance in world units: metres, where `Reconstruction.metric` says so.

    Raises:
        InputError: there is no such photo, or no depth at one of the places.
    """
    return float(np.linalg.norm(_point(scene, k, xy0) - _point(scene, k, xy1)))


def with_marks(
    picture: UInt8[np.ndarray, "H W 3"], places: Sequence[Pixel], text: str = ""
) -> UInt8[np.ndarray, "H W 3"]:
    """A picture with rings around places, a line through them, and words at its middle.

    Args:
        picture: RGB; it is not changed.
        places: (x, y) in its pixels.
        text: such as the distance.
    """
    drawn = Image.fromarray(picture.copy())
    pen = ImageDraw.Draw(drawn)
    # dark below light: seen on every colour
    for colour, more in (((0, 0, 0), 2), ((255, 255, 255), 0)):
        if len(places) > 1:
            pen.line([tuple(place) for place in places], fill=colour, width=2 + more)
        for x, y in places:
            box = (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)
            pen.ellipse(box, outline=colour, width=2 + more // 2)
    if text and places:
        x, y = (float(np.mean([place[axis] for place in places])) for axis in (0, 1))
        font = ImageFont.load_default(TEXT_SIZE + 4)
        half = pen.textlength(text, font=font) / 2
        x = min(max(x, half + 4), drawn.width - half - 4)
        y = y - 16 if y > 40 else y + 16
        pen.text((x, y), text, (255, 255, 255), font, anchor="mm", stroke_width=3, stroke_fill=(0, 0, 0))
    return np.array(drawn)


def _point(scene: Scene, k: int, xy: Pixel) -> Float[np.ndarray, " 3"]:
    image = photo_of(scene, k)
    height, width = image.depth.shape
    times = picture_scale(scene, k)
    column, row = (math.floor(value / times) for value in xy)
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(f"({xy[0]:g}, {xy[1]:g}) is beside the photo", "click into the photo")
    if not image.depth[row, column] > 0:
        raise InputError(
            f"there is no depth at ({xy[0]:g}, {xy[1]:g})", "click where the picture is not grey"
        )
    K = image.network_intrinsics
    ray = np.array([(column - K[0, 2]) / K[0, 0], (row - K[1, 2]) / K[1, 1], 1.0])
    point: np.ndarray = image.cam2world[:3, :3] @ (image.depth[row, column] * ray) + image.cam2world[:3, 3]
    return point
