"""Plain backgrounds: pixels that are as good as black or white."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

BLACK_SUM = 16
"""Red, green and blue of a black pixel add up to less."""
WHITE_LEVEL = 240
"""All three of a white pixel are above it."""


def is_black(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """Pixels that are as good as black; photos of cut-out things have such a background."""
    return np.asarray(image.sum(axis=-1, dtype=np.int32) < BLACK_SUM)


def is_white(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """Pixels that are as good as white."""
    return np.asarray((image > WHITE_LEVEL).all(axis=-1))
