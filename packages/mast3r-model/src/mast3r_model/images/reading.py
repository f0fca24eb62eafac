"""One photo file -> upright RGB pixels, with errors that name the file (spec 10 S10.1)."""

from __future__ import annotations

import importlib
import os
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from mast3r_model.errors import ImageError

PathLike = str | os.PathLike[str]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
HEIF_SUFFIXES = (".heic", ".heif")
MIN_SIDE = 8
"""Pixels; a photo with a shorter side holds nothing to match (and is most often a broken download)."""


@cache
def heif_available() -> bool:
    """Whether HEIC files can be read; registers the reader with Pillow on the first call."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True


def has_photo_suffix(name: str) -> bool:
    """Whether the loader takes a file of this name: JPEG, PNG, and HEIC if it can be read."""
    lowered = name.lower()
    return lowered.endswith(PHOTO_SUFFIXES) or (lowered.endswith(HEIF_SUFFIXES) and heif_available())


def open_photo(path: PathLike) -> Image.Image:
    """Read a photo: EXIF orientation applied, RGB (alpha dropped, grey replicated, palette resolved).

    Args:
        path: a file in any format that Pillow reads; HEIC needs the extra `mast3r-model[heic]`.

    Returns:
        An image in mode RGB, fully decoded.

    Raises:
        ImageError: missing, empty, truncated, not an image, too small, or too large to be meant seriously.
    """
    return _to_rgb(open_upright(path))


def open_upright(path: PathLike) -> Image.Image:
    """Read an image with its EXIF orientation applied, in the file's own mode; errors as `open_photo`."""
    path = Path(path)
    _check_is_file(path)
    if path.name.lower().endswith(HEIF_SUFFIXES) and not heif_available():
        raise ImageError(
            f"cannot read the HEIC image {path}: the HEIF reader is not installed",
            hint="install the extra: pip install 'mast3r-model[heic]', or convert the photo to JPEG",
        )
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            upright.load()
            return upright
    except UnidentifiedImageError:
        raise ImageError(
            f"not an image, or of an unknown format: {path}",
            hint="give a JPEG or PNG file; a file's name does not say what is in it",
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"refused to decode {path}: {error}", hint="shrink the image with another program first"
        ) from None
    except PermissionError:
        raise ImageError(f"no permission to read {path}") from None
    except MemoryError:
        raise ImageError(f"out of memory while decoding {path}", hint="shrink the image first") from None
    # What Pillow's decoders raise on damaged files, by format.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise ImageError(
            f"damaged or truncated image: {path} ({error})", hint="copy or download the file again"
        ) from None


def read_rgb(path: PathLike) -> UInt8[np.ndarray, "height width 3"]:
    """Read a photo as an upright uint8 RGB array (height, width, 3); errors as `open_photo`."""
    return np.array(open_photo(path))


def _check_is_file(path: Path) -> None:
    if not path.exists():
        raise ImageError(f"no such image: {path}", hint="check the path")
    if path.is_dir():
        raise ImageError(f"expected an image file, got a folder: {path}")
    if path.is_file() and path.stat().st_size == 0:
        raise ImageError(f"the image file is empty: {path}", hint="copy or download the file again")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def check_large_enough(image: Image.Image, path: PathLike) -> None:
    """Refuse a photo of a few pixels.

    Raises:
        ImageError: a side is shorter than `MIN_SIDE`.
    """
    if min(image.size) < MIN_SIDE:
        raise ImageError(
            f"the image is too small: {path} is {image.width}x{image.height} pixels",
            hint=f"every side needs at least {MIN_SIDE} pixels",
        )
