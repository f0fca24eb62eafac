"""The focal length that a camera wrote into its photo (EXIF 2.32, section 4.6.5), in pixels."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from PIL import ExifTags, Image

from mast3r_model.errors import ImageError
from mast3r_model.images.reading import HEIF_SUFFIXES, PathLike, heif_available

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""Of 35 mm film. "Equivalent" focal lengths compare angles of view across the diagonal (CIPA DCG-001); across
the width they would be 5 % off for the 4:3 sensors of compact cameras."""

LEAST_FOCAL, LARGEST_FOCAL = 0.3, 20.0
"""In units of the photo's long side: 118 degrees across it, and 3."""

_SAME_ASPECT = 0.02
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Of FocalPlaneResolutionUnit: inch, centimetre, millimetre, micrometre."""

_logger = logging.getLogger(__name__)


def exif_focal(path: PathLike) -> float | None:
    """The focal length of a photo as its camera noted it.

    ``FocalLengthIn35mmFilm`` counts first (whole millimetres, so 1 to 2 % rough), else ``FocalLength`` with
    ``FocalPlaneXResolution``. Only the file's header is read.

    Args:
        path: a photo that can be read.

    Returns:
        Pixels of the (upright) original photo. None where nothing usable is noted: no such tag, or 0; a view
        wider than 118 or narrower than 3 degrees; a photo that was cropped since, so that its sides are in
        another proportion than those noted; or digital zoom, of which nobody knows whether the noted focal
        length contains it.

    Raises:
        ImageError: there is no such file.
    """
    if str(path).lower().endswith(HEIF_SUFFIXES) and not heif_available():
        return None
    try:
        with Image.open(path) as photo:
            size, tags = photo.size, dict(photo.getexif().get_ifd(ExifTags.IFD.Exif))
    except FileNotFoundError:
        raise ImageError(f"no such image: {path}", hint="check the path") from None
    except Exception as error:  # whatever Pillow's parsers raise on damaged metadata: it only costs the prior
        _logger.warning("the EXIF data of %s cannot be read: %s", path, error)
        return None
    return focal_from_tags(tags, size)


def focal_from_tags(tags: Mapping[int, Any], size_wh: tuple[int, int]) -> float | None:
    """The focal length in pixels from the tags of an EXIF directory; see `exif_focal`.

    Args:
        tags: value by number of the tag.
        size_wh: (width, height) of the photo in pixels, in either orientation.
    """
    width, height = _number(tags, "ExifImageWidth"), _number(tags, "ExifImageHeight")
    noted = size_wh if width is None or height is None else (width, height)
    if _was_cropped(noted, size_wh) or (_number(tags, "DigitalZoomRatio") or 1.0) > 1.01:
        return None
    long_side = max(size_wh)
    film = _number(tags, "FocalLengthIn35mmFilm")
    if film is not None:
        focal = film * math.hypot(*size_wh) / FILM_DIAGONAL_MM
    else:
        on_sensor = _sensor_focal(tags)
        if on_sensor is None:
            return None
        focal = on_sensor * long_side / max(noted)
    return focal if LEAST_FOCAL * long_side <= focal <= LARGEST_FOCAL * long_side else None


def _sensor_focal(tags: Mapping[int, Any]) -> float | None:
    """In pixels as the camera took the photo."""
    focal, resolution = _number(tags, "FocalLength"), _number(tags, "FocalPlaneXResolution")
    unit = _MM_PER_UNIT.get(int(_number(tags, "FocalPlaneResolutionUnit") or 2))
    return None if focal is None or resolution is None or unit is None else focal * resolution / unit


def _was_cropped(noted: tuple[float, float], size_wh: tuple[int, int]) -> bool:
    then, now = (max(sides) / min(sides) for sides in (noted, size_wh))
    return abs(then / now - 1) > _SAME_ASPECT


def _number(tags: Mapping[int, Any], name: str) -> float | None:
    """A tag as a number above 0; None where it is missing, 0, or no number."""
    value = tags.get(int(ExifTags.Base[name]))
    try:
        number = float(Fraction(value)) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) and number > 0 else None
