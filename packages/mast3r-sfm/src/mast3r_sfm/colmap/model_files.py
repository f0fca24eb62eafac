"""COLMAP models in files. Imports no torch: see `map_process`."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pycolmap

from mast3r_model import InputError


def write_reconstruction(reconstruction: pycolmap.Reconstruction, folder: Path) -> list[Path]:
    """Write COLMAP's binary files into a folder, which is made if it is missing.

    Returns:
        The files.

    Raises:
        OSError: they could not be written. COLMAP does not notice a full disk, so they are read again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reconstruction.write(folder)
    try:
        found = read_colmap_model(folder)
    except InputError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder) from error
    counts = [
        (model.num_reg_images(), model.num_points3D(), model.compute_num_observations())
        for model in (found, reconstruction)
    ]
    if counts[0] != counts[1]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)
    return sorted(folder.glob("*.bin"))


def is_colmap_model(folder: Path) -> bool:
    """Whether a folder holds the files of a COLMAP model, binary or text."""
    return any(
        all((folder / f"{name}{suffix}").is_file() for name in ("cameras", "images"))
        for suffix in (".bin", ".txt")
    )


def read_colmap_model(folder: Path) -> pycolmap.Reconstruction:
    """Open a COLMAP model, binary or text.

    Raises:
        InputError: there is none, or it is broken.
    """
    if not is_colmap_model(folder):
        raise InputError(f"{folder} holds no COLMAP model", "expected cameras.bin and images.bin, or .txt")
    try:
        return pycolmap.Reconstruction(folder)
    except Exception as error:  # pycolmap raises RuntimeError, ValueError and IndexError for broken files
        raise InputError(f"{folder} holds a broken COLMAP model: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
