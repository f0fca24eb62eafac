"""What `Co3d` and `WildRgbd` share: pairs of frames of videos of one object (spec 41 sections 5 and 8)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from mast3r_model import ConfigError, InputError
from mast3r_train.errors import SampleError
from mast3r_train.geometry.orientation import View
from mast3r_train.views import PairDataset

from .cameras import Camera
from .files import load_json, missing_layout, read_mask, read_rgb

FRAMES = 100
"""Frames of a sequence that pairs are made of; shorter ones repeat their last."""

PAIRS = tuple((i, j) for i in range(FRAMES) for j in range(i + 1, FRAMES) if j - i in range(5, 31, 5))
"""The 495 pairs of frames of a sequence, before their random offsets."""

LARGEST_OFFSET = 4
"""Frames by which each of the two may move."""

FOREGROUND = 0.1
"""A pixel whose mask is above shows the object."""


@dataclass(frozen=True)
class FrameFiles:
    """Where one frame is.

    Attributes:
        image: the photo; its name is the view's instance.
        depth: 16-bit PNG.
        mask: 8-bit PNG, light where the object is.
        camera: npz.
    """

    image: Path
    depth: Path
    mask: Path
    camera: Path


class ObjectSequences(PairDataset):
    """Pairs of frames, 5 to 30 frames apart, of the sequences that ``selected_seqs_<split>.json`` lists.

    A frame whose depth is empty once it is masked and cropped is replaced by the nearest one that is not, in
    a random direction. What is known to be empty is remembered; it makes samples faster, not different.

    Args:
        mask_bg: depth is unknown outside of the object: True, False, or ``'rand'`` for half of the pairs.
        split: ``'train'`` or ``'test'``.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: another split or mask.
        InputError: the folder has no such list, or the list is broken.
    """

    dataset_name: ClassVar[str]
    """What views say that they come from."""

    def __init__(self, mask_bg: bool | Literal["rand"] = True, *, split: str, **options: Any) -> None:
        super().__init__(split=split, **options)
        if split not in ("train", "test"):
            raise ConfigError(f"{type(self).__name__} has split='train' and 'test', got {split!r}")
        if not (isinstance(mask_bg, bool) or mask_bg == "rand"):
            raise ConfigError(f"mask_bg is True, False or 'rand', got {mask_bg!r}")
        self.mask_bg = mask_bg
        path = self.root / f"selected_seqs_{split}.json"
        if not path.is_file():
            raise missing_layout(type(self).__name__, self.root, path.name)
        self.sequences = tuple(_sequences(path, load_json(path)))
        self._require_pairs(path)
        self._empty: dict[tuple[int, tuple[int, int], bool], set[int]] = {}
        """Sequence, resolution and whether masked -> positions of frames known to be empty."""

    def __len__(self) -> int:
        return len(self.sequences) * len(PAIRS)

    def get_stats(self) -> str:
        """How much there is, for ``repr``."""
        return f"{len(self):_} pairs of {len(self.sequences):_} sequences"

    @abstractmethod
    def _files(self, folder: Path, frame: int) -> FrameFiles:
        """The files of a frame.

        Args:
            folder: of the sequence.
            frame: its number in the list.
        """

    @abstractmethod
    def _read_depth(self, files: FrameFiles) -> tuple[Float[np.ndarray, "h w"], Camera]:
        """Depth (float32), and the camera.

        Raises:
            SampleError: a file is missing or broken.
        """

    def _get_views(self, index: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[View]:
        number, pair = divmod(index, len(PAIRS))
        masked = bool(rng.choice(2)) if self.mask_bg == "rand" else bool(self.mask_bg)
        last = len(self.sequences[number][1]) - 1
        # The second frame's offset is drawn first.
        moved = [
            position + int(rng.integers(-LARGEST_OFFSET, LARGEST_OFFSET + 1))
            for position in PAIRS[pair][::-1]
        ]
        views = [
            self._usable_view(number, min(max(position, 0), last), masked, resolution, rng)
            for position in reversed(moved)
        ]
        if views[0]["instance"] == views[1]["instance"]:
            # Both are the same frame; equal names would say that the batch is symmetric.
            for place, view in enumerate(views):
                view["instance"] += f"_{place}"
        return views

    def _usable_view(
        self, number: int, position: int, masked: bool, resolution: tuple[int, int], rng: np.random.Generator
    ) -> View:
        """The frame at a position, or the nearest one that is not empty, in a random direction."""
        label, frames = self.sequences[number]
        key = (number, resolution, masked)
        known_empty: Set[int] = self._empty.get(key, frozenset())
        direction = 0
        for offset in range(len(frames)):
            if offset and not direction:
                direction = 2 * int(rng.choice(2)) - 1
            candidate = (position + offset * direction) % len(frames)
            if candidate in known_empty:
                continue
            state = rng.bit_generator.state
            view = self._view(label, int(frames[candidate]), masked, resolution, rng)
            if (view["depthmap"] > 0).any():
                return view
            # As if it had been known before: a sample must not depend on which others were made earlier.
            rng.bit_generator.state = state
            self._empty.setdefault(key, set()).add(candidate)
        where = " inside of the masks" if masked else ""
        raise SampleError(f"{self.root / label}: no frame has any depth{where}")

    def _view(
        self, label: str, frame: int, masked: bool, resolution: tuple[int, int], rng: np.random.Generator
    ) -> View:
        files = self._files(self.root / label, frame)
        image = read_rgb(files.image)
        depth, camera = self._read_depth(files)
        if masked:
            mask = read_mask(files.mask)
            if mask.shape != depth.shape:
                raise SampleError(
                    f"{files.mask} has {mask.shape[1]}x{mask.shape[0]} pixels, the depth "
                    f"{depth.shape[1]}x{depth.shape[0]}"
                )
            depth = np.where(mask > FOREGROUND * 255, depth, np.float32(0))
        return self._view_of(
            image, depth, camera, resolution, rng,
            dataset=self.dataset_name, label=label, instance=files.image.name, info=files.image,
        )  # fmt: skip


def _sequences(path: Path, listed: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Folder and frame numbers of the sequences that have frames, in the list's order."""
    try:
        for category, sequences in listed.items():
            for sequence, frames in sequences.items():
                if frames:
                    yield f"{category}/{sequence}", np.array([int(frame) for frame in frames], dtype=np.int32)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no list of sequences",
            hint="it is {category: {sequence: [frame numbers]}}, as `mast3r data prepare` writes it",
        ) from error
