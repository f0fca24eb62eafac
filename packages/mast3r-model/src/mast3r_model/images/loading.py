"""Photos -> network inputs: upstream's resize and crop, exactly (spec 10 S10.1)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from mast3r_model.errors import ImageError, InputError
from mast3r_model.image_transform import ImageTransform
from mast3r_model.images.reading import (
    HEIF_SUFFIXES,
    PathLike,
    check_large_enough,
    has_photo_suffix,
    open_photo,
)

MAX_ELONGATION = 40
"""Long side over short side; beyond it nothing is left at 512, and 224 would enlarge without bound."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """A photo and the network input made from it.

    Attributes:
        tensor: (3, h, w) float32 in [-1, 1], the network's input.
        original: (H, W, 3) uint8 RGB, the upright photo.
        transform: between the pixels of both.
        path: the file.
    """

    tensor: Float[Tensor, "3 h w"]
    original: UInt8[np.ndarray, "H W 3"]
    transform: ImageTransform
    path: Path


def load_image(
    path: PathLike, size: int = 512, *, square_ok: bool = False, patch_size: int = 16
) -> LoadedImage:
    """Load one photo for the network.

    Args:
        path: a JPEG, PNG or (with the extra `heic`) HEIC file, or whatever else Pillow reads.
        size: long side of the network input in pixels; 224 means 224x224, cut from the middle.
        square_ok: keep square photos square instead of cutting them to 4:3.
        patch_size: of the model; the sides are cut to multiples of it.

    Raises:
        ImageError: the file cannot be read, or is too small or too elongated. Names the file.
        InputError: `size` or `patch_size` make no sense.
    """
    photo = open_photo(path)
    check_large_enough(photo, path)
    network, transform = _resize_and_crop(photo, size, square_ok=square_ok, patch_size=patch_size, path=path)
    return LoadedImage(_to_tensor(network), np.array(photo), transform, Path(path))


def load_images(
    folder_or_list: PathLike | Sequence[PathLike],
    size: int = 512,
    *,
    square_ok: bool = False,
    verbose: bool = True,
    patch_size: int = 16,
) -> list[dict[str, Any]]:
    """Load a folder or a list of photos as upstream's list of views (spec 10 S10.1).

    Args:
        folder_or_list: a folder (its photos sorted by name, not recursive) or a list of files. Names that end
            otherwise than in .jpg, .jpeg, .png (.heic, .heif with the extra `heic`) are skipped.
        size: see `load_image`.
        square_ok: see `load_image`.
        verbose: log what was loaded (level INFO).
        patch_size: see `load_image`.

    Returns:
        One dict a photo: `img` float32 (1, 3, h, w) in [-1, 1]; `true_shape` int32 array (1, 2) = [[h, w]];
        `idx` int; `instance` str(idx); and, beyond upstream's, `transform`: its `ImageTransform`.

    Raises:
        ImageError: a photo cannot be read, or there is none.
        InputError: the first argument is neither a folder nor a list.
    """
    views: list[dict[str, Any]] = []
    for path in _list_photos(folder_or_list):
        photo = open_photo(path)
        check_large_enough(photo, path)
        network, transform = _resize_and_crop(
            photo, size, square_ok=square_ok, patch_size=patch_size, path=path
        )
        if verbose:
            _logger.info("%s: %dx%d -> %dx%d", path, *photo.size, *network.size)
        index = len(views)
        views.append(
            {
                "img": _to_tensor(network)[None],
                "true_shape": np.array([network.size[::-1]], dtype=np.int32),
                "idx": index,
                "instance": str(index),
                "transform": transform,
            }
        )
    return views


def _list_photos(folder_or_list: PathLike | Sequence[PathLike]) -> list[Path]:
    if isinstance(folder_or_list, str | os.PathLike):
        folder = Path(folder_or_list)
        if not folder.is_dir():
            raise ImageError(
                f"no such folder of images: {folder}",
                hint="give a folder, or a list of files (also for one file)",
            )
        candidates = [folder / name for name in sorted(os.listdir(folder))]
        skip_heif = True
    elif isinstance(folder_or_list, Sequence):
        candidates = [Path(p) for p in folder_or_list]
        skip_heif = False
    else:
        raise InputError(f"expected a folder or a list of files, got {type(folder_or_list).__name__}")
    photos = []
    for path in candidates:
        is_heif = path.name.lower().endswith(HEIF_SUFFIXES)
        # A HEIC file that was asked for by name goes on to the reader, whose error names the missing extra.
        if has_photo_suffix(path.name) or (is_heif and not skip_heif):
            photos.append(path)
        elif is_heif:
            _logger.warning("skipped %s: reading HEIC needs pip install 'mast3r-model[heic]'", path)
    if not photos:
        raise ImageError(
            f"no images in {folder_or_list}" if candidates else f"nothing to load in {folder_or_list}",
            hint="expected files ending in .jpg, .jpeg or .png",
        )
    return photos


def _resize_and_crop(
    photo: Image.Image, size: int, *, square_ok: bool, patch_size: int, path: PathLike
) -> tuple[Image.Image, ImageTransform]:
    if size < 1 or patch_size < 1:
        raise InputError(f"size and patch_size must be positive, got size={size}, patch_size={patch_size}")
    resized_wh = _resized_wh(photo.size, size)
    box = _crop_box(resized_wh, size, square_ok=square_ok, patch_size=patch_size)
    too_long = max(photo.size) > MAX_ELONGATION * min(photo.size)
    if too_long or box[2] <= box[0] or box[3] <= box[1]:
        raise ImageError(
            f"the image is too elongated: {path} is {photo.width}x{photo.height} pixels, "
            f"which at size {size} leaves no {patch_size}-pixel patch across",
            hint="crop the photo, or use a larger size",
        )
    shrinks = max(photo.size) > max(resized_wh)
    resized = photo.resize(resized_wh, Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC)
    transform = ImageTransform.from_resize_and_crop(photo.size[::-1], resized_wh[::-1], box)
    return resized.crop(box), transform


def _resized_wh(photo_wh: tuple[int, int], size: int) -> tuple[int, int]:
    width, height = photo_wh
    # At 224 it is the short side that becomes 224 (upstream's low-resolution models take squares).
    long_side = round(224 * max(width / height, height / width)) if size == 224 else size
    longest = max(width, height)
    return round(width * long_side / longest), round(height * long_side / longest)


def _crop_box(
    resized_wh: tuple[int, int], size: int, *, square_ok: bool, patch_size: int
) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the centred crop, in pixels of the resized image."""
    center_x, center_y = resized_wh[0] // 2, resized_wh[1] // 2
    half_width: float
    half_height: float
    if size == 224:
        half_width = half_height = min(center_x, center_y)
    else:
        half_width = ((2 * center_x) // patch_size) * patch_size / 2
        half_height = ((2 * center_y) // patch_size) * patch_size / 2
        if resized_wh[0] == resized_wh[1] and not square_ok:
            half_height = 3 * half_width / 4
    # Python's round is half to even, as Pillow does with fractional corners.
    return (
        round(center_x - half_width),
        round(center_y - half_height),
        round(center_x + half_width),
        round(center_y + half_height),
    )


def _to_tensor(image: Image.Image) -> Float[Tensor, "3 h w"]:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    return pixels.to(torch.float32).div_(255).sub_(0.5).div_(0.5)
