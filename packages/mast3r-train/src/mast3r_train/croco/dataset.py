"""Pairs of image files as training samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mast3r_model import ImageError, read_rgb
from mast3r_train.croco.sources import PairSource
from mast3r_train.croco.transforms import PairTransform
from mast3r_train.errors import SampleError


class CompletionPairs:
    """A map-style dataset over the pairs of several folders, one after the other.

    An item is a list of two views with ``img`` (float32 (3, height, width), ImageNet's normalisation) and the
    names ``dataset``, ``label`` (the number of the pair in its folder) and ``instance`` (the file).

    Args:
        sources: where the pairs are.
        transform: what is done with the two images.
    """

    def __init__(self, sources: Sequence[PairSource], transform: PairTransform) -> None:
        self.sources = list(sources)
        self.transform = transform
        self._ends = np.cumsum([len(source) for source in self.sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __repr__(self) -> str:
        return "+".join(source.name for source in self.sources)

    def __getitem__(self, item: int | tuple[int, int]) -> list[dict[str, Any]]:
        """Read and transform a pair.

        Args:
            item: its number, alone or with that of the (only) resolution.

        Raises:
            SampleError: an image is missing, broken or too small; the message names it.
        """
        index = item[0] if isinstance(item, tuple) else item
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        source = self.sources[number]
        own = index - (int(self._ends[number]) - len(source))
        paths = source.pair(own)
        images = [_read(path) for path in paths]
        try:
            tensors = self.transform(*images)
        except SampleError as error:
            raise SampleError(f"{paths[0]}, {paths[1]}: {error.message}", hint=error.hint) from error
        return [
            {"img": tensor, "dataset": source.name, "label": str(own), "instance": str(path)}
            for tensor, path in zip(tensors, paths, strict=True)
        ]


def _read(path: Path) -> Image.Image:
    try:
        return Image.fromarray(read_rgb(path))
    except ImageError as error:
        raise SampleError(error.message, hint=error.hint) from error
