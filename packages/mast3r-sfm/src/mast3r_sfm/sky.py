"""Which pixels are sky, by colour alone (spec 30 section 12.2)."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from mast3r_model import InputError

BLUE = ((0, 0, 100), (30, 255, 255))
"""Hue, saturation and value of blue sky. The hues look like red's, because upstream gives RGB to a conversion
from BGR: in it blue takes red's place."""
PALE = ((10, 150), (30, 180), (50, 220))
"""Of clouds: a saturation below the first number with a value above the second."""
OPENING = 5
SMALLEST_SHARE = 0.5
"""Connected pieces larger than this share of the largest one are kept."""


def segment_sky(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """A mask of the sky: large blue or pale regions.

    Args:
        image: RGB.

    Returns:
        True where sky is; all False where nothing looks like it.

    Raises:
        InputError: not an RGB image of uint8.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"expected an RGB image (h, w, 3) uint8, got {image.dtype} {image.shape}")
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    low, high = (np.array(bound, np.uint8) for bound in BLUE)
    mask = cv2.inRange(hsv, low, high) > 0
    saturation, value = hsv[..., 1], hsv[..., 2]
    for greyer, brighter in PALE:
        mask |= (saturation < greyer) & (value > brighter)
    block = np.ones((OPENING, OPENING), np.uint8)
    # beyond the border there is no sky: OpenCV's own opening would say that there is
    eroded = cv2.erode(mask.astype(np.uint8), block, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    opened = cv2.dilate(eroded, block)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    if count <= 1:
        return np.zeros(mask.shape, bool)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    kept = np.concatenate([[False], areas > SMALLEST_SHARE * areas.max()])
    return kept[labels]
