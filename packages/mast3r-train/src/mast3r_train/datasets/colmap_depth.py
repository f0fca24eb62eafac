"""Depth maps in files: COLMAP's own format, and those that everybody writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_train.errors import SampleError

from .exr import read_exr
from .files import read_depth_npy, read_depth_png
from .posed_frames import marked_depth

LONGEST_HEADER = 64


def read_depth(path: Path, png_unit: float) -> Float[np.ndarray, "h w"]:
    """A depth map by its suffix: ``.bin`` (COLMAP's), ``.npy``, ``.png`` (16 bits), ``.exr``.

    Args:
        path: the file.
        png_unit: of the numbers in a PNG.

    Returns:
        float32; 0 where a number is 0 or not finite, -1 (sky) where it is below 0.

    Raises:
        SampleError: missing, broken, or of another kind.
    """
    match path.suffix:
        case ".bin":
            depth = read_colmap_map(path)
        case ".npy":
            depth = read_depth_npy(path)
        case ".png":
            depth = read_depth_png(path) * np.float32(png_unit)
        case ".exr":
            depth = read_exr(path)
        case _:
            raise SampleError(f"{path}: depth maps are .bin, .npy, .png or .exr")
    return marked_depth(depth)


def read_colmap_map(path: Path) -> Float[np.ndarray, "h w"]:
    """A map of COLMAP's: the text ``width&height&channels&``, then float32, row by row.

    Raises:
        SampleError: missing, broken, or of several channels.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SampleError(f"cannot read {path}: {error.strerror or error}") from error
    parts = content[:LONGEST_HEADER].split(b"&", 3)
    try:
        width, height, channels = (int(part) for part in parts[:3])
        start = sum(len(part) + 1 for part in parts[:3])
        values = np.frombuffer(content, dtype="<f4", offset=start)
        depth = values.reshape(channels, height, width)[0]
    except ValueError as error:
        raise SampleError(f"{path} is no depth map of COLMAP's: {error}") from error
    if channels != 1:
        raise SampleError(f"{path} has {channels} channels, expected the one of a depth map")
    return depth.astype(np.float32)
