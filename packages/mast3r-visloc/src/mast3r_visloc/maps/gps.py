"""Where a photo says it was taken: GPS in EXIF, and the plane that touches the earth there (spec 50 D2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import ExifTags, Image

EQUATOR = 6_378_137.0
"""Metres: radius of the earth's ellipsoid (WGS 84)."""

FLATTENING = 1 / 298.257223563


@dataclass(frozen=True)
class GeoPosition:
    """A place on the earth (WGS 84).

    Attributes:
        latitude: degrees, north positive.
        longitude: degrees, east positive.
        altitude: metres; None if unknown.
    """

    latitude: float
    longitude: float
    altitude: float | None = None


def photo_position(path: Path) -> GeoPosition | None:
    """The GPS position that a photo's EXIF notes (EXIF 2.32, section 4.6.6); None without one that means
    something, or if the photo cannot be opened.

    Args:
        path: the photo.
    """
    try:
        with Image.open(path) as photo:
            tags: dict[int, Any] = photo.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    latitude = _angle(tags.get(ExifTags.GPS.GPSLatitude), tags.get(ExifTags.GPS.GPSLatitudeRef), "NS")
    longitude = _angle(tags.get(ExifTags.GPS.GPSLongitude), tags.get(ExifTags.GPS.GPSLongitudeRef), "EW")
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    altitude = _number(tags.get(ExifTags.GPS.GPSAltitude))
    if altitude is not None and tags.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01"):
        altitude = -altitude
    return GeoPosition(latitude, longitude, altitude)


def east_north_up(positions: Sequence[GeoPosition], origin: GeoPosition) -> Float[np.ndarray, "n 3"]:
    """Places as seen from one of them, in metres to the east, to the north and up.

    Args:
        positions: the places; an unknown altitude is that of the origin.
        origin: where the frame's zero is; an unknown altitude is 0.
    """
    latitude, longitude = math.radians(origin.latitude), math.radians(origin.longitude)
    sin_lat, cos_lat, sin_lon, cos_lon = (
        f(angle) for angle in (latitude, longitude) for f in (math.sin, math.cos)
    )
    axes = np.array(
        [
            [-sin_lon, cos_lon, 0],
            [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
            [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
        ]
    )
    base = origin.altitude or 0.0
    centred = [_earth_centred(place, base) for place in positions]
    return (np.array(centred).reshape(-1, 3) - _earth_centred(origin, base)) @ axes.T


def _earth_centred(place: GeoPosition, altitude: float) -> Float[np.ndarray, " 3"]:
    latitude, longitude = math.radians(place.latitude), math.radians(place.longitude)
    height = altitude if place.altitude is None else place.altitude
    squared = FLATTENING * (2 - FLATTENING)
    across = EQUATOR / math.sqrt(1 - squared * math.sin(latitude) ** 2)
    return np.array(
        [
            (across + height) * math.cos(latitude) * math.cos(longitude),
            (across + height) * math.cos(latitude) * math.sin(longitude),
            (across * (1 - squared) + height) * math.sin(latitude),
        ]
    )


def _angle(parts: Any, side: Any, sides: str) -> float | None:
    """Degrees from (degrees, minutes, seconds) and N or S, E or W; None if they mean nothing."""
    letter = side.decode("ascii", "replace") if isinstance(side, bytes) else side
    letter = letter.strip("\0 ").upper() if isinstance(letter, str) else ""
    if letter not in (*sides,) or not isinstance(parts, (tuple, list)) or len(parts) != 3:
        return None
    numbers = [_number(part) for part in parts]
    if any(number is None for number in numbers):
        return None
    degrees, minutes, seconds = (number or 0.0 for number in numbers)
    angle = degrees + minutes / 60 + seconds / 3600
    return -angle if letter == sides[1] else angle


def _number(value: Any) -> float | None:
    """A finite number; fractions over zero, which EXIF can hold, are none."""
    try:
        found = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return found if math.isfinite(found) else None
