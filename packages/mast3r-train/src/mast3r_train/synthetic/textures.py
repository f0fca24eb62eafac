"""Textures: a bank of square images with their mip levels, and filtered look-up.

All levels of all textures lie in one flat table of packed RGBA words, so that a look-up is one
gather per tap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from mast3r_model import ConfigError

from .patterns import PATTERNS

TEXTURE_SIZE = 512
"""Texels per side of every texture (a power of two)."""

_PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class TextureBank:
    """Square textures with mip levels.

    Attributes:
        words: all levels of all textures, each texel one int32 that packs R, G, B (low to high bytes). Level
            0 of texture 0 comes first; the levels of one texture follow each other.
        count: number of textures.
    """

    words: Int[Tensor, " texels"]
    count: int

    @property
    def levels(self) -> int:
        """Number of mip levels: 512, 256, ... 1."""
        return TEXTURE_SIZE.bit_length()

    def to(self, device: torch.device) -> TextureBank:
        """The same bank on another device."""
        return self if self.words.device == device else TextureBank(self.words.to(device), self.count)

    def sample(
        self,
        texture: Int[Tensor, " n"],
        texel: Float[Tensor, "2 n"],
        texels_per_pixel: Float[Tensor, " n"],
    ) -> Float[Tensor, "3 n"]:
        """Look up colours with trilinear filtering; coordinates wrap around.

        Args:
            texture: index of the texture (int32).
            texel: (x, y) at level 0, texel centres at +0.5.
            texels_per_pixel: footprint of a pixel, which chooses the level.

        Returns:
            RGB in [0, 1].
        """
        level = texels_per_pixel.clamp(1.0, float(TEXTURE_SIZE)).log2_()
        floor = level.floor()
        blend = level.sub_(floor)
        fine = self._bilinear(texture, texel, floor)
        coarse = self._bilinear(texture, texel, (floor + 1).clamp_max_(self.levels - 1.0))
        return coarse.sub_(fine).mul_(blend).add_(fine)

    def _bilinear(self, texture: Tensor, texel: Tensor, level: Tensor) -> Float[Tensor, "3 n"]:
        scale = torch.exp2(-level)
        size = (scale * TEXTURE_SIZE).to(torch.int32)
        position = (texel * scale).sub_(0.5)
        corner = position.floor()
        wx, wy = position.sub_(corner)
        x, y = corner.to(torch.int32)
        mask = size - 1
        # Texels before level l in one texture: (4 S^2 - 4 s^2) / 3 with S, s the sides of levels 0 and l.
        start = texture * self._texels_per_texture() + (4 * TEXTURE_SIZE**2 - 4 * size * size) // 3
        x0, x1 = x & mask, (x + 1) & mask
        row0, row1 = start + (y & mask) * size, start + ((y + 1) & mask) * size
        top = self._blend(row0 + x0, row0 + x1, wx)
        bottom = self._blend(row1 + x0, row1 + x1, wx)
        return bottom.sub_(top).mul_(wy).add_(top)

    def _blend(self, first: Tensor, second: Tensor, weight: Tensor) -> Float[Tensor, "3 n"]:
        start = self._unpack(first)
        return self._unpack(second).sub_(start).mul_(weight).add_(start)

    def _unpack(self, index: Tensor) -> Float[Tensor, "3 n"]:
        word = self.words.index_select(0, index)
        channels = torch.stack([word & 255, (word >> 8) & 255, (word >> 16) & 255])
        return channels.to(torch.float32).mul_(1 / 255)

    @staticmethod
    def _texels_per_texture() -> int:
        return (4 * TEXTURE_SIZE**2 - 1) // 3


def build_bank(images: Sequence[Image.Image]) -> TextureBank:
    """Make the mip levels of square RGB images of side :data:`TEXTURE_SIZE`.

    Each level halves the one before with a box filter, which is exact for a box-shaped pixel.
    """
    words = np.empty((len(images), (4 * TEXTURE_SIZE**2 - 1) // 3), dtype=np.int32)
    for row, image in zip(words, images, strict=True):
        level, start = image.convert("RGBA"), 0
        while True:
            texels = np.asarray(level).reshape(-1, 4).view(np.int32)[:, 0]
            row[start : start + len(texels)] = texels
            start += len(texels)
            if level.width == 1:
                break
            level = level.reduce(2)
    return TextureBank(torch.from_numpy(words.ravel()), len(images))


@lru_cache(maxsize=4)
def load_bank(folder: str | None, seed: int, procedural: int) -> TextureBank:
    """The bank of a dataset: procedural textures, and crops of the photos in a folder.

    Args:
        folder: photos (jpg, png, webp; searched recursively), or None.
        seed: of the procedural textures and of the crops.
        procedural: number of procedural textures.

    Raises:
        ConfigError: the folder is missing or holds no photo.
    """
    rng = np.random.default_rng([seed, 7])
    images = [Image.fromarray(PATTERNS[i % len(PATTERNS)](TEXTURE_SIZE, rng)) for i in range(procedural)]
    if folder is not None:
        paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in _PHOTO_SUFFIXES)
        if not paths:
            raise ConfigError(
                f"the texture folder {folder} holds no photo",
                hint="give a folder of .jpg, .png or .webp files",
            )
        for path in paths:
            with Image.open(path) as photo:
                images.append(_random_crop(photo.convert("RGB"), rng))
    return build_bank(images)


def _random_crop(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = round(min(photo.size) * rng.uniform(0.5, 1.0))
    left = int(rng.integers(photo.width - side + 1))
    top = int(rng.integers(photo.height - side + 1))
    box = (left, top, left + side, top + side)
    return photo.resize((TEXTURE_SIZE, TEXTURE_SIZE), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)
