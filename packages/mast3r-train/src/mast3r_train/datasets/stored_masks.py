"""Masks of sky and of outliers beside depth maps from multi-view stereo (spec 41 sections 13 and 14)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from mast3r_train.errors import SampleError

from .files import read_mask
from .posed_frames import PosedPairs

LOGGER = logging.getLogger("mast3r.train")

MASKED_FROM = 127
"""Least value of a masked pixel; masks may be JPEG files."""


def read_stored_mask(path: Path, shape: tuple[int, ...]) -> Bool[np.ndarray, "height width"] | None:
    """A mask, or None for scenes that have no folder of such masks.

    Args:
        path: the mask's file.
        shape: (height, width) that it must have.

    Raises:
        SampleError: the folder is there but not the file, or it is broken or of another size.
    """
    if not path.parent.is_dir():
        return None
    mask = read_mask(path)
    if mask.shape != tuple(shape):
        raise SampleError(
            f"{path} has {mask.shape[1]}x{mask.shape[0]} pixels, the depth {shape[1]}x{shape[0]}"
        )
    return mask >= MASKED_FROM


def warn_without_masks(dataset: PosedPairs, kind: str, mask_file: Callable[[str, str], Path]) -> None:
    """Say once if a dataset has no masks of a kind; looks at its first pair."""
    scene, frame, _ = dataset.pairs[0]
    if not mask_file(scene, frame).parent.is_dir():
        LOGGER.warning(
            "%s: %s has no masks (folder %s), as perhaps other scenes; there, nothing is masked",
            type(dataset).__name__,
            scene,
            kind,
        )
