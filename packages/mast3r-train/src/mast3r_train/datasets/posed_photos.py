"""`PosedPhotos`: one's own photos as a training set, from a reconstruction of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mast3r_model import ConfigError, InputError
from mast3r_train.geometry.orientation import View
from mast3r_train.preparing.pair_scoring import PairSettings
from mast3r_train.views import PairDataset

from .colmap_model import find_model
from .colmap_photos import ColmapPhotos
from .files import missing_layout
from .photo_pairs import pairs_of
from .photo_sources import PhotoSource
from .scene_photos import STATE_FILE, ScenePhotos


class PosedPhotos(PairDataset):
    """Pairs of photos of one reconstruction::

        PosedPhotos(ROOT='scene', resolution=(512, 384))    # what `mast3r sfm PHOTOS -o scene` wrote
        PosedPhotos(ROOT='dense', resolution=(512, 384))    # COLMAP's dense workspace

    The folder is one of these:

    * of ``mast3r sfm``: ``scene.safetensors``, which every run writes, has depth, confidence, cameras and the
      photos in the network's size (``--size``);
    * a COLMAP model (binary or text) in the folder itself, in ``sparse`` or in ``sparse/0``, of cameras
      without distortion, with the photos in ``images`` and depth in ``stereo/depth_maps/NAME.geometric.bin``
      or in ``depth/NAME`` with or without the photo's suffix, plus ``.npy``, ``.png`` (16 bits) or ``.exr``.

    Pairs are those of ``pairs.npz`` or ``pairs.txt`` in the folder, else photos that see the same; see
    `photo_pairs`.

    Args:
        min_conf: depth whose confidence is not above it is unknown. None: of ``mast3r sfm``, the threshold
            that its points had; of COLMAP, there is no confidence. A COLMAP model's own confidence maps are
            ``confidence/NAME``, in the formats of depth.
        metric: the reconstruction's unit is the metre.
        images: folder of a COLMAP model's photos, relative to the root.
        depth: folder of a COLMAP model's depth maps, relative to the root.
        png_unit: of depth in PNG files, in the model's unit.
        overlap: least and most share that photos of a found pair see of each other.
        split: ``'train'`` or ``'val'``, by a hash of the two names; None: all pairs.
        val_share: share of the pairs in ``'val'``.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: an option is out of range, or not for this kind of folder.
        InputError: the folder holds no reconstruction, or a broken one, or no pairs.
    """

    is_metric_scale = False
    default_folder = "posed_photos"
    names = ("PosedPhotos",)

    def __init__(
        self,
        *,
        min_conf: float | None = None,
        metric: bool = False,
        images: str | None = None,
        depth: str | None = None,
        png_unit: float | None = None,
        overlap: tuple[float, float] = (0.1, 0.95),
        split: str | None = None,
        val_share: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(split=split, **options)
        if split not in ("train", "val", None):
            raise ConfigError(f"PosedPhotos has split='train', 'val' and None, got {split!r}")
        if not isinstance(metric, bool):
            raise ConfigError(f"metric is True or False, got {metric!r}")
        if not 0 <= val_share <= 1:
            raise ConfigError(f"val_share is a share from 0 to 1, got {val_share!r}")
        low, high = _two_numbers(overlap)
        self.is_metric_scale = metric
        only_colmap = {"images": images, "depth": depth, "png_unit": png_unit}
        self.source = _open(self.root, min_conf, {k: v for k, v in only_colmap.items() if v is not None})
        pairs = pairs_of(self.root, self.source, PairSettings(overlap=(low, high)))
        kept = [self._keeps(first, second, val_share) for first, second in pairs.tolist()]
        self.pairs = pairs[np.array(kept, dtype=bool)]
        if not len(self.pairs):
            raise InputError(
                f"none of the {len(pairs)} pairs of {self.root} is in split={split!r}",
                hint=f"give another val_share than {val_share}, or no split",
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def get_stats(self) -> str:
        """How much there is, for ``repr``."""
        return f"{len(self):_} pairs of {len(self.source.names):_} photos"

    def _keeps(self, first: int, second: int, val_share: float) -> bool:
        if self.split is None:
            return True
        names = sorted((self.source.names[first], self.source.names[second]))
        digest = hashlib.sha256("\n".join(names).encode()).digest()
        is_val = int.from_bytes(digest[:8], "big") < val_share * 2**64
        return is_val == (self.split == "val")

    def _get_views(self, index: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[View]:
        return [self._view(number, resolution, rng) for number in self.pairs[index].tolist()]

    def _view(self, number: int, resolution: tuple[int, int], rng: np.random.Generator) -> View:
        name = self.source.names[number]
        depth, K = self.source.geometry(number)
        image = self.source.image(number)
        size = (depth.shape[1], depth.shape[0])
        if image.size != size:  # colours are averaged, depth is not: so the photo takes the depth's size
            image = image.resize(size, resample=Image.Resampling.LANCZOS)
        return self._view_of(
            image, depth, (K, self.source.cam2world[number]), resolution, rng,
            dataset="PosedPhotos", label=self.root.resolve().name, instance=name, info=f"{self.root}/{name}",
        )  # fmt: skip


def _open(root: Path, min_conf: float | None, of_colmap: dict[str, Any]) -> PhotoSource:
    if (root / STATE_FILE).is_file():
        if of_colmap:
            raise ConfigError(
                f"{root} was written by `mast3r sfm`: {', '.join(of_colmap)} is for COLMAP models only"
            )
        return ScenePhotos(root, min_conf)
    if find_model(root) is None:
        raise missing_layout(
            "PosedPhotos",
            root,
            f"{STATE_FILE} and no COLMAP model (sparse/0/cameras.bin)",
            "make one of photos: mast3r sfm PHOTOS -o SCENE",
        )
    return ColmapPhotos(root, min_conf=min_conf, **of_colmap)


def _two_numbers(overlap: Any) -> tuple[float, float]:
    try:
        low, high = overlap
        return float(low), float(high)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"overlap is (least, most), got {overlap!r}") from error
