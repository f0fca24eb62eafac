"""`BlendedMVS`: photos of objects and places, blended with renderings of their meshes (spec 41 section 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mast3r_model import ConfigError, InputError
from mast3r_train.errors import SampleError
from mast3r_train.geometry.orientation import View
from mast3r_train.views import PairDataset

from .cameras import Camera, checked_camera
from .files import load_npy, missing_layout, read_exr, read_npz, read_rgb
from .sky import SkyMasks

PAIR_FILE = "blendedmvs_pairs.npy"
"""The pair list, in the folder of the prepared files."""


class BlendedMVS(PairDataset):
    """The published pairs of BlendedMVS, BlendedMVS+ and BlendedMVS++. Not metric.

    The folder, as ``mast3r data prepare blendedmvs`` and upstream's script write it::

        blendedmvs_pairs.npy               seq_high, seq_low, img1, img2, score
        <24 hex digits>/<00000000>.jpg .exr .npz          npz: intrinsics, R_cam2world, t_cam2world
        <24 hex digits>/<00000000>.sky.png                only for mask_sky, if there is sky

    Some cameras have their principal point far off the centre of the photo.

    Args:
        mask_sky: read the sky masks that ``mast3r data sky blendedmvs`` makes; sky has depth -1.
        split: ``'train'``, ``'val'`` (a tenth of the scenes) or None: both.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: another split.
        InputError: the folder has no pair list, or a broken one.
    """

    is_metric_scale = False
    default_folder = "blendedmvs_processed"
    names = ("BlendedMVS",)

    def __init__(self, mask_sky: bool = False, *, split: str | None = None, **options: Any) -> None:
        super().__init__(split=split, **options)
        if split not in ("train", "val", None):
            raise ConfigError(f"BlendedMVS has split='train', 'val' and None, got {split!r}")
        path = self.root / PAIR_FILE
        if not path.is_file():
            raise missing_layout("BlendedMVS", self.root, PAIR_FILE)
        self.sequences, images = read_blendedmvs_pairs(path)
        is_held_out = self.sequences[:, 1] % np.uint64(10) == 0
        chosen = slice(None) if split is None else is_held_out if split == "val" else ~is_held_out
        self.sequences, self.images = self.sequences[chosen], images[chosen]
        self._require_pairs(path)
        self.sky = None
        if mask_sky:
            step = max(1, len(self) // 100)
            self.sky = SkyMasks("BlendedMVS", [self._path(pair, 0) for pair in range(0, len(self), step)])

    def __len__(self) -> int:
        return len(self.images)

    def get_stats(self) -> str:
        """How much there is, for ``repr``."""
        return f"{len(self):_} pairs of {len(np.unique(self.sequences, axis=0)):_} scenes"

    def _path(self, pair: int, position: int) -> Path:
        return self.root / sequence_name(*self.sequences[pair]) / f"{self.images[pair, position]:08d}.jpg"

    def _get_views(self, index: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[View]:
        return [self._view(self._path(index, position), resolution, rng) for position in range(2)]

    def _view(self, path: Path, resolution: tuple[int, int], rng: np.random.Generator) -> View:
        image = read_rgb(path)
        depth = read_exr(path.with_suffix(".exr"))
        if self.sky is not None:
            depth = self.sky.mark(depth, path)
        K, cam2world = _camera(path.with_suffix(".npz"))
        return self._view_of(
            image, depth, (K, cam2world), resolution, rng,
            dataset="BlendedMVS", label=path.parent.name, instance=path.stem, info=path,
        )  # fmt: skip


def _camera(path: Path) -> Camera:
    stored = read_npz(path, ("intrinsics", "R_cam2world", "t_cam2world"))
    rotation, position = stored["R_cam2world"], stored["t_cam2world"]
    if rotation.shape != (3, 3) or position.shape != (3,):
        raise SampleError(
            f"{path}: expected R_cam2world 3x3 and t_cam2world 3, got {rotation.shape} and {position.shape}"
        )
    pose = np.concatenate([rotation, position[:, None]], axis=1)
    return checked_camera(path, stored | {"cam2world": pose}, "intrinsics", "cam2world")


def sequence_name(high: int, low: int) -> str:
    """The folder of a scene, whose name is a number of 96 bits."""
    return f"{int(high):08x}{int(low):016x}"


def read_blendedmvs_pairs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pair list: the sequence's two halves by name, the images by position (spec 41 section 2).

    Returns:
        Halves of the sequence's number (n, 2) uint64 and numbers of the images (n, 2) int64.

    Raises:
        InputError: missing, broken, or no such list.
    """
    pairs = load_npy(path)
    names = pairs.dtype.names or ()
    if pairs.ndim != 1 or len(names) < 4 or not {"seq_high", "seq_low"} <= set(names):
        raise InputError(
            f"{path} is no pair list of BlendedMVS: expected the fields seq_high, seq_low, img1, img2, "
            f"score, got {', '.join(names) or 'none'}"
        )
    sequences = np.stack([pairs["seq_high"], pairs["seq_low"]], axis=1).astype(np.uint64)
    images = np.stack([pairs[names[2]], pairs[names[3]]], axis=1).astype(np.int64)
    return sequences, images
