"""The two transforms that training expressions name: ``ImgNorm`` and ``ColorJitter`` (spec 40 section 5)."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mast3r_model import InputError
from mast3r_train.transforms.jitter import JitterRanges

Colour = tuple[float, float, float]

_HALF: Colour = (0.5, 0.5, 0.5)


def normalized_tensor(image: Image.Image, *, mean: Colour, std: Colour) -> Float[Tensor, "3 height width"]:
    """Turn an 8-bit RGB image into ``(pixel / 255 - mean) / std``, colours first.

    Raises:
        InputError: the image is not RGB.
    """
    if image.mode != "RGB":
        raise InputError(f"the image has mode {image.mode}; expected RGB", hint="use image.convert('RGB')")
    values = cv2.LUT(np.asarray(image), _table(mean, std))
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


@lru_cache(maxsize=8)
def _table(mean: Colour, std: Colour) -> Float[np.ndarray, "256 1 3"]:
    """The normalised value of each of the 256 levels of each colour: looked up, not computed, per pixel."""
    levels = torch.arange(256, dtype=torch.float32)[:, None] / 255
    return ((levels - torch.tensor(mean)) / torch.tensor(std))[:, None].numpy()


class _ImgNorm:
    """Called on an RGB image, gives it as float32 (3, height, width) in [-1, 1]."""

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 height width"]:
        return normalized_tensor(image, mean=_HALF, std=_HALF)

    def __repr__(self) -> str:
        return "ImgNorm"


class _ColorJitter:
    """Called on an RGB image, changes its colours at random and does as ``ImgNorm``.

    Each call draws from torch's global generator, so the two views of a pair differ.
    """

    ranges = JitterRanges(brightness=(0.5, 1.5), contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue=(-0.1, 0.1))

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 height width"]:
        return ImgNorm(self.ranges.draw().apply(image))

    def __repr__(self) -> str:
        return "ColorJitter"


ImgNorm = _ImgNorm()
ColorJitter = _ColorJitter()
