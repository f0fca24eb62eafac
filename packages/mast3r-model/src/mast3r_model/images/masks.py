"""Masks: which pixels of a photo may be used."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from mast3r_model.errors import ImageError
from mast3r_model.images.reading import PathLike, open_upright


def load_mask(path: PathLike, shape: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """Load a photo's mask. Black pixels may not be used; any other may (COLMAP's convention).

    Args:
        path: an image file of the photo's size; grey, colour or palette; its EXIF orientation is applied.
        shape: (height, width) of the upright original photo, `ImageTransform.original_shape`.

    Returns:
        (height, width) bool, True where the photo may be used; `ImageTransform.map_to_network` brings it
        onto the network's pixels.

    Raises:
        ImageError: the file cannot be read, or has another size than the photo.
    """
    image = open_upright(path)
    if image.size[::-1] != tuple(shape):
        raise ImageError(
            f"the mask {path} is {image.width}x{image.height} pixels, but its photo is {shape[1]}x{shape[0]} "
            "(width x height)",
            hint="give a mask of the original photo's size, black where nothing may match",
        )
    if "A" in image.getbands() or image.mode == "P":
        image = image.convert("RGB")  # as with photos, transparency says nothing
    usable: np.ndarray = np.asarray(image) != 0
    return usable if usable.ndim == 2 else np.any(usable, axis=-1)
