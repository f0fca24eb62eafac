"""`DL3DV`: videos of places, with depth from multi-view stereo (spec 41 section 14)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mast3r_model import ConfigError

from .cameras import Camera, camera_of_npz
from .dl3dv_labels import FILE_NAME, read_labels
from .files import missing_layout, read_depth_npy, read_rgb
from .posed_frames import SKY, Depth, PosedFolder, PosedPairs, marked_depth, stems
from .stored_masks import read_stored_mask, warn_without_masks

COSXL_AUGMENTATIONS = ("foggy", "night", "rainy", "snow", "sunny")
"""Weathers into which frames may have been changed by a generator of images; none is shipped."""

SPLITS = (None, "nlight", "not-nlight", "train", "val")

_VAL_PER_MILLE = 25


def is_val_scene(scene: str) -> bool:
    """Whether a scene is one of the 2.5 % for validation: by the digest of its name, without the subset."""
    name = scene.rpartition("/")[2]
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") % 1000 < _VAL_PER_MILLE


class DL3DVFolder(PosedFolder):
    """``<subset>/<hash>/dense/{rgb,depth,cam,sky_mask,outlier_mask}/frame_00000.*``."""

    def scenes(self) -> list[str]:
        return sorted(
            path.parent.relative_to(self.root).as_posix() for path in self.root.glob("[!.]*/*/dense")
        )

    def frames(self, scene: str) -> list[str]:
        return stems(self.root / scene / "dense" / "cam", ".npz")

    def files(self, scene: str, frame: str) -> tuple[Path, Path, Path]:
        folder = self.root / scene / "dense"
        return (
            folder / "rgb" / f"{frame}.png",
            folder / "depth" / f"{frame}.npy",
            folder / "cam" / f"{frame}.npz",
        )

    def mask_file(self, scene: str, frame: str, kind: str = "sky_mask") -> Path:
        """A frame's ``sky_mask`` or ``outlier_mask``; scenes without that folder have none."""
        return self.root / scene / "dense" / kind / f"{frame}.png"

    def depth(self, scene: str, frame: str) -> Depth:
        depth = marked_depth(read_depth_npy(self.files(scene, frame)[1]), negative=0)
        for kind, value in (("sky_mask", SKY), ("outlier_mask", 0.0)):
            mask = read_stored_mask(self.mask_file(scene, frame, kind), depth.shape)
            if mask is not None:
                depth = np.where(mask, np.float32(value), depth)
        return depth

    def camera(self, scene: str, frame: str) -> Camera:
        return camera_of_npz(self.files(scene, frame)[2], "intrinsic", "pose")


class DL3DV(PosedPairs):
    """Pairs of frames of a video; not metric; there is sky where masks are.

    Files: ``<subset>/<hash>/dense/rgb/frame_00000.png``, ``depth/frame_00000.npy``, ``cam/frame_00000.npz``
    (``intrinsic``, ``pose`` cam2world), ``sky_mask/frame_00000.png`` and ``outlier_mask/...`` (127 and more),
    ``dl3dv_pairs.npz`` and, for the splits by light, ``dl3dv_labels.csv``.

    Args:
        cosxl_augmentations: names of variants of the photos, in ``dense/rgb_cosxl/<name>/frame_00000.png``;
            each view draws one of those that are there, or the photo. None: never.
        split: ``'nlight'`` (scenes labelled so: natural light), ``'not-nlight'`` (all others), ``'train'``
            or ``'val'`` (97.5 % and 2.5 % of the scenes, by their names), or None for all.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: another split, or no list of names.
        InputError: the folder has no pair file, or no labels.
    """

    is_metric_scale = False
    default_folder = "dl3dv_processed"
    folder_type = DL3DVFolder
    pairs_file = "dl3dv_pairs.npz"

    def __init__(
        self,
        *,
        cosxl_augmentations: Sequence[str] | None = COSXL_AUGMENTATIONS,
        split: str | None = None,
        **options: Any,
    ) -> None:
        if split not in SPLITS:
            raise ConfigError(f"DL3DV has split={', '.join(map(repr, SPLITS))}, got {split!r}")
        names = cosxl_augmentations if cosxl_augmentations is not None else ()
        if isinstance(names, str) or not all(isinstance(name, str) and "/" not in name for name in names):
            raise ConfigError(f"cosxl_augmentations is a list of names or None, got {cosxl_augmentations!r}")
        self.cosxl_augmentations = tuple(names)
        self._natural: frozenset[str] = frozenset()
        super().__init__(split=split, **options)
        warn_without_masks(self, "sky_mask", DL3DVFolder(self.root).mask_file)

    def _pairs_file(self) -> str:
        if self.split in ("nlight", "not-nlight"):
            labels = self.root / FILE_NAME
            if not labels.is_file():
                hint = (
                    "mast3r data prepare dl3dv --labels PAGE makes it of a saved page of the dataset's labels"
                )
                raise missing_layout("DL3DV", self.root, FILE_NAME, hint)
            self._natural = frozenset(
                name for name, one in read_labels(labels).items() if one.light == "nlight"
            )
        return self.pairs_file

    def _keeps(self, scene: str) -> bool:
        if self.split in ("nlight", "not-nlight"):
            return (scene.rpartition("/")[2] in self._natural) == (self.split == "nlight")
        return self.split is None or is_val_scene(scene) == (self.split == "val")

    def _image(self, scene: str, frame: str, rng: np.random.Generator) -> Image.Image:
        photo = self.folder.files(scene, frame)[0]
        folder = self.root / scene / "dense" / "rgb_cosxl"
        variants = [folder / name / f"{frame}.png" for name in self.cosxl_augmentations]
        variants = [path for path in variants if path.is_file()]
        drawn = int(rng.integers(1 + len(variants))) if variants else 0
        return read_rgb(variants[drawn - 1] if drawn else photo)
