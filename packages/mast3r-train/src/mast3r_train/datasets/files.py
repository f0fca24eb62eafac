"""Reading the files of prepared datasets; whatever is wrong with one is an error that names it (spec 41)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8, UInt16
from PIL import Image, UnidentifiedImageError

from mast3r_model import InputError
from mast3r_train.errors import SampleError

from .exr import read_exr

__all__ = [
    "check_indices",
    "load_json",
    "load_npy",
    "load_npz",
    "load_text",
    "load_text_lines",
    "missing_layout",
    "read_content",
    "read_depth_npy",
    "read_depth_png",
    "read_exr",
    "read_json",
    "read_mask",
    "read_npz",
    "read_png16",
    "read_rgb",
]


def missing_layout(dataset: str, root: Path, expected: str, hint: str | None = None) -> InputError:
    """The error for a folder that is not laid out as the dataset's files are.

    Args:
        dataset: the dataset's name.
        root: the folder.
        expected: the file or files that were looked for, relative to it.
        hint: what to do; default: how to prepare the dataset.
    """
    return InputError(
        f"{dataset}: {root} has no {expected}",
        hint=hint or f"it must be the folder that `mast3r data prepare {dataset.lower()}` writes",
    )


def load_json(path: Path) -> Any:
    """A JSON file that a dataset needs as a whole.

    Raises:
        InputError: missing or no JSON.
    """
    try:
        return read_json(path)
    except SampleError as error:
        raise InputError(error.message) from error


def load_text(path: Path) -> str:
    """The text of a file that a dataset needs as a whole.

    Raises:
        InputError: missing or no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file") from error


def load_text_lines(path: Path) -> list[str]:
    """The lines of a text file that a dataset needs as a whole, without empty ones.

    Raises:
        InputError: missing or no text.
    """
    return [line.strip() for line in load_text(path).splitlines() if line.strip()]


def load_npz(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays of an npz file that a dataset needs as a whole.

    Raises:
        InputError: missing, broken, without a key, or with Python objects in it.
    """
    try:
        return read_npz(path, keys)
    except SampleError as error:
        raise InputError(error.message) from error


def load_npy(path: Path) -> np.ndarray:
    """The array of an npy file that a dataset needs as a whole.

    Raises:
        InputError: missing, broken, or with Python objects in it.
    """
    try:
        return _read_npy(path)
    except SampleError as error:
        raise InputError(error.message) from error


def check_indices(numbers: Int[np.ndarray, "*shape"], count: int, what: str) -> None:
    """Refuse numbers that are no indices into a list.

    Args:
        numbers: of any shape.
        count: length of the list.
        what: the file and the array, for the message.

    Raises:
        InputError: one is below 0, or `count` or more.
    """
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < count:
        raise InputError(f"{what} run from {numbers.min()} to {numbers.max()}, expected 0 to {count - 1}")


def read_rgb(path: Path) -> Image.Image:
    """The photo of a view, RGB, decoded.

    Raises:
        SampleError: missing, broken, or no image.
    """
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise SampleError(f"{path} is no image that can be read: {error}") from error


def read_depth_png(path: Path) -> Float[np.ndarray, "height width"]:
    """The numbers of a 16-bit PNG, as float32; the dataset knows their unit.

    Raises:
        SampleError: missing, broken, or not of one 16-bit channel.
    """
    return read_png16(path).astype(np.float32)


def read_png16(path: Path) -> UInt16[np.ndarray, "height width"]:
    """The numbers of a 16-bit PNG as they are.

    Raises:
        SampleError: missing, broken, or not of one 16-bit channel.
    """
    image = _decode(path)
    if image.ndim != 2 or image.dtype != np.uint16:
        raise SampleError(f"{path}: expected a PNG with one 16-bit channel, got {image.dtype} {image.shape}")
    return image


def read_mask(path: Path) -> UInt8[np.ndarray, "height width"]:
    """An 8-bit mask; of a colour image the first channel.

    Raises:
        SampleError: missing, broken, or not of 8 bits.
    """
    image = _decode(path)
    if image.dtype != np.uint8:
        raise SampleError(f"{path}: expected an 8-bit mask, got {image.dtype}")
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., 0])


def read_depth_npy(path: Path) -> Float[np.ndarray, "height width"]:
    """The array of an npy file as float32.

    Raises:
        SampleError: missing, broken, or no map.
    """
    depth = _read_npy(path)
    if depth.ndim != 2 or depth.dtype.kind not in "fiu":
        raise SampleError(f"{path}: expected a map (height, width), got {depth.dtype} of shape {depth.shape}")
    return depth.astype(np.float32)


def read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays of a view's npz file.

    Raises:
        SampleError: missing, broken, without a key, or with Python objects in it.
    """
    with _numpy_file(path) as stored:
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise SampleError(f"{path}: expected an npz archive with {', '.join(keys)}, got one array")
        if missing := [key for key in keys if key not in stored]:
            raise SampleError(f"{path} has no {', '.join(missing)}; it has {', '.join(stored.files)}")
        return {key: stored[key] for key in keys}


def read_json(path: Path) -> Any:
    """A view's JSON file.

    Raises:
        SampleError: missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise SampleError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise SampleError(f"{path} is no JSON file: {error}") from error


def _read_npy(path: Path) -> np.ndarray:
    with _numpy_file(path) as stored:
        if not isinstance(stored, np.ndarray):
            raise SampleError(f"{path}: expected one array, got an npz archive")
        return stored


@contextmanager
def _numpy_file(path: Path) -> Iterator[np.ndarray | np.lib.npyio.NpzFile]:
    """What numpy finds in a file; an archive is read, and closed, inside of the block."""
    try:
        stored = np.load(path, allow_pickle=False)
        with stored if isinstance(stored, np.lib.npyio.NpzFile) else nullcontext():
            yield stored
    except SampleError:
        raise
    except FileNotFoundError as error:
        raise _missing(path) from error
    except Exception as error:  # of a dozen kinds, from zipfile, zlib, tokenize and numpy itself
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise SampleError(f"{path} is no file of arrays that can be read safely: {reason}") from error


def read_content(path: Path) -> bytes:
    """The bytes of a view's file.

    Raises:
        SampleError: missing, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise SampleError(f"cannot read {path}: {error.strerror or error}") from error


def _decode(path: Path) -> np.ndarray:
    content = np.frombuffer(read_content(path), dtype=np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if len(content) else None
    if image is None:
        raise SampleError(f"{path} is no image that can be read")
    return np.asarray(image)


def _missing(path: str | os.PathLike[str]) -> SampleError:
    return SampleError(f"{os.fspath(path)} does not exist")
