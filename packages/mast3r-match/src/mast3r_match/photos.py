"""Photos as the network sees them, with the pixels that may match."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mast3r_model import ImageTransform, InputError, LoadedImage, load_image

Mask = Bool[np.ndarray, "height width"]


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """A photo as the network sees it.

    Attributes:
        name: its path.
        tensor: (3, h, w) in [-1, 1].
        transform: between its pixels and the network's.
        allowed: (h, w), False where it may not match; None for everywhere.
    """

    name: str
    tensor: Float[Tensor, "3 h w"]
    transform: ImageTransform
    allowed: Bool[Tensor, "h w"] | None


Photo = str | Path | LoadedImage | PreparedPhoto


def prepare_photo(
    image: Photo, mask: Mask | None = None, *, size: int = 512, patch_size: int = 16
) -> PreparedPhoto:
    """Load a photo, unless it is, and bring its mask to the network's size.

    Args:
        image: path, or what `load_image` returns; what was prepared already is returned as it is.
        mask: (height, width) of the photo, False where it may not match.
        size: long side of the network's input in pixels.
        patch_size: of the network.

    Raises:
        ImageError: a photo that cannot be read.
        InputError: a mask of another size than its photo.
    """
    if isinstance(image, PreparedPhoto):
        return image
    loaded = image if isinstance(image, LoadedImage) else load_image(image, size, patch_size=patch_size)
    allowed = None if mask is None else allowed_pixels(mask, loaded.transform, str(loaded.path))
    return PreparedPhoto(str(loaded.path), loaded.tensor, loaded.transform, allowed)


def allowed_pixels(mask: Mask, transform: ImageTransform, name: str) -> Bool[Tensor, "h w"]:
    """A photo's mask in network pixels.

    Raises:
        InputError: the mask has another size than its photo.
    """
    usable = np.asarray(mask).astype(bool)
    if usable.shape != transform.original_shape:
        height, width = transform.original_shape
        raise InputError(
            f"the mask of {name} has shape {usable.shape}, but its photo is {width}x{height} pixels",
            hint=f"give a mask of shape {(height, width)}, False where nothing may match",
        )
    return torch.from_numpy(np.ascontiguousarray(transform.map_to_network(usable, sampling="nearest")))
