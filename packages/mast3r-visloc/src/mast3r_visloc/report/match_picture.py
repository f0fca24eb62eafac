"""Match pictures: a query beside the map image that helped most, inliers green, outliers red (spec 50 D7).

The pictures of mast3r_match colour lines by their place and show inliers only; here what was refused matters
as much, so these are drawn apart, with OpenCV, which takes a tenth of matplotlib's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from mast3r_model import InputError, atomic_write
from mast3r_visloc.evaluation.records import best_candidate
from mast3r_visloc.formats import open_raw_photo
from mast3r_visloc.poses import Pose

Picture = UInt8[np.ndarray, "h w 3"]

HEIGHT = 320
GAP = 8
MAX_ASPECT = 3.0
"""Wider photos are shown lower than the picture is."""
MAX_INLIER_LINES, MAX_OUTLIER_LINES = 120, 60
MAX_DOTS = 2000
GREEN, RED = (38, 194, 84), (226, 48, 44)
_FRACTION_BITS = 4
"""OpenCV draws at fractions of a pixel of 2 to this power."""
_JPEG_QUALITY = 78


def localization_picture(
    pose: Pose, query_path: Path, map_paths: Mapping[str, Path], *, height: int = HEIGHT
) -> Picture:
    """The query beside the map image with most inliers (most matches if it has none).

    All matches of these two photos are dots; evenly chosen ones are lines as well, so that the photos can
    still be seen. Photos are shown as their files hold them, not turned by EXIF: so are the matches' pixels.

    Args:
        pose: what was found, with correspondences in the photos' pixels.
        query_path: file of the query.
        map_paths: files of the map's images by name; without the one that is needed, or without any
            candidate, the query stands alone.
        height: of the picture, pixels.

    Returns:
        RGB.

    Raises:
        ImageError: a photo cannot be read.
    """
    left, left_scale = _panel(query_path, height)
    best = best_candidate(pose) or 0
    if best >= len(pose.candidates) or pose.candidates[best] not in map_paths:
        return left
    right, right_scale = _panel(map_paths[pose.candidates[best]], height)
    offset = left.shape[1] + GAP
    canvas = np.full((height, offset + right.shape[1], 3), 255, dtype=np.uint8)
    canvas[:, : left.shape[1]], canvas[:, offset:] = left, right
    matches = pose.correspondences
    rows = np.flatnonzero(matches.map_image == best)
    start = (matches.query_xy[rows] + 0.5) * left_scale - 0.5
    end = (matches.map_xy[rows] + 0.5) * right_scale - 0.5 + [offset, 0]
    finite = np.isfinite(start).all(1) & np.isfinite(end).all(1)
    return _drawn(canvas, start[finite], end[finite], matches.inlier[rows][finite])


def save_localization_picture(
    path: Path, pose: Pose, query_path: Path, map_paths: Mapping[str, Path], *, height: int = HEIGHT
) -> None:
    """Write the picture of `localization_picture`.

    Args:
        path: the file; ``.png`` or ``.jpg``.
        pose: what was found.
        query_path: file of the query.
        map_paths: files of the map's images by name.
        height: of the picture, pixels.

    Raises:
        InputError: another suffix.
        ImageError: a photo cannot be read.
        OutputError: the file cannot be written.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"a match picture is a .png or .jpg file, got {path.name!r}")
    picture = Image.fromarray(localization_picture(pose, query_path, map_paths, height=height))
    with atomic_write(path) as temporary:
        picture.save(temporary, quality=_JPEG_QUALITY)


def _panel(path: Path, height: int) -> tuple[Picture, Float[np.ndarray, " xy"]]:
    """The photo on a panel of a height, panoramas with white below, and the scale from its pixels."""
    photo, (width, full_height) = _read_small(path, height)
    scale = min(height / full_height, MAX_ASPECT * height / width)
    shown = max(1, round(width * scale)), max(1, round(full_height * scale))
    panel = np.full((height, shown[0], 3), 255, dtype=np.uint8)
    panel[: shown[1]] = np.array(photo.resize(shown, Image.Resampling.BILINEAR, reducing_gap=2.0))
    return panel, np.array(shown) / [width, full_height]


def _read_small(path: Path, height: int) -> tuple[Image.Image, tuple[int, int]]:
    """The photo, at less than its full size where its format allows that cheaply, and its full size."""
    try:
        with Image.open(path) as photo:
            size = photo.size
            photo.draft("RGB", (max(1, size[0] * height // size[1]), height))
            return photo.convert("RGB"), size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        whole = open_raw_photo(path)  # says what is wrong with the file
        return whole, whole.size


def _drawn(
    canvas: Picture,
    start: Float[np.ndarray, "n 2"],
    end: Float[np.ndarray, "n 2"],
    inlier: Bool[np.ndarray, " n"],
) -> Picture:
    lines = canvas.copy()
    for rows, colour, most in (
        (np.flatnonzero(~inlier), RED, MAX_OUTLIER_LINES),
        (np.flatnonzero(inlier), GREEN, MAX_INLIER_LINES),
    ):
        for row in _evenly(rows, most):
            cv2.line(lines, _fixed(start[row]), _fixed(end[row]), colour, 1, cv2.LINE_AA, _FRACTION_BITS)
    blended = cv2.addWeighted(lines, 0.7, canvas, 0.3, 0)
    # Inliers are drawn last: they must not be hidden.
    order = _evenly(np.argsort(inlier, kind="stable"), MAX_DOTS)
    for row in order:
        colour = GREEN if inlier[row] else RED
        for place in (start[row], end[row]):
            radius = 2 * 2**_FRACTION_BITS
            cv2.circle(blended, _fixed(place), radius, colour, -1, cv2.LINE_AA, _FRACTION_BITS)
    return blended


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _fixed(place: Float[np.ndarray, " xy"]) -> tuple[int, int]:
    # Far away from the picture any place will do; OpenCV takes 32 bits.
    x, y = np.clip(place, -20_000, 20_000) * 2**_FRACTION_BITS
    return round(float(x)), round(float(y))
