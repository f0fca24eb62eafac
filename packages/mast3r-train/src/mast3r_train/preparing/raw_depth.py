"""Depth as public releases store it: PFM, HDF5 and ``.float3`` files (spec 41 sections 2, 3 and 6)."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_train.datasets.files import read_content
from mast3r_train.errors import SampleError

_MOST_DIMENSIONS = 4


def read_pfm(path: Path) -> Float[np.ndarray, "height width"]:
    """A PFM file of one channel, its top row first, as float32.

    Raises:
        SampleError: missing, broken, or of several channels.
    """
    image = cv2.imdecode(np.frombuffer(_content(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.float32:
        raise SampleError(f"{path} is no PFM file that can be read")
    if image.ndim != 2:
        raise SampleError(f"{path}: expected one channel (Pf), got {image.shape[2]}")
    return np.asarray(image)


def read_hdf5_depth(path: Path) -> Float[np.ndarray, "height width"]:
    """The dataset ``depth`` of an HDF5 file as float32.

    Raises:
        SampleError: missing, broken, or without such a map.
        InputError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            "reading HDF5 files needs h5py, which is not installed", "pip install 'mast3r-train[prepare]'"
        ) from error

    if not path.is_file():
        raise SampleError(f"{path} does not exist")
    try:
        with h5py.File(path, "r") as file:
            depth = np.asarray(file["depth"], dtype=np.float32)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise SampleError(f"{path} is no HDF5 file with a map 'depth': {error}") from error
    if depth.ndim != 2:
        raise SampleError(f"{path}: expected a map (height, width), got shape {depth.shape}")
    return depth


def read_float3(path: Path) -> Float[np.ndarray, "*shape"]:
    """An array in StaticThings3D's format.

    Lines of text, ``float``, the number of dimensions, the sizes (innermost first), then the numbers, little
    endian.

    Raises:
        SampleError: missing or broken.
    """
    content = _content(path)
    try:
        kind, count, rest = content.split(b"\n", 2)
        dimensions = int(count)
        if kind.strip() != b"float" or not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise ValueError("its first lines are not 'float' and a number of dimensions")
        *lines, numbers = rest.split(b"\n", dimensions)
        shape = tuple(int(line) for line in reversed(lines))
        if len(shape) != dimensions or min(shape) < 1:
            raise ValueError(f"it has {dimensions} dimensions, but the sizes {shape[::-1]}")
        if len(numbers) != 4 * math.prod(shape):
            raise ValueError(f"it holds {len(numbers)} bytes of numbers, expected {4 * math.prod(shape)}")
    except ValueError as error:
        raise SampleError(f"{path} is no .float3 file that can be read: {error}") from error
    return np.frombuffer(numbers, "<f4").reshape(shape).astype(np.float32)


def known_depth(depth: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Depth with 0, unknown, where it is no positive number.

    A loader takes negative numbers for sky; MegaDepth's files have some that are an order of pixels instead.
    """
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def _content(path: Path) -> bytes:
    content = read_content(path)
    if not content:
        raise SampleError(f"{path} is empty")
    return content
