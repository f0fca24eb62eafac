"""COLMAP models of a release, and text models for the dataset classes (spec 50 A2, A3.2)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import pycolmap

from mast3r_model import InputError, OutputError, atomic_write, output_error
from mast3r_visloc.reasons import reason

from .placing import RawFile, place_file

FILES = ("cameras", "images", "points3D")


def model_suffix(folder: Path) -> str | None:
    """``.bin`` or ``.txt`` if the folder holds a COLMAP model, else None."""
    for suffix in (".bin", ".txt"):
        if all((folder / f"{name}{suffix}").is_file() for name in FILES):
            return suffix
    return None


def image_names(folder: Path) -> list[str]:
    """The names of a model's images, without reading what they observe.

    Raises:
        InputError: the file is damaged.
    """
    suffix = model_suffix(folder)
    path = folder / f"images{suffix}"
    try:
        if suffix == ".txt":
            with path.open(encoding="utf-8") as file:
                return list(_text_names(file))
        with path.open("rb") as file:
            return list(_binary_names(file))
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise InputError(f"{path} is no list of images of COLMAP: {reason(error)}") from error


def _text_names(lines: Iterator[str]) -> Iterator[str]:
    """Pairs of lines, of which the second may be blank."""
    body = (line for line in lines if not line.startswith("#"))
    for line in body:
        if line.strip():
            yield line.rstrip("\n").split(maxsplit=9)[9]
            next(body, None)


def _binary_names(file: BinaryIO) -> Iterator[str]:
    """Per image: id, quaternion, translation, camera id, name, observations of 24 bytes."""
    (count,) = struct.unpack("<Q", file.read(8))
    for _ in range(count):
        struct.unpack("<I7dI", file.read(64))
        name = bytearray()
        while (character := file.read(1)) != b"\0":
            if not character:
                raise ValueError("it ends in the middle")
            name += character
        (observations,) = struct.unpack("<Q", file.read(8))
        file.seek(24 * observations, os.SEEK_CUR)
        yield name.decode()


def place_text_model(target: Path, source: Path) -> list[Path]:
    """Bring a model to `target` as text: text files are linked, binary ones converted.

    Returns:
        The files that were not there.

    Raises:
        InputError: the model cannot be read.
        OutputError: a file cannot be written.
    """
    wanted = [target / f"{name}.txt" for name in FILES]
    if all(path.is_file() for path in wanted):
        return []
    if model_suffix(source) == ".txt":
        absent = [path for path in wanted if not path.is_file()]
        for path in absent:
            place_file(path, RawFile(source / path.name))
        return absent
    try:
        model = pycolmap.Reconstruction(source)
    except Exception as error:  # pycolmap raises RuntimeError, ValueError and IndexError for broken files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{source} holds a broken COLMAP model: {reason}") from error
    return write_text_model(target, model)


def write_text_model(target: Path, model: pycolmap.Reconstruction) -> list[Path]:
    """Write the three text files of a model, each under its name only when whole.

    Raises:
        OutputError: a file cannot be written.
    """
    counts = {
        "cameras": model.num_cameras(),
        "images": 2 * model.num_reg_images(),
        "points3D": model.num_points3D(),
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        scratch = TemporaryDirectory(dir=target, prefix=".writing_")
    except OSError as error:
        raise output_error(target, error) from error
    with scratch as folder:
        model.write_text(folder)
        for name, lines in counts.items():
            written = Path(folder) / f"{name}.txt"
            if _lines(written) != lines:  # COLMAP does not notice a full disk
                raise OutputError(f"cannot write {target / written.name}: COLMAP wrote a part of it only")
            with atomic_write(target / written.name) as temporary:
                os.replace(written, temporary)
    return [target / f"{name}.txt" for name in FILES]


def _lines(path: Path) -> int:
    """Lines that are no comment."""
    with path.open("rb") as file:
        return sum(not line.startswith(b"#") for line in file)
