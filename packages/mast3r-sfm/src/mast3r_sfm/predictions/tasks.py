"""Pieces of work that engines hand to workers; small enough to travel between processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from jaxtyping import Bool, UInt8

from mast3r_model import EncodedImage

from .files import Record


@dataclass(frozen=True, eq=False)
class ImageWork:
    """An image to encode.

    Attributes:
        key: of its features.
        pixels: (h, w, 3) uint8 at the network's size.
    """

    key: str
    pixels: UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, eq=False)
class PairWork:
    """A pair to decode both ways and to match.

    Attributes:
        key: of its prediction.
        features0: key of image 0's features.
        features1: key of image 1's features.
        first: identity of image 0 (see `pack_pair`).
        allowed0: (h0, w0), False where image 0 may not match; None for everywhere.
        allowed1: the same for image 1.
    """

    key: str
    features0: str
    features1: str
    first: str
    allowed0: Bool[np.ndarray, "h0 w0"] | None = None
    allowed1: Bool[np.ndarray, "h1 w1"] | None = None


@dataclass(frozen=True, eq=False)
class EncodeTask:
    """Images of one size to encode in one batch."""

    images: tuple[ImageWork, ...]


@dataclass(frozen=True, eq=False)
class DecodeTask:
    """Pairs of equal sizes to decode in one batch; features of their images are in the store."""

    pairs: tuple[PairWork, ...]

    def needs(self) -> list[str]:
        """Keys of the features, each once."""
        return list(dict.fromkeys(key for pair in self.pairs for key in (pair.features0, pair.features1)))


Task: TypeAlias = EncodeTask | DecodeTask


@dataclass(frozen=True)
class TaskReport:
    """What a worker did.

    Attributes:
        images: that it encoded.
        pairs: that it decoded and matched.
        seconds: that it took.
        written_bytes: size of the files.
        peak_bytes: most memory that the worker has used so far: of its GPU, else of its process.
    """

    images: int
    pairs: int
    seconds: float
    written_bytes: int
    peak_bytes: int


class Store(Protocol):
    """Where a worker takes features from and leaves what it made: a `PredictionCache`, or a go-between."""

    def read_features(self, key: str) -> EncodedImage | None:
        """Features on the CPU, None if there are none."""

    def write(self, records: Sequence[Record]) -> None:
        """Keep files, all of them or none."""
