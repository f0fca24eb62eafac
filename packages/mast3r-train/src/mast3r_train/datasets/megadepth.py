"""`MegaDepth`: tourists' photos of landmarks with depth from multi-view stereo (spec 41 section 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mast3r_model import ConfigError, InputError
from mast3r_train.geometry.orientation import View
from mast3r_train.views import PairDataset

from .cameras import camera_of_npz
from .files import check_indices, load_npz, missing_layout, read_exr, read_rgb
from .sky import SkyMasks

PAIR_FILES = ("all_metadata.npz", "megadepth_pairs.npz")
"""Names of the pair list: the second one is the published file's, the first one what upstream reads."""

HELD_OUT = ("0015", "0022")
"""Scenes of the split ``val``."""


class MegaDepthPairs(NamedTuple):
    """The pair list.

    Attributes:
        folders: (s,) of the scenes, such as ``0015/0``.
        images: (m,) file names with their suffix.
        scene: (n,) index of a pair's scene.
        pairs: (n, 2) indices of its images.
    """

    folders: list[str]
    images: list[str]
    scene: np.ndarray
    pairs: np.ndarray


class MegaDepth(PairDataset):
    """The published pairs of MegaDepth. Not metric.

    The folder, as ``mast3r data prepare megadepth`` and upstream's script write it::

        all_metadata.npz or megadepth_pairs.npz      scenes, images, pairs
        <scene>/<subscene>/<image>.jpg .exr .npz     such as 0015/0/123_o.jpg.jpg; npz: intrinsics, cam2world
        <scene>/<subscene>/<image>.sky.png           only for mask_sky, if there is sky

    Args:
        mask_sky: read the sky masks that ``mast3r data sky megadepth`` makes; sky has depth -1.
        split: ``'train'``, ``'val'`` (scenes 0015 and 0022) or None: both. Upstream's loader reads both
            whatever it is told.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: another split.
        InputError: the folder has no pair list, or a broken one.
    """

    is_metric_scale = False
    default_folder = "megadepth_processed"
    names = ("MegaDepth",)

    def __init__(self, mask_sky: bool = False, *, split: str | None = None, **options: Any) -> None:
        super().__init__(split=split, **options)
        if split not in ("train", "val", None):
            raise ConfigError(f"MegaDepth has split='train', 'val' and None, got {split!r}")
        path = next((self.root / name for name in PAIR_FILES if (self.root / name).is_file()), None)
        if path is None:
            raise missing_layout("MegaDepth", self.root, " or ".join(PAIR_FILES))
        self.folders, self.images, self.scene, self.pairs = read_megadepth_pairs(path)
        if split is not None:
            is_held_out = np.array([name.startswith(HELD_OUT) for name in self.folders], dtype=bool)
            chosen = is_held_out[self.scene] == (split == "val")
            self.scene, self.pairs = self.scene[chosen], self.pairs[chosen]
        self._require_pairs(path)
        self.sky = None
        if mask_sky:
            step = max(1, len(self) // 100)
            self.sky = SkyMasks("MegaDepth", [self._path(pair, 0) for pair in range(0, len(self), step)])

    def __len__(self) -> int:
        return len(self.pairs)

    def get_stats(self) -> str:
        """How much there is, for ``repr``."""
        return f"{len(self):_} pairs of {len(np.unique(self.scene)):_} scenes"

    def _path(self, pair: int, position: int) -> Path:
        image = self.images[self.pairs[pair, position]]
        return self.root / self.folders[self.scene[pair]] / f"{image}.jpg"

    def _get_views(self, index: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[View]:
        return [self._view(index, position, resolution, rng) for position in range(2)]

    def _view(self, index: int, position: int, resolution: tuple[int, int], rng: np.random.Generator) -> View:
        path = self._path(index, position)
        image = read_rgb(path)
        depth = read_exr(path.with_suffix(".exr"))
        if self.sky is not None:
            depth = self.sky.mark(depth, path)
        camera = camera_of_npz(path.with_suffix(".npz"), "intrinsics", "cam2world")
        label, instance = self.folders[self.scene[index]], self.images[self.pairs[index, position]]
        return self._view_of(
            image, depth, camera, resolution, rng,
            dataset="MegaDepth", label=label, instance=instance, info=path,
        )  # fmt: skip


def read_megadepth_pairs(path: Path) -> MegaDepthPairs:
    """Read and check the pair list.

    Raises:
        InputError: missing, broken, or no such list.
    """
    stored = load_npz(path, ("scenes", "images", "pairs"))
    pairs = stored["pairs"]
    wanted = ("scene_id", "im1_id", "im2_id")
    if pairs.ndim != 1 or not set(wanted) <= set(pairs.dtype.names or ()):
        raise InputError(f"{path}: its pairs have no fields {', '.join(wanted)}, but {pairs.dtype}")
    scenes, images = stored["scenes"].tolist(), stored["images"].tolist()
    folders = ["/".join(str(name).split()) for name in scenes]
    scene = pairs["scene_id"].astype(np.int64)
    ids = np.stack([pairs["im1_id"], pairs["im2_id"]], axis=1).astype(np.int64)
    check_indices(scene, len(folders), f"{path}: scenes of pairs")
    check_indices(ids, len(images), f"{path}: images of pairs")
    return MegaDepthPairs(folders, [str(name) for name in images], scene, ids)
