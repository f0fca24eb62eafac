"""A stand-in for a network: descriptors are the pixels about a pixel, points are what the test says is true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mast3r_model import EncodedImage, PairDescriptors, PairPrediction
from mast3r_visloc.localizing.photos import read_photo

from .wave_world import Shot

SIDE = 7


@dataclass(frozen=True, eq=False)
class _Truth:
    tokens: Tensor
    world: Tensor
    cam2world: Tensor


@dataclass
class PatchNetwork:
    """Tokens are the pixels of 16x16 patches, so that features lie on the disk as a network's do.

    Attributes:
        with_descriptors: False for one like DUSt3R.
        fingerprint: different for different networks.
        noise: of predicted points, relative to their distance.
        outliers: share of predicted 16x16 blocks whose points are anywhere.
        encoded: number of images so far.
        pairs: number of pairs so far.
    """

    with_descriptors: bool = True
    fingerprint: str = "patches"
    noise: float = 0.0
    outliers: float = 0.0
    patch_size: int = 16
    precision: None = None
    encoded: int = 0
    pairs: int = 0
    truths: list[_Truth] = field(default_factory=list)

    @property
    def config(self) -> Any:
        dim = 3 * SIDE**2 if self.with_descriptors else None
        return SimpleNamespace(desc_dim=dim, img_size=(96, 96), to_expression=lambda: "PatchNetwork()")

    def parameters(self) -> Iterator[Tensor]:
        """For those who ask where it is."""
        yield torch.zeros(1)

    def encode(self, images: Sequence[Tensor], *, batch_size: int = 8) -> list[EncodedImage]:
        self.encoded += len(images)
        return [self._tokens(image) for image in images]

    @staticmethod
    def _tokens(image: Tensor) -> EncodedImage:
        height, width = image.shape[-2:]
        tokens = nn.functional.unfold(image[None], 16, stride=16)[0].T
        positions = torch.cartesian_prod(torch.arange(height // 16), torch.arange(width // 16))
        return EncodedImage(tokens, positions, None, (height, width))

    def teach(self, folder: Any, shot: Shot, size: int) -> None:
        """Tell it what a saved photo shows, so that it can predict points."""
        photo = read_photo(folder / shot.name, size=size, patch_size=16)
        height, width = photo.transform.network_shape
        y, x = np.indices((height, width))
        xy = photo.transform.points_to_original(np.stack([x.ravel(), y.ravel()], 1).astype(float))
        upright = shot.pose.copy()
        upright[:3, :2] = shot.pose[:3, :2] @ photo.transform.upright_from_file[:2, :2].T
        world = torch.from_numpy(shot.wall(xy).reshape(height, width, 3))
        self.truths.append(_Truth(self._tokens(photo.tensor).tokens, world, torch.from_numpy(upright)))

    def describe_pairs(
        self, features: Sequence[EncodedImage], pairs: Sequence[tuple[int, int]], *, batch_size: int = 8
    ) -> Iterator[PairDescriptors]:
        assert self.with_descriptors
        self.pairs += len(pairs)
        for first, second in pairs:
            yield PairDescriptors(*self._described(features[first]), *self._described(features[second]))

    def decode_pairs(
        self, features: Sequence[EncodedImage], pairs: Sequence[tuple[int, int]], *, batch_size: int = 8
    ) -> Iterator[PairPrediction]:
        """Points in view 1's frame, in a unit of each pair's own."""
        self.pairs += len(pairs)
        for number, (first, second) in enumerate(pairs):
            one, other = self._truth(features[first]), self._truth(features[second])
            unit = 0.2 + 0.37 * number
            maps = [self._points(each, one.cam2world, unit, number) for each in (one, other)]
            confidence = [torch.full(points.shape[:2], 2.0) for points in maps]
            yield PairPrediction(maps[0], confidence[0], None, None, maps[1], confidence[1], None, None)

    def _truth(self, image: EncodedImage) -> _Truth:
        for truth in self.truths:
            alike = truth.tokens.shape == image.tokens.shape
            if alike and (truth.tokens - image.tokens).abs().max() < 1e-2:
                return truth
        raise AssertionError("the network was not taught this photo")

    def _points(self, truth: _Truth, cam2world: Tensor, unit: float, seed: int) -> Tensor:
        own = (truth.world - cam2world[:3, 3]) @ cam2world[:3, :3]
        random = torch.Generator().manual_seed(seed)
        noise = torch.randn(own.shape, generator=random, dtype=own.dtype)
        own = own + self.noise * own.norm(dim=-1, keepdim=True) * noise
        blocks = torch.rand((own.shape[0] // 16, own.shape[1] // 16), generator=random) < self.outliers
        wrong = blocks.repeat_interleave(16, 0).repeat_interleave(16, 1)
        anywhere = torch.rand(own.shape, generator=random, dtype=own.dtype) * torch.tensor([4.0, 4, 6])
        anywhere = anywhere - torch.tensor([2.0, 2, -1])
        return (unit * torch.where(wrong[..., None], anywhere, own)).float()

    @staticmethod
    def _described(image: EncodedImage) -> tuple[Tensor, Tensor]:
        height, width = image.image_shape
        pixels = nn.functional.fold(image.tokens.T[None], image.image_shape, 16, stride=16)
        padded = nn.functional.pad(pixels, (SIDE // 2,) * 4, mode="replicate")
        patches = nn.functional.unfold(padded, SIDE)[0].T.reshape(height, width, -1)
        patches = patches - patches.mean(-1, keepdim=True)
        return nn.functional.normalize(patches, dim=-1), 1 + patches.norm(dim=-1)
