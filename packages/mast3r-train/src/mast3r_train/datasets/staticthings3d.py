"""`StaticThings3D`: rendered objects that fly through the air, but stand still (spec 41 section 6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from mast3r_model import ConfigError, InputError
from mast3r_train.geometry.orientation import View
from mast3r_train.views import PairDataset

from .cameras import camera_of_npz
from .files import load_npy, missing_layout, read_exr, read_rgb

PAIR_FILE = "staticthings_pairs.npy"
"""The pair list, in the folder of the prepared files."""

BACKGROUND_FROM = 200.0
"""Depth beyond which a pixel shows the background, in the dataset's unit."""

CAMERAS = {b"l": "left", b"r": "right"}


class ThingsFrame(NamedTuple):
    """One frame: folder of its sequence (``TRAIN/B/0007``) and its stem there (``left/0006``)."""

    sequence: str
    stem: str


class StaticThings3D(PairDataset):
    """The published pairs of StaticThings3D. Not metric.

    The folder, as ``mast3r data prepare staticthings3d`` and upstream's script write it::

        staticthings_pairs.npy                       scene, seq, cam1, im1, cam2, im2
        TRAIN/<A|B|C>/<0007>/<left|right>/<0006>_clean.jpg _final.jpg .exr .npz    npz: intrinsics, cam2world

    Every view is drawn from the clean or the final rendering (with motion blur, for one).

    Args:
        mask_bg: depth is unknown beyond 200 units: True, False, or ``'rand'`` for half of the pairs.
        split: None, there is only one.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: a split, or another mask.
        InputError: the folder has no pair list, or a broken one.
    """

    is_metric_scale = False
    default_folder = "staticthings3d_processed"
    names = ("StaticThings3D",)

    def __init__(
        self, mask_bg: bool | Literal["rand"] = "rand", *, split: str | None = None, **options: Any
    ) -> None:
        super().__init__(split=split, **options)
        if split is not None:
            raise ConfigError(f"StaticThings3D has no splits, got {split!r}")
        if not (isinstance(mask_bg, bool) or mask_bg == "rand"):
            raise ConfigError(f"mask_bg is True, False or 'rand', got {mask_bg!r}")
        self.mask_bg = mask_bg
        path = self.root / PAIR_FILE
        if not path.is_file():
            raise missing_layout("StaticThings3D", self.root, PAIR_FILE)
        self.pairs = read_staticthings_pairs(path)
        self._require_pairs(path)

    def __len__(self) -> int:
        return len(self.pairs)

    def _get_views(self, index: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[View]:
        masked = bool(rng.choice(2)) if self.mask_bg == "rand" else bool(self.mask_bg)
        return [
            self._view(frame, masked, resolution, rng) for frame in frames_of_pair(self.pairs[index].item())
        ]

    def _view(
        self, frame: ThingsFrame, masked: bool, resolution: tuple[int, int], rng: np.random.Generator
    ) -> View:
        rendering = "clean" if rng.choice(2) == 1 else "final"
        stem = self.root / frame.sequence / frame.stem
        path = stem.with_name(f"{stem.name}_{rendering}.jpg")
        image = read_rgb(path)
        depth = read_exr(_beside(stem, ".exr"))
        if masked:
            depth = np.where(depth > BACKGROUND_FROM, np.float32(0), depth)
        camera = camera_of_npz(_beside(stem, ".npz"), "intrinsics", "cam2world")
        return self._view_of(
            image, depth, camera, resolution, rng,
            dataset="StaticThings3D", label=frame.sequence, instance=f"{stem.parent.name}_{path.name}",
            info=path,
        )  # fmt: skip


def read_staticthings_pairs(path: Path) -> np.ndarray:
    """The pair list, structured; its fields are known by position (spec 41 section 6).

    Raises:
        InputError: missing, broken, or no such list.
    """
    pairs = load_npy(path)
    names = pairs.dtype.names or ()
    expected = "scene (A, B, C), sequence, camera (l, r), frame, camera, frame"
    if pairs.ndim != 1 or len(names) != 6:
        raise InputError(f"{path} is no pair list of StaticThings3D: expected the fields {expected}")
    for name, known in ((names[0], (b"A", b"B", b"C")), (names[2], CAMERAS), (names[4], CAMERAS)):
        if strange := set(pairs[name].astype("S").tolist()) - set(known):
            raise InputError(
                f"{path}: expected the fields {expected}, got {sorted(strange)[0]!r} in {name!r}"
            )
    return pairs


def frames_of_pair(pair: tuple[Any, ...]) -> tuple[ThingsFrame, ThingsFrame]:
    """The two frames of an entry of the pair list."""
    scene, sequence, camera1, number1, camera2, number2 = pair
    folder = f"TRAIN/{_bytes(scene).decode()}/{int(sequence):04d}"
    return (
        ThingsFrame(folder, f"{CAMERAS[_bytes(camera1)]}/{int(number1):04d}"),
        ThingsFrame(folder, f"{CAMERAS[_bytes(camera2)]}/{int(number2):04d}"),
    )


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)
