"""`NianticMapFree`: two walks to a place, with depth from multi-view stereo (spec 41 section 13)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from mast3r_model import ConfigError, InputError

from .cameras import Camera, camera_of_npz
from .files import load_npz, read_depth_npy
from .posed_frames import SKY, Depth, PosedFolder, PosedPairs, marked_depth, stems
from .stored_masks import read_stored_mask, warn_without_masks

UNKNOWN_ABOVE = 400.0
"""Metres: farther is no depth."""

SEQUENCES = ("dense0", "dense1")

FIRST_VAL_SCENE, FIRST_TEST_SCENE = 460, 525
"""The release numbers its 460 training, 65 validation and 130 test scenes through."""


def split_of(scene: str) -> str | None:
    """``'train'``, ``'val'`` or ``'test'``, by the number of a scene such as ``s00460``; None: no scene."""
    if not re.fullmatch(r"s\d{5}", scene):
        return None
    number = int(scene[1:])
    return "train" if number < FIRST_VAL_SCENE else "val" if number < FIRST_TEST_SCENE else "test"


class NianticMapFreeFolder(PosedFolder):
    """``s00000/dense{0,1}/{rgb,depth,cam,sky_mask}/frame_00000.*``; a frame is called ``dense0/frame_00000``.

    Args:
        root: the folder.
        release: the public release, for ``overlaps.npz`` of scenes that have no copy of it.
    """

    overlap = (0.1, 0.9)

    def __init__(self, root: Path, release: Path | None = None) -> None:
        super().__init__(root)
        self.release = release

    def with_release(self, raw: Path) -> Self:
        return type(self)(self.root, raw)

    def scenes(self) -> list[str]:
        return sorted(path.name for path in self.root.glob("s?????") if split_of(path.name) is not None)

    def frames(self, scene: str) -> list[str]:
        folder = self.root / scene
        return [name for one in SEQUENCES for name in stems(folder / one / "cam", ".npz", before=f"{one}/")]

    def files(self, scene: str, frame: str) -> tuple[Path, Path, Path]:
        sequence, _, name = frame.partition("/")
        folder = self.root / scene / sequence
        return (
            folder / "rgb" / f"{name}.jpg",
            folder / "depth" / f"{name}.npy",
            folder / "cam" / f"{name}.npz",
        )

    def sky_mask_file(self, scene: str, frame: str) -> Path:
        """The mask of a frame's sky; scenes without the folder ``sky_mask`` have none."""
        sequence, _, name = frame.partition("/")
        return self.root / scene / sequence / "sky_mask" / f"{name}.jpg"

    def depth(self, scene: str, frame: str) -> Depth:
        path = self.files(scene, frame)[1]
        depth = marked_depth(read_depth_npy(path), unknown_above=UNKNOWN_ABOVE, negative=0)
        sky = read_stored_mask(self.sky_mask_file(scene, frame), depth.shape)
        return depth if sky is None else np.where(sky, np.float32(SKY), depth)

    def camera(self, scene: str, frame: str) -> Camera:
        return camera_of_npz(self.files(scene, frame)[2], "intrinsic", "pose")

    def published_pairs(
        self, scene: str, frames: Sequence[str]
    ) -> tuple[Int[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
        places = {name: place for place, name in enumerate(frames)}
        if split_of(scene) != "train":
            reference = [place for name, place in places.items() if name.startswith("dense0/")][:1]
            queries = [place for name, place in places.items() if name.startswith("dense1/")]
            pairs = np.array([(a, b) for a in reference for b in queries], dtype=np.int64).reshape(-1, 2)
            return pairs, np.full(len(pairs), np.nan)
        rows, overlap = self._overlaps(scene)
        ends = [[f"dense{row[k]}/frame_{row[k + 1]:05d}" for row in rows.tolist()] for k in (0, 2)]
        numbers = np.array([[places.get(name, -1) for name in end] for end in ends], dtype=np.int64).T
        there = (numbers.reshape(-1, 2) >= 0).all(axis=1) & (numbers[:, 0] != numbers[:, 1])
        return numbers[there], overlap[there].astype(np.float64)

    def _overlaps(self, scene: str) -> tuple[np.ndarray, np.ndarray]:
        places = [self.root / scene / "overlaps.npz"]
        if self.release is not None:
            places += [self.release / "train" / scene / "overlaps.npz", self.release / scene / "overlaps.npz"]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise InputError(
                f"{places[0]} does not exist: the pairs of a training scene are listed there",
                hint="copy it from the release, or give that: mast3r data pairs NianticMapFree --raw DIR",
            )
        stored = load_npz(path, ("idxs", "overlaps"))
        rows, overlap = stored["idxs"], stored["overlaps"]
        if rows.shape != (len(overlap), 4) or rows.dtype.kind not in "iu" or overlap.ndim != 1:
            raise InputError(
                f"{path}: expected idxs (M, 4) of whole numbers and overlaps (M,), got {rows.shape}"
            )
        return rows, overlap


class NianticMapFree(PosedPairs):
    """Pairs of frames of the two walks to a place; metric; there is sky where masks are.

    Files: ``s00000/dense{0,1}/rgb/frame_00000.jpg``, ``depth/frame_00000.npy`` (z, metres; beyond 400
    unknown), ``cam/frame_00000.npz`` (``intrinsic``, ``pose`` cam2world), ``sky_mask/frame_00000.jpg`` (127
    and more is sky), and ``mapfree_pairs.npz``.

    Args:
        split: ``'train'`` or ``'val'`` (reference and query).
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: another split.
        InputError: the folder has no pair file.
    """

    is_metric_scale = True
    default_folder = "mapfree_processed"
    folder_type = NianticMapFreeFolder
    pairs_file = "mapfree_pairs.npz"

    def __init__(self, *, split: str, **options: Any) -> None:
        if split not in ("train", "val"):
            raise ConfigError(f"NianticMapFree has split='train' and 'val', got {split!r}")
        super().__init__(split=split, **options)
        warn_without_masks(self, "sky_mask", NianticMapFreeFolder(self.root).sky_mask_file)

    def _keeps(self, scene: str) -> bool:
        return split_of(scene) == self.split
