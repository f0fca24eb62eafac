"""How far off an inlier may be, as people write it (spec 50 D5)."""

from __future__ import annotations

import math

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera

DEFAULT_THRESHOLD = "0.8%"
"""Of the photo's diagonal: 16 pixels at 1600x1200."""


def threshold_pixels(threshold: str | float, camera: Camera) -> float:
    """A threshold in pixels of a camera.

    Args:
        threshold: ``"0.8%"`` of the photo's diagonal, ``"12px"``, or a number of pixels.
        camera: of the photo.

    Raises:
        InputError: no such form, or not positive.
    """
    value, unit = parse_threshold(threshold)
    return value / 100 * math.hypot(camera.width, camera.height) if unit == "%" else value


def check_threshold(threshold: str | float) -> None:
    """Refuse what `threshold_pixels` would refuse, before there is a camera.

    Raises:
        InputError: no such form, or not positive.
    """
    parse_threshold(threshold)


def parse_threshold(threshold: str | float) -> tuple[float, str]:
    """The number, and its unit: ``%`` of the diagonal, or ``px``.

    Raises:
        InputError: no such form, or not positive.
    """
    text = str(threshold).strip().lower()
    unit = "%" if text.endswith("%") else "px"
    try:
        value = float(text.removesuffix(unit))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(
            f"a threshold must be a positive number of pixels or per cent, got {threshold!r}",
            "write it like 0.8% (of the photo's diagonal) or 12px",
        )
    return value, unit
