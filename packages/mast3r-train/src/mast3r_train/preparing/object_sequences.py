"""Shared steps of the preparation of `Co3d` and `WildRgbd` (spec 41 sections 5 and 8)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8, UInt16
from PIL import Image

from mast3r_train.datasets.files import load_json
from mast3r_train.errors import SampleError
from mast3r_train.geometry import rescale

from .saving import save_json

LONG_SIDE = 512
"""Prepared images are at least this long, and at least 3/4 of it wide."""

SPLITS = ("train", "test")

Cut = Callable[
    [Image.Image, np.ndarray | None, np.ndarray], tuple[Image.Image, np.ndarray | None, np.ndarray]
]
"""Cuts image, maps and intrinsics."""


@dataclass(frozen=True)
class ObjectView:
    """A frame with everything that is cropped and scaled with it.

    Attributes:
        image: RGB.
        depth: (h, w) uint16, the numbers of its PNG file.
        mask: (h, w) uint8.
        intrinsics: 3x3 float32.
    """

    image: Image.Image
    depth: UInt16[np.ndarray, "h w"]
    mask: UInt8[np.ndarray, "h w"]
    intrinsics: Float[np.ndarray, "3 3"]

    def cut_and_scaled(self, cut: Cut, name: str) -> ObjectView:
        """The part that `cut` leaves, covering the size that the whole image gets by `size_to_cover`.

        Args:
            cut: leaves a part of image, maps and intrinsics.
            name: what errors call the view.

        Raises:
            SampleError: the sizes differ, or the principal point is outside of the image.
        """
        self._check_sizes(name)
        maps = np.stack((self.depth, self.mask.astype(np.uint16)), axis=-1)
        try:
            left = cut(self.image, maps, self.intrinsics)
        except ValueError as error:
            raise SampleError(f"{name}: {error}") from error
        image, scaled, intrinsics = rescale(*left, size_to_cover(*self.image.size))
        assert scaled is not None
        return ObjectView(image, scaled[..., 0], scaled[..., 1].astype(np.uint8), intrinsics)

    def _check_sizes(self, name: str) -> None:
        width, height = self.image.size
        for kind, array in (("depth", self.depth), ("mask", self.mask)):
            if array.shape != (height, width):
                raise SampleError(
                    f"{name}: the image has {width}x{height} pixels, the {kind} "
                    f"{array.shape[1]}x{array.shape[0]}"
                )


def size_to_cover(width: int, height: int) -> tuple[int, int]:
    """(width, height) of a whole image whose short side becomes 384, or more if it is nearly square."""
    for scale in (LONG_SIDE * 3 // 4 / min(width, height) + 1e-8, LONG_SIDE / max(width, height) + 1e-8):
        out = int(np.floor(width * scale)), int(np.floor(height * scale))
        if max(out) >= LONG_SIDE:
            break
    return out


def chosen_at_random(sequences: Sequence[str], count: int, seed: int) -> list[str]:
    """So many of the sequences, as upstream's script draws them."""
    return random.Random(seed).sample(sequences, count)


@dataclass(frozen=True)
class ListedFrame:
    """A frame that goes into a list once it is prepared.

    Attributes:
        split: ``'train'`` or ``'test'``.
        category: folder.
        sequence: folder below it.
        number: as in its files' names.
        marker: the file that exists when it is prepared.
    """

    split: str
    category: str
    sequence: str
    number: int
    marker: Path


def write_lists(out: Path, listed: Iterable[ListedFrame], categories: Sequence[str] | None = None) -> None:
    """Write ``selected_seqs_<split>.json``, one for each category and one for all that are in the folder.

    Frames that could not be made are not listed, so that the loader does not look for them.

    Args:
        out: the prepared folder.
        listed: of this run.
        categories: all that there can be, in the order that the common list has; None: those that are in
            the folder, sorted.
    """
    found: dict[str, dict[str, dict[str, list[int]]]] = {split: {} for split in SPLITS}
    for entry in listed:
        sequences = found[entry.split].setdefault(entry.category, {})
        frames = sequences.setdefault(entry.sequence, [])
        if entry.marker.exists():
            frames.append(entry.number)
    for split, of_categories in found.items():
        name = f"selected_seqs_{split}.json"
        for category, sequences in of_categories.items():
            save_json(out / category / name, sequences)
        there = {path.parent.name: path for path in sorted(out.glob(f"*/{name}"))}
        order = [category for category in categories if category in there] if categories else there
        save_json(out / name, {category: load_json(there[category]) for category in order})


def missing_files(
    out: Path, listed: Iterable[ListedFrame], files: Callable[[ListedFrame], Sequence[Path]]
) -> Iterator[str]:
    """Files of prepared frames that are not there, relative to the prepared folder.

    Args:
        files: of a frame, the folders from `out` on.
    """
    there: dict[Path, set[str]] = {}
    for entry in listed:
        if not entry.marker.exists():
            continue  # it failed, and is not in the lists
        for path in files(entry):
            if path.parent not in there:
                there[path.parent] = _names_in(path.parent)
            if path.name not in there[path.parent]:
                yield str(path.relative_to(out))


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
