"""A camera made to fit a photo that was turned or resized since it was calibrated (spec 50 D4)."""

from __future__ import annotations

from pathlib import Path

from PIL import ExifTags, Image

from mast3r_model import InputError

from .camera import Camera
from .changes import scaled, turned


class PhotoCameraError(InputError):
    """The camera of one photo cannot be had: others may well be localised."""


_TURNS_TO_RAW = {6: 1, 8: -1}
"""Quarter turns counter-clockwise from the upright photo to the file's pixels, by EXIF orientation."""


def fitted(camera: Camera, path: Path, image_shape: tuple[int, int]) -> tuple[Camera, str]:
    """The camera for a photo's file, whose size may differ by a quarter turn or a uniform resize.

    A turn goes the way that the file's EXIF orientation says: then the camera is that of the upright photo.
    Without such a tag it is taken as clockwise, which matters only where the principal point is off centre.

    Args:
        camera: as it was calibrated.
        path: the photo, for its orientation and for messages.
        image_shape: (height, width) of the file's pixels, before its orientation is applied.

    Returns:
        The camera in the file's pixels, and what was done to it, for people: ``""`` if nothing.

    Raises:
        PhotoCameraError: the sizes do not fit.
    """
    height, width = image_shape
    size = f"{camera.width}x{camera.height}"
    if camera.shape == image_shape:
        return camera, ""
    if camera.shape == (width, height):
        turns = _TURNS_TO_RAW.get(_orientation(path))
        way = "as the photo's EXIF orientation says" if turns else "taken as clockwise"
        return turned(camera, turns or -1), f"turned by 90 degrees from {size}, {way}"
    if _same_shape(camera, image_shape):
        return scaled(camera, (width, height)), f"resized from {size}"
    raise PhotoCameraError(
        f"{path}: the photo has {width}x{height} pixels, its camera {size}",
        "give the camera of this photo: cropped photos need their own",
    )


def _same_shape(camera: Camera, image_shape: tuple[int, int]) -> bool:
    """Whether a uniform resize explains the sizes, up to rounding to whole pixels."""
    height, width = image_shape
    expected_height = camera.height * width / camera.width
    expected_width = camera.width * height / camera.height
    return abs(expected_height - height) <= 0.5 or abs(expected_width - width) <= 0.5


def _orientation(path: Path) -> int:
    """EXIF orientation, 1 (upright) where the file has none or cannot be read."""
    try:
        with Image.open(path) as photo:
            return int(photo.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever Pillow's parsers raise on damaged metadata: it says nothing then
        return 1
