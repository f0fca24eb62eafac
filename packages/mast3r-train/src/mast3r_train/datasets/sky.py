"""Sky masks beside the photos of a dataset whose depth does not say where the sky is (spec 41 section 15)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_train.errors import SampleError

from .files import read_mask

LOGGER = logging.getLogger("mast3r.train")

SKY_FROM = 127
"""Values of a mask from here on are sky."""

SKY_DEPTH = np.float32(-1)
"""Depth of sky pixels (spec 40 section 2)."""

_LOOKED_AT = 32
"""Photos whose masks are looked for when a dataset is made."""


def sky_mask_path(image: Path) -> Path:
    """Where the mask of a photo is: ``a/b.jpg`` has ``a/b.sky.png``."""
    return image.with_name(f"{image.stem}.sky.png")


class SkyMasks:
    """Marks the sky in depth maps. A photo without a mask has no sky, which is said once per dataset.

    Args:
        dataset: its name, for that message.
        images: photos of the dataset; the masks of some, evenly spread, are looked for now, so that the
            message comes from here and not from every worker process.
    """

    def __init__(self, dataset: str, images: Sequence[Path]) -> None:
        self._dataset = dataset
        self._said = False
        step = max(1, len(images) // _LOOKED_AT)
        without = [image for image in images[::step] if not sky_mask_path(image).is_file()]
        if without:
            self._say_once(without[0])

    def mark(self, depth: Float[np.ndarray, "h w"], image: Path) -> Float[np.ndarray, "h w"]:
        """Depth with -1 where the photo's mask says sky and nothing was measured.

        Args:
            depth: of the whole photo as it is stored; 0 where unknown.
            image: path of the photo.

        Raises:
            SampleError: the mask is broken, or not of the photo's size.
        """
        path = sky_mask_path(image)
        if not path.is_file():
            self._say_once(image)
            return depth
        mask = read_mask(path)
        if mask.shape != depth.shape:
            raise SampleError(
                f"{path} has {mask.shape[1]}x{mask.shape[0]} pixels, the depth "
                f"{depth.shape[1]}x{depth.shape[0]}"
            )
        return np.where((mask >= SKY_FROM) & (depth == 0), SKY_DEPTH, depth)

    def _say_once(self, image: Path) -> None:
        if self._said:
            return
        self._said = True
        LOGGER.warning(
            "%s: mask_sky=True, but %s does not exist; a photo without a mask counts as one without sky. "
            "`mast3r data sky %s` makes the masks",
            self._dataset,
            sky_mask_path(image),
            self._dataset.lower(),
        )
