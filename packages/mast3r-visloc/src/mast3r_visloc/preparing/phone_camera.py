"""The camera of InLoc's query photos (spec 50 D8)."""

from __future__ import annotations

from pathlib import Path

from PIL import ExifTags, Image

PHONE_MILLIMETRES = 28.0
"""35 mm equivalent of the iPhone 7."""
FILM_WIDTH = 36.0


def phone_focal(path: Path, size_wh: tuple[int, int]) -> float:
    """Focal length in pixels: the 35 mm equivalent over the long side's 36 mm, 28 mm unless EXIF says else.

    That is how the benchmark's other users take it: 4032 * 28 / 36 = 3136 px.

    Args:
        path: a photo that can be read.
        size_wh: (width, height) in pixels.
    """
    with Image.open(path) as photo:
        noted = photo.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
    return max(size_wh) * (float(noted) if noted else PHONE_MILLIMETRES) / FILM_WIDTH
