"""Depth maps as image files and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from mast3r_model import InputError

MILLIMETRE = 1e-3
_NO_MEASUREMENT = 65535
"""What Kinect recordings write in place of 0."""


def read_depth_file(path: Path, integer_unit: float = MILLIMETRE) -> Float[np.ndarray, "h w"]:
    """Read ``.npy``, or an image of one channel: 16-bit PNG, float TIFF.

    Args:
        path: the file.
        integer_unit: what 1 means in files of whole numbers, in metres. Files of floats hold metres.

    Returns:
        (h, w) float64 z in metres, NaN where nothing was measured (0, 65535, not finite).

    Raises:
        InputError: it cannot be read, or is no depth map.
    """
    values = _read_npy(path) if path.suffix.lower() == ".npy" else _read_image(path)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2 or values.dtype.kind not in "uif" or values.dtype.itemsize == 1 or not values.size:
        raise InputError(
            f"{path} is no depth map: it holds {values.dtype} of shape {values.shape}",
            "expected one channel of 16-bit integers (millimetres) or of floats (metres)",
        )
    depth = values.astype(np.float64)
    unknown = ~np.isfinite(depth) | (depth <= 0)
    if values.dtype.kind != "f":
        unknown |= depth == _NO_MEASUREMENT
        depth *= integer_unit
    depth[unknown] = np.nan
    return depth


def _read_npy(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read the depth map {path}: {_reason(error)}") from None
    if not isinstance(loaded, np.ndarray):
        raise InputError(f"{path} is an archive of arrays, expected one depth map")
    return loaded


def _read_image(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the depth map {path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    system = error.strerror if isinstance(error, OSError) else None
    return system or (str(error).strip().splitlines() or [type(error).__name__])[0]
