"""Depth maps in files: COLMAP's own format, and those that everybody writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from mast3r_train.errors import SampleError

from .exr import read_exr
from .files import missing_layout, read_content, read_depth_npy, read_depth_png
from .posed_frames import marked_depth

DENSE_WORKSPACE = "stereo/depth_maps"
SUFFIXES = (".npy", ".png", ".exr")


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
    content = read_content(path)
    try:
        *header, numbers = content.split(b"&", 3)
        width, height, channels = map(int, header)
        if channels != 1 or min(width, height) < 1 or len(numbers) != 4 * width * height:
            raise ValueError(f"{width}x{height} with {channels} channels in {len(numbers)} bytes")
    except ValueError as error:
        raise SampleError(f"{path} is no depth map of COLMAP's: {error}") from error
    return np.frombuffer(numbers, "<f4").reshape(height, width).astype(np.float32)


def depth_file(folder: Path, name: str) -> Path | None:
    """The map of a photo, if there is one: named after it, with or without its suffix."""
    stem = PurePosixPath(name).with_suffix("")
    candidates = [f"{name}.geometric.bin", *(f"{base}{end}" for base in (name, stem) for end in SUFFIXES)]
    return next((folder / each for each in candidates if (folder / each).is_file()), None)


def depth_folder(folder: Path, given: Path | None) -> Path:
    """Where the depth maps are.

    Args:
        folder: of the dataset.
        given: relative to it; None: COLMAP's dense workspace, else ``depth``.

    Raises:
        InputError: there is no such folder.
    """
    candidates: Sequence[Path] = [folder / DENSE_WORKSPACE, folder / "depth"]
    if given is not None:
        candidates = [folder / given]
    found = next((path for path in candidates if path.is_dir()), None)
    if found is None:
        expected = " or ".join(str(path.relative_to(folder)) for path in candidates if given is None)
        raise missing_layout(
            "PosedPhotos", folder, expected or str(given), "it needs depth maps of the photos"
        )
    return found
