"""Colours that gradio's 3D viewer shows as they were meant.

Babylon's viewer maps the tones of everything, unlit or not, by the "neutral" curve of Khronos: the smallest
of red, green and blue pulls all three down, and bright colours are compressed. The page cannot switch it
off, so the file gets colours that come out right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

LIFT = 0.04
"""What the curve takes away from colours that are not dark, in linear light."""
SHOULDER = 0.76
"""Above it the curve is flatter, and reaches 1 nowhere."""
DARK = 6.25
"""Of dark colours the curve leaves so many times the square of the smallest channel."""


def for_model3d(color: UInt8[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "*n 3"]:
    """The inverse of the viewer's curve, as far as eight bits hold it.

    Args:
        color: sRGB, as they should look.

    Returns:
        sRGB for the file. White comes out as a light grey (239): the curve lets nothing be brighter.
    """
    shown = _LINEAR[color]
    shown = _expanded(shown)
    smallest = shown.min(axis=-1, keepdims=True)
    lifted = shown + np.where(smallest < LIFT, np.sqrt(smallest / DARK) - smallest, LIFT)
    level = np.clip(lifted, 0, 1)
    encoded = np.where(level <= 0.0031308, 12.92 * level, 1.055 * level ** (1 / 2.4) - 0.055)
    changed: np.ndarray = np.round(255 * encoded).astype(np.uint8)
    return changed


def _expanded(shown: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Bright colours before the curve's shoulder, but for their small loss of saturation."""
    peak = shown.max(axis=-1, keepdims=True)
    room = 1 - SHOULDER
    # a file's colours end at 1: all channels shrink together, so that the hue stays
    before = np.minimum(room**2 / np.maximum(1 - peak, 1e-3) - room + SHOULDER, 1 - LIFT)
    return np.where(peak > SHOULDER, shown * before / np.maximum(peak, 1e-6), shown)


def _linear_levels() -> Float[np.ndarray, " 256"]:
    level = np.arange(256, dtype=np.float32) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _linear_levels()
