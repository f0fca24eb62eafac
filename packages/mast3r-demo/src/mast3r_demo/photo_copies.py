"""Copies of photos for downloads: upright, and without anything that their files say beside the picture."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from PIL import Image

from mast3r_model import atomic_write, read_rgb

if TYPE_CHECKING:
    from .reconstruction import Reconstruction

PHOTO_FOLDER = "images"
LOSSLESS = {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
QUALITY = 95


def copy_name(name: str) -> str:
    """What a photo's copy is called: as the photo, but ``.jpg`` in place of formats that are not written."""
    path = PurePosixPath(name)
    kept = path.suffix.lower() in (*LOSSLESS, ".jpg", ".jpeg")
    return str(path if kept else path.with_suffix(".jpg"))


def write_photo_copies(result: Reconstruction, folder: Path) -> None:
    """Write a copy of every placed photo, at its own size.

    The pixels are decoded and encoded anew: EXIF (with the place), XMP, thumbnails and all else stay behind.

    Args:
        result: of a run.
        folder: made if missing.

    Raises:
        ImageError: a photo cannot be read any more.
        OutputError: a copy cannot be written.
    """
    placed = {image.name for image in result.scene.images}
    for photo in result.images:
        if photo.name not in placed:
            continue
        path = folder / copy_name(photo.name)
        suffix = path.suffix.lower()
        picture = Image.fromarray(read_rgb(photo.path))
        with atomic_write(path) as temporary:
            if suffix in LOSSLESS:
                picture.save(temporary, LOSSLESS[suffix])
            else:
                picture.save(temporary, "JPEG", quality=QUALITY, subsampling=0)
