"""How wrong an `OracleNetwork` is: smooth and white errors of depth, of focal, scale and descriptors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from mast3r_model import ConfigError

_CELLS = 4
"""Bumps of a smooth field along an image's short side."""


@dataclass(frozen=True, kw_only=True)
class OracleNoise:
    """Sizes of errors; all 0: none. A pass is one decoding of two images, the first being the reference.

    Attributes:
        smooth_depth: relative error of depth that varies over a quarter of the image, standard deviation.
        white_depth: relative error of depth, of each pixel by itself.
        focal: relative error of the reference's focal length, by which both pointmaps of a pass are too wide.
        scale: relative error of the scale of a pass, which both its pointmaps share.
        shared: share of the variance of smooth depth and focal errors that an image has in every pass: what
            no average over passes removes.
        descriptor: distance between the point that a descriptor codes and the pixel's own, in pixels, each
            axis, standard deviation.
        outliers: share of pixels with the descriptor of a random pixel of the other image. The share of wrong
            matches is about ten times as large, because walks from unseen places end there.
        unevenness: how much the size of errors varies over an image (standard deviation of its logarithm);
            confidences say where.
        seed: of all of them.
    """

    smooth_depth: float = 0.0
    white_depth: float = 0.0
    focal: float = 0.0
    scale: float = 0.0
    shared: float = 0.0
    descriptor: float = 0.0
    outliers: float = 0.0
    unevenness: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that mean nothing.

        Raises:
            ConfigError: a negative size, or a share above 1.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (field.name in ("shared", "outliers") and value > 1):
                raise ConfigError(f"{field.name} of an oracle's noise cannot be {value}")

    @classmethod
    def realistic(cls, seed: int = 0) -> OracleNoise:
        """About what a good network does; the depth and scale errors are those of spec 30 section 6.8."""
        return cls(
            smooth_depth=0.015,
            white_depth=0.006,
            focal=0.02,
            scale=0.03,
            shared=0.5,
            descriptor=0.5,
            outliers=0.005,
            unevenness=0.4,
            seed=seed,
        )

    def to_expression(self) -> str:
        """As a text."""
        return repr(self)


@dataclass(frozen=True, eq=False)
class ImageErrors:
    """What is wrong about an image whenever it is looked at.

    Attributes:
        spread: factor on the sizes of all errors of a pixel, median 1.
        smooth: the shared part of the smooth depth error, unit variance.
        focal: the shared part of the focal's error, unit variance.
    """

    spread: Float[Tensor, "h w"]
    smooth: Float[Tensor, "h w"]
    focal: float

    @classmethod
    def draw(cls, noise: OracleNoise, digest: str, shape: tuple[int, int]) -> ImageErrors:
        """Of the image with this digest."""
        random = generator(noise, "image", digest)
        spread = torch.exp(noise.unevenness * smooth_field(shape, random))
        return cls(spread, smooth_field(shape, random), float(torch.randn((), generator=random)))


@dataclass(frozen=True)
class PassErrors:
    """What is wrong about one pass as a whole.

    Attributes:
        width: factor on x and y in the reference's frame, from its wrong focal length.
        scale: factor on everything.
    """

    width: float
    scale: float

    @classmethod
    def draw(cls, noise: OracleNoise, reference: ImageErrors, random: torch.Generator) -> PassErrors:
        """Of a pass with this reference."""
        own, scale = torch.randn(2, generator=random).tolist()
        focal = noise.shared**0.5 * reference.focal + (1 - noise.shared) ** 0.5 * own
        return cls(width=float(torch.tensor(noise.focal * focal).exp()), scale=1 + noise.scale * scale)


def depth_factors(noise: OracleNoise, errors: ImageErrors, random: torch.Generator) -> Float[Tensor, "h w"]:
    """By what the true depths of an image are multiplied in a pass."""
    shape = (errors.smooth.shape[0], errors.smooth.shape[1])
    smooth = noise.shared**0.5 * errors.smooth + (1 - noise.shared) ** 0.5 * smooth_field(shape, random)
    white = torch.randn(shape, generator=random)
    return torch.exp(errors.spread * (noise.smooth_depth * smooth + noise.white_depth * white))


def generator(noise: OracleNoise, *names: str) -> torch.Generator:
    """Randomness that depends on the noise's seed and some names alone."""
    digest = hashlib.sha256("\n".join([str(noise.seed), *names]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def smooth_field(shape: tuple[int, int], random: torch.Generator) -> Float[Tensor, "h w"]:
    """A smooth random image of mean 0 and variance 1."""
    cell = min(shape) / _CELLS
    knots = [max(2, round(side / cell)) + 1 for side in shape]
    field = torch.randn(1, 1, *knots, generator=random)
    field = interpolate(field, size=shape, mode="bicubic", align_corners=True)[0, 0]
    return (field - field.mean()) / field.std()
