"""Random brightness, contrast, saturation and hue of a photo (spec 40 section 5).

The operations are Pillow's, on 8-bit pixels: every step rounds, so their order matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image, ImageEnhance


def adjust_brightness(image: Image.Image, factor: float) -> Image.Image:
    """Blend with black: 0 = black, 1 = unchanged, 2 = twice as bright."""
    return ImageEnhance.Brightness(image).enhance(factor)


def adjust_contrast(image: Image.Image, factor: float) -> Image.Image:
    """Blend with the mean grey: 0 = grey, 1 = unchanged."""
    return ImageEnhance.Contrast(image).enhance(factor)


def adjust_saturation(image: Image.Image, factor: float) -> Image.Image:
    """Blend with the grey version: 0 = grey, 1 = unchanged."""
    return ImageEnhance.Color(image).enhance(factor)


def adjust_hue(image: Image.Image, shift: float) -> Image.Image:
    """Turn the hue of an RGB image by a share of the colour circle, in [-0.5, 0.5]; 0 = unchanged."""
    hue, saturation, value = image.convert("HSV").split()
    turned = hue.point([(level + int(shift * 255)) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


@dataclass(frozen=True)
class JitterFactors:
    """One drawn change of colours.

    Attributes:
        order: in which order the four are applied: 0 brightness, 1 contrast, 2 saturation, 3 hue.
        brightness: factor; None leaves it.
        contrast: factor.
        saturation: factor.
        hue: shift as a share of the circle.
    """

    order: tuple[int, ...]
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: float | None = None

    def apply(self, image: Image.Image) -> Image.Image:
        """The RGB image with its colours changed."""
        steps = (
            (adjust_brightness, self.brightness),
            (adjust_contrast, self.contrast),
            (adjust_saturation, self.saturation),
            (adjust_hue, self.hue),
        )
        for number in self.order:
            change, amount = steps[number]
            if amount is not None:
                image = change(image, amount)
        return image


Range = tuple[float, float]


@dataclass(frozen=True)
class JitterRanges:
    """Uniform ranges that changes of colours are drawn from; None is never drawn nor applied.

    Attributes:
        brightness: of the factor.
        contrast: of the factor.
        saturation: of the factor.
        hue: of the shift, within [-0.5, 0.5].
    """

    brightness: Range | None = None
    contrast: Range | None = None
    saturation: Range | None = None
    hue: Range | None = None

    def draw(self) -> JitterFactors:
        """Draw from torch's global generator: the order, then brightness, contrast, saturation, hue."""
        order = tuple(torch.randperm(4).tolist())
        return JitterFactors(
            order,
            brightness=_uniform(self.brightness),
            contrast=_uniform(self.contrast),
            saturation=_uniform(self.saturation),
            hue=_uniform(self.hue),
        )


def _uniform(limits: Range | None) -> float | None:
    return None if limits is None else float(torch.empty(1).uniform_(*limits))
