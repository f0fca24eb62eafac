"""Random crops and colours of a pair of images, from texts such as ``crop224+acolor`` (spec 40 11)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mast3r_model import ConfigError
from mast3r_train.errors import SampleError
from mast3r_train.transforms import JitterRanges, normalized_tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ImagePair = tuple[Image.Image, Image.Image]
PairStep = Callable[[Image.Image, Image.Image], ImagePair]

_COLOURS = JitterRanges(brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.6, 1.4))
_REDRAW_CHANCE = 1.0


@dataclass(frozen=True)
class RandomCrops:
    """A square cut out of each image, at places of their own.

    Attributes:
        size: side in pixels.
    """

    size: int

    def __call__(self, image1: Image.Image, image2: Image.Image) -> ImagePair:
        return self._crop(image1), self._crop(image2)

    def _crop(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        if min(width, height) < self.size:
            raise SampleError(
                f"an image of {width}x{height} pixels is too small for crops of {self.size}",
                hint="use larger images, a smaller crop, or resize first: resize256+crop224+acolor",
            )
        top = int(torch.randint(0, height - self.size + 1, (1,)))
        left = int(torch.randint(0, width - self.size + 1, (1,)))
        return image.crop((left, top, left + self.size, top + self.size))


@dataclass(frozen=True)
class RandomColours:
    """Brightness, contrast and saturation changed at random, for each image anew."""

    def __call__(self, image1: Image.Image, image2: Image.Image) -> ImagePair:
        factors = _COLOURS.draw()
        changed1 = factors.apply(image1)
        # Always true, but upstream draws the number, and all draws after it depend on that.
        if float(torch.rand(1)) < _REDRAW_CHANCE:
            factors = _COLOURS.draw()
        return changed1, factors.apply(image2)


@dataclass(frozen=True)
class Resize:
    """Each image scaled so that its shorter side has a given length: for photos that are much larger.

    Attributes:
        size: length in pixels.
    """

    size: int

    def __call__(self, image1: Image.Image, image2: Image.Image) -> ImagePair:
        return self._resize(image1), self._resize(image2)

    def _resize(self, image: Image.Image) -> Image.Image:
        scale = self.size / min(image.size)
        shape = (max(self.size, round(image.width * scale)), max(self.size, round(image.height * scale)))
        return image.resize(shape, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class PairTransform:
    """Steps on two images, then ImageNet's normalisation. All draws are from torch's global generator.

    Attributes:
        steps: what is done with the images, in order.
        text: how the command line writes them.
    """

    steps: tuple[PairStep, ...]
    text: str

    def __call__(
        self, image1: Image.Image, image2: Image.Image
    ) -> tuple[Float[Tensor, "3 height1 width1"], Float[Tensor, "3 height2 width2"]]:
        """Transform two RGB images.

        Raises:
            SampleError: an image is smaller than the crop.
        """
        for step in self.steps:
            image1, image2 = step(image1, image2)
        return (
            normalized_tensor(image1, mean=IMAGENET_MEAN, std=IMAGENET_STD),
            normalized_tensor(image2, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        )

    @property
    def size(self) -> int | None:
        """Side of the last crop: that of the transformed images; None without a crop."""
        sizes = [step.size for step in self.steps if isinstance(step, RandomCrops)]
        return sizes[-1] if sizes else None


def parse_transforms(text: str) -> PairTransform:
    """Read names joined by ``+``, done from left to right.

    ``crop<n>`` cuts random squares of n pixels, ``acolor`` changes colours, ``resize<n>`` (ours) scales the
    shorter side to n pixels.

    Raises:
        ConfigError: an unknown name.
    """
    return PairTransform(tuple(_step(name.strip(), text) for name in text.split("+")), text)


def _step(name: str, text: str) -> PairStep:
    match = re.fullmatch(r"(crop|resize)([1-9]\d{0,4})", name)
    if match is not None:
        size = int(match[2])
        return RandomCrops(size) if match[1] == "crop" else Resize(size)
    if name == "acolor":
        return RandomColours()
    raise ConfigError(
        f"--transforms {text!r}: unknown step {name!r}",
        hint="steps are crop<size>, acolor and resize<size>, joined by +, such as crop224+acolor",
    )
