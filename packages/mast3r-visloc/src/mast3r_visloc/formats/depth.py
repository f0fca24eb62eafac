"""Kapture's depth maps: raw float32 metres (spec 50 A3.6)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from mast3r_model import InputError, atomic_write


def read_depth(path: str | os.PathLike[str], shape: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
    """Read a depth map of (height, width): z in metres, 0 where nothing was measured.

    Raises:
        InputError: the file is missing or of another size.
    """
    expected = shape[0] * shape[1] * 4
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the depth map {path}: {error.strerror}") from None
    if len(content) != expected:
        raise InputError(
            f"the depth map {path} has {len(content)} bytes, expected {expected} for "
            f"{shape[1]}x{shape[0]} pixels of 4 bytes"
        )
    return np.frombuffer(content, dtype="<f4").astype(np.float32).reshape(shape)


def write_depth(path: str | os.PathLike[str], depth: Float[np.ndarray, "h w"]) -> None:
    """Write a depth map in metres; the file does not hold its size.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(np.ascontiguousarray(depth, dtype="<f4").tobytes())
