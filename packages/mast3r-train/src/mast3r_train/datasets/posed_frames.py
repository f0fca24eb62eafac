"""Datasets of frames with depth and pose, paired by a pair file of ours (spec 41 sections 10 to 14)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from mast3r_model import InputError
from mast3r_train.geometry.orientation import View
from mast3r_train.views import PairDataset

from .cameras import Camera
from .files import missing_layout, read_rgb
from .pair_lists import PairList

Depth = Float[np.ndarray, "height width"]
SKY = -1.0
"""Depth of sky; 0 is unknown."""


def marked_depth(
    depth: Depth, *, sky_from: float = np.inf, unknown_above: float = np.inf, negative: float = SKY
) -> Depth:
    """Depth as views have it: what is no measurement becomes 0 or `SKY`.

    Args:
        depth: z, float32.
        sky_from: that far or farther is sky.
        unknown_above: farther than that is unknown, before sky is looked for; so is what is not finite.
        negative: what numbers below 0 become: `SKY`, or 0.
    """
    known = np.where(np.isfinite(depth) & (depth <= unknown_above), depth, np.float32(0))
    known = np.where(known >= sky_from, np.float32(SKY), known)
    return np.where(depth < 0, np.float32(negative), known).astype(np.float32)


def stems(folder: Path, suffix: str, *, before: str = "") -> list[str]:
    """Names of the files with a suffix, sorted, without it.

    Args:
        folder: may be missing.
        suffix: such as ``_cam.npz``.
        before: put before each name.
    """
    names = (path.name for path in folder.glob(f"[!.]*{suffix}"))
    return sorted(f"{before}{name.removesuffix(suffix)}" for name in names)


class PosedFolder(ABC):
    """Where the files of a dataset's frames are, and how they are read; loaders and pair making share it.

    A frame has a scene (a folder, relative to the root) and a name relative to the scene, without suffix.
    What comes before the last ``/`` of the name is its camera or sequence; names of one camera sort by time.

    Args:
        root: the dataset's folder.
    """

    is_rig: ClassVar[bool] = False
    """Whether frames of several cameras with the same name were taken at the same time."""

    strides: ClassVar[tuple[int, ...]] = (1, 2, 4, 8, 16, 32)
    """Distances in frames at which pairs are looked for."""

    random_partners: ClassVar[int] = 20
    """Random pairs per frame that are looked at besides."""

    overlap: ClassVar[tuple[float, float]] = (0.1, 0.95)
    """Least and most overlap of pairs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def with_release(self, raw: Path) -> Self:
        """The same folder, with the public release beside it in which pairs are listed.

        Raises:
            InputError: this dataset's pairs are in no release.
        """
        raise InputError("the release of this dataset lists no pairs", hint="leave out --raw")

    @abstractmethod
    def scenes(self) -> list[str]:
        """The scenes that are there, sorted."""

    @abstractmethod
    def frames(self, scene: str) -> list[str]:
        """The frames of a scene, by camera and time."""

    @abstractmethod
    def files(self, scene: str, frame: str) -> Sequence[Path]:
        """The files that a frame must have; the first is the photo."""

    @abstractmethod
    def depth(self, scene: str, frame: str) -> Depth:
        """z, float32; 0 unknown, `SKY` sky.

        Raises:
            SampleError: a file is missing or broken.
        """

    @abstractmethod
    def camera(self, scene: str, frame: str) -> Camera:
        """Intrinsics of the photo and its pose.

        Raises:
            SampleError: a file is missing or broken.
        """

    def published_pairs(
        self, scene: str, frames: Sequence[str]
    ) -> tuple[Int[np.ndarray, "n 2"], Float[np.ndarray, " n"]] | None:
        """Pairs (numbers into ``frames``) that the release names, with the overlap it gives, if it does.

        An overlap of NaN keeps the pair whatever is measured.

        Raises:
            InputError: the list of pairs is missing or broken.
        """
        return None


class PosedPairs(PairDataset):
    """Pairs of a pair file; a subclass says where frames are, and may change how a view is read.

    Args:
        split: of those that the subclass names in its documentation.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: an option is out of range.
        InputError: the folder has no pair file, or the split has no pair.
    """

    folder_type: ClassVar[type[PosedFolder]]

    pairs_file: ClassVar[str]
    """Name of the pair file, relative to the root."""

    def __init__(self, *, split: str | None = None, **options: Any) -> None:
        super().__init__(split=split, **options)
        self.folder = self.folder_type(self.root)
        file = self._pairs_file()
        if not (self.root / file).is_file():
            name = type(self).__name__
            raise missing_layout(
                name, self.root, file, f"make it with: mast3r data pairs {name} --root {self.root}"
            )
        self.pairs = PairList.read(self.root / file).within(self._keeps)
        self._require_pairs(self.root / file)

    def __len__(self) -> int:
        return len(self.pairs)

    def _pairs_file(self) -> str:
        """The pair file to read."""
        return self.pairs_file

    def _keeps(self, scene: str) -> bool:
        """Whether a scene belongs to the split."""
        return True

    def _image(self, scene: str, frame: str, rng: np.random.Generator) -> Image.Image:
        """The photo of a view; may draw."""
        return read_rgb(self.folder.files(scene, frame)[0])

    def _camera(self, scene: str, frame: str, size_wh: tuple[int, int]) -> Camera:
        """Intrinsics of a photo of that size, and its pose."""
        return self.folder.camera(scene, frame)

    def _get_views(self, index: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[View]:
        scene, *frames = self.pairs[index]
        return [self._view(scene, frame, resolution, rng) for frame in frames]

    def _view(self, scene: str, frame: str, resolution: tuple[int, int], rng: np.random.Generator) -> View:
        image = self._image(scene, frame, rng)
        camera = self._camera(scene, frame, image.size)
        return self._view_of(
            image, self.folder.depth(scene, frame), camera, resolution, rng,
            dataset=type(self).__name__, label=scene, instance=frame, info=f"{scene}/{frame}",
        )  # fmt: skip
