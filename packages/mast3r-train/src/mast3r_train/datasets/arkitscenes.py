"""`ARKitScenes`: rooms filmed with a tablet, depth of its LiDAR (spec 41 section 4)."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np

from mast3r_model import ConfigError
from mast3r_train.geometry.orientation import View

from .files import missing_layout, read_depth_png, read_rgb
from .scene_metadata import PairsOfScenes, load_scene_metadata

FOLDERS = {"train": "Training", "test": "Test"}
"""Split -> folder."""

MILLIMETRES = 1000.0


class ARKitScenes(PairsOfScenes):
    """Pairs of photos of one video, chosen by the published lists.

    The folder, as ``mast3r data prepare arkitscenes`` and upstream's script write it::

        <Training|Test>/all_metadata.npz
        <Training|Test>/<video>/vga_wide/<video>_<timestamp>.jpg
        <Training|Test>/<video>/lowres_depth/<video>_<timestamp>.png    16 bits, mm; 0 unknown

    Principal points of turned videos are swapped but not mirrored, as upstream's are.

    Args:
        split: ``'train'`` or ``'test'``.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: another split.
        InputError: the folder is not laid out like that.
    """

    is_metric_scale = True
    default_folder = "arkitscenes_processed"
    names = ("ARKitScenes",)

    def __init__(self, *, split: str, **options: Any) -> None:
        super().__init__(split=split, **options)
        if split not in FOLDERS:
            raise ConfigError(f"ARKitScenes has split='train' and 'test', got {split!r}")
        self.folder = self.root / FOLDERS[split]
        if not self.folder.is_dir():
            raise missing_layout("ARKitScenes", self.root, f"{FOLDERS[split]}/all_metadata.npz")
        self.metadata = load_scene_metadata("ARKitScenes", self.folder)
        self._require_pairs(self.folder)

    def _view(self, index: int, image: int, resolution: tuple[int, int], rng: np.random.Generator) -> View:
        scene, name = self.metadata.scene_of(image), self.metadata.images[image]
        stem = name.removesuffix(PurePosixPath(name).suffix)
        photo = read_rgb(self.folder / scene / "vga_wide" / f"{stem}.jpg")
        depth = read_depth_png(self.folder / scene / "lowres_depth" / f"{stem}.png") / MILLIMETRES
        label = f"{scene}_{name}"
        return self._view_of(
            photo, depth, self.metadata.camera(image), resolution, rng,
            dataset="arkitscenes", label=label, instance=f"{index}_{image}", info=label,
        )  # fmt: skip
