"""Fixtures of mast3r-match's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from mast3r_model import EncodedImage, PairPrediction


@dataclass
class PatchNetwork:
    """Stands in for a network: a pixel's descriptor is the 7x7 patch about it, its point is itself at z = 1.

    Equal pixels have equal descriptors, so that the true matches of shifted photos are known exactly.
    """

    patch_size: int = 16
    precision: None = None
    encoded: int = 0
    decoded: list[tuple[int, int]] = field(default_factory=list)
    with_descriptors: bool = True
    config: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(to_expression=lambda: "Patches()")
    )

    def encode(self, images: Sequence[torch.Tensor], *, batch_size: int = 8) -> list[EncodedImage]:
        self.encoded += len(images)
        return [
            EncodedImage(image, torch.zeros(1, 2, dtype=torch.int64), None, tuple(image.shape[-2:]))
            for image in images
        ]

    def decode_pairs(
        self, features: Sequence[EncodedImage], pairs: Sequence[tuple[int, int]], *, batch_size: int = 8
    ) -> Iterator[PairPrediction]:
        for first, second in pairs:
            self.decoded.append((first, second))
            yield PairPrediction(*self._maps(features[first]), *self._maps(features[second]))

    def _maps(self, image: EncodedImage) -> tuple[torch.Tensor | None, ...]:
        height, width = image.image_shape
        grey = image.tokens.mean(0)[None, None]
        patches = torch.nn.functional.unfold(torch.nn.functional.pad(grey, (3,) * 4, mode="reflect"), 7)
        patches = patches[0].T.reshape(height, width, 49)
        patches = patches - patches.mean(-1, keepdim=True)
        contrast = patches.norm(dim=-1)
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        points = torch.stack([x, y, torch.ones_like(x)], -1).float()
        descriptors = torch.nn.functional.normalize(patches, dim=-1) if self.with_descriptors else None
        return points, 1 + contrast, descriptors, None if descriptors is None else 1 + contrast


@pytest.fixture
def network() -> PatchNetwork:
    """A network whose true matches are known."""
    return PatchNetwork()


@pytest.fixture
def points_network() -> PatchNetwork:
    """The same without descriptors, like DUSt3R."""
    return PatchNetwork(with_descriptors=False)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A photo of smooth noise at several scales, uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    grey = sum(
        gaussian_filter(random.standard_normal((height, width)), sigma) * sigma for sigma in (1.5, 4, 12)
    )
    grey = (grey - grey.min()) / (grey.max() - grey.min())
    return np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope="session")
def scene() -> np.ndarray:
    """What the photos of the tests are cut from: (340, 420, 3) uint8."""
    return texture(340, 420)


@pytest.fixture
def save_photo(tmp_path: Path) -> Callable[[str, np.ndarray], Path]:
    """Write pixels as a PNG into the test's folder."""

    def save(name: str, pixels: np.ndarray) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return save
