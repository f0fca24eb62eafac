"""Writing the files of prepared frames, each under its name only when whole (spec 41 section 0)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Shaped
from PIL import Image

from mast3r_model import OutputError, atomic_write
from mast3r_train.datasets.exr import write_exr
from mast3r_train.errors import SampleError

PILLOW_JPEG_QUALITY = 75
"""What Pillow takes if nothing is said."""


def save_jpeg(path: Path, image: Image.Image, *, quality: int = PILLOW_JPEG_QUALITY) -> None:
    """Write a photo as JPEG."""
    with atomic_write(path) as temporary:
        image.save(temporary, format="JPEG", quality=quality)


def save_png(path: Path, pixels: Shaped[np.ndarray, "height width"]) -> None:
    """Write one channel of uint8 or uint16 as PNG.

    Raises:
        TypeError: of another dtype: cutting it off is for the caller.
    """
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 2:
        raise TypeError(f"a PNG of one channel holds uint8 or uint16, got {pixels.dtype} {pixels.shape}")
    encoded_well, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not encoded_well:
        raise OutputError(f"cannot encode {path}")
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def save_rgb_png(path: Path, image: Image.Image) -> None:
    """Write a photo as PNG."""
    with atomic_write(path) as temporary:
        image.save(temporary, format="PNG")


def save_npy(path: Path, depth: Shaped[np.ndarray, "height width"]) -> None:
    """Write a map as npy, float32."""
    with atomic_write(path) as temporary:
        np.save(temporary, depth.astype(np.float32))


def save_copy(path: Path, source: Path) -> None:
    """Copy a file of a release as it is.

    Raises:
        SampleError: it cannot be read.
    """
    try:
        content = source.read_bytes()
    except OSError as error:
        raise SampleError(f"cannot read {source}: {error.strerror or error}") from error
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def save_exr(path: Path, depth: Shaped[np.ndarray, "height width"], *, half: bool = False) -> None:
    """Write depth as EXR, float32 or half."""
    with atomic_write(path) as temporary:
        write_exr(temporary, depth, half=half)


def save_npz(path: Path, **arrays: Any) -> None:
    """Write arrays as npz, not compressed: they are small."""
    with atomic_write(path) as temporary:
        np.savez(temporary, **arrays)


def save_json(path: Path, content: Any) -> None:
    """Write JSON."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
