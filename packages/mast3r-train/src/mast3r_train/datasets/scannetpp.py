"""`ScanNetpp`: scanned rooms, photos with depth of the mesh (spec 41 section 7)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mast3r_model import ConfigError
from mast3r_train.geometry.orientation import View

from .files import read_depth_png, read_rgb
from .scene_metadata import PairsOfScenes, load_scene_metadata

MILLIMETRES = 1000.0


class ScanNetpp(PairsOfScenes):
    """Pairs of photos of one room, of a camera (``DSC...``) and of a telephone (``frame_...``).

    The folder, as ``mast3r data prepare scannetpp`` and upstream's script write it::

        all_metadata.npz
        <scene>/images/<name>.jpg
        <scene>/depth/<name>.png        16 bits, mm; 0 unknown

    The stored principal points count from the corner of the first pixel, half a pixel more than those of all
    other datasets. The loader does not undo that: upstream's does not, and networks were trained so.

    Args:
        split: ``'train'``, there is no other.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: another split.
        InputError: the folder is not laid out like that.
    """

    is_metric_scale = True
    default_folder = "scannetpp_processed"
    names = ("ScanNetpp",)

    def __init__(self, *, split: str = "train", **options: Any) -> None:
        super().__init__(split=split, **options)
        if split != "train":
            raise ConfigError(f"ScanNetpp has only split='train', got {split!r}")
        self.metadata = load_scene_metadata("ScanNetpp", self.root)
        self._require_pairs(self.root)

    def _view(self, index: int, image: int, resolution: tuple[int, int], rng: np.random.Generator) -> View:
        scene, name = self.metadata.scene_of(image), self.metadata.images[image]
        photo = read_rgb(self.root / scene / "images" / f"{name}.jpg")
        depth = read_depth_png(self.root / scene / "depth" / f"{name}.png") / MILLIMETRES
        label = f"{scene}_{name}"
        return self._view_of(
            photo, depth, self.metadata.camera(image), resolution, rng,
            dataset="ScanNet++", label=label, instance=f"{index}_{image}", info=label,
        )  # fmt: skip
