"""Photos as they lie in the file: the pixels that the cameras of COLMAP and kapture files speak of."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mast3r_model import ImageError
from mast3r_visloc.reasons import reason


def open_raw_photo(path: Path) -> Image.Image:
    """Read a photo without turning it as its EXIF orientation asks (spec 50 B, trap 30).

    Returns:
        An image in mode RGB, fully decoded.

    Raises:
        ImageError: missing, damaged, no image, or too large to be meant seriously; names the file.
    """
    if not path.is_file():
        raise ImageError(f"no such photo: {path}", "check the folder of the photos")
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except UnidentifiedImageError:
        raise ImageError(f"not an image, or of an unknown format: {path}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"refused to decode {path}: {error}", "shrink the image first") from None
    # What Pillow's decoders raise on damaged files, by format.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise ImageError(
            f"damaged or unreadable photo: {path} ({reason(error)})", "copy the file again"
        ) from None
