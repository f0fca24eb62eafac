"""Depth maps in OpenEXR files (spec 41 section 0)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_train.errors import SampleError


def read_exr(path: Path) -> Float[np.ndarray, "height width"]:
    """The only channel of an EXR file (half or float), as float32.

    Raises:
        SampleError: missing, broken, or with several channels.
        InputError: OpenEXR is not installed.
    """
    OpenEXR = _library()

    if not path.is_file():
        raise SampleError(f"{path} does not exist")
    try:
        with OpenEXR.File(os.fspath(path)) as file:
            channels = {name: np.array(channel.pixels) for name, channel in file.channels().items()}
    except Exception as error:  # the library raises plain exceptions of several kinds
        raise SampleError(f"{path} is no EXR file that can be read: {error}") from error
    if len(channels) != 1:
        raise SampleError(f"{path}: expected one channel, got {', '.join(channels) or 'none'}")
    return next(iter(channels.values())).astype(np.float32)


def write_exr(path: Path, depth: Float[np.ndarray, "height width"], *, half: bool = False) -> None:
    """Write one channel ``Y``, ZIP compressed.

    Args:
        path: to write; not atomic, give a temporary name.
        depth: float32.
        half: store 16-bit floats.

    Raises:
        InputError: OpenEXR is not installed.
    """
    OpenEXR = _library()

    pixels = np.ascontiguousarray(depth, dtype=np.float16 if half else np.float32)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Y": OpenEXR.Channel("Y", pixels)}).write(os.fspath(path))


def _library() -> Any:
    try:
        import OpenEXR
    except ImportError as error:
        raise InputError(
            f"depth in EXR files needs OpenEXR, which cannot be imported: {error}",
            hint="pip install 'mast3r-train[exr]'",
        ) from error
    return OpenEXR
