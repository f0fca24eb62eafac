"""`Waymo`: street scenes of five cameras, sparse depth of LiDAR points (spec 41 section 9)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from mast3r_model import ConfigError, InputError
from mast3r_train.geometry.orientation import View
from mast3r_train.views import PairDataset

from .cameras import camera_of_npz
from .files import check_indices, load_npz, missing_layout, read_exr, read_rgb

LOGGER = logging.getLogger("mast3r.train")

PAIRS_FILE = "waymo_pairs.npz"
SUFFIXES = (".jpg", ".exr", ".npz")
"""The files of a view."""


class Waymo(PairDataset):
    """Pairs of camera images of one drive; most pixels have no depth.

    The folder, as ``mast3r data prepare waymo`` and upstream's script write it::

        waymo_pairs.npz                                  scenes, frames, pairs (M, 3): scene, frame 1, frame 2
        <name of the tfrecord>/<frame %05d>_<camera>.jpg  .exr (z in metres, 0 unknown)  .npz

    Lens distortion is not removed, as upstream does not.

    Args:
        split: None, there are no splits.
        skip_unreadable: leave out pairs of which a file is missing, and say how many; else such a pair is an
            error that names the file.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: a split is given.
        InputError: the folder is not laid out like that, or no pair is left.
    """

    is_metric_scale = True
    default_folder = "waymo_processed"
    names = ("Waymo",)

    def __init__(self, *, split: str | None = None, skip_unreadable: bool = False, **options: Any) -> None:
        super().__init__(split=split, **options)
        if split is not None:
            raise ConfigError(f"Waymo has no splits, got split={split!r}")
        self.scenes, self.frames, self.pairs = load_waymo_pairs(self.root / PAIRS_FILE)
        self._require_pairs(self.root / PAIRS_FILE)
        if skip_unreadable:
            self._drop_pairs_without_files()

    def __len__(self) -> int:
        return len(self.pairs)

    def get_stats(self) -> str:
        return f"{len(self):_} pairs of {len(self.scenes):_} scenes"

    def _get_views(self, index: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[View]:
        scene, *frames = self.pairs[index].tolist()
        return [self._view(self.scenes[scene], self.frames[frame], resolution, rng) for frame in frames]

    def _view(self, scene: str, frame: str, resolution: tuple[int, int], rng: np.random.Generator) -> View:
        stem = self.root / scene / frame
        photo = read_rgb(stem.with_name(f"{frame}.jpg"))
        depth = read_exr(stem.with_name(f"{frame}.exr"))
        camera = camera_of_npz(stem.with_name(f"{frame}.npz"), "intrinsics", "cam2world")
        return self._view_of(
            photo, depth, camera, resolution, rng,
            dataset="Waymo", label=scene, instance=frame, info=f"{scene}/{frame}",
        )  # fmt: skip

    def _drop_pairs_without_files(self) -> None:
        used = np.unique(np.concatenate([self.pairs[:, [0, 1]], self.pairs[:, [0, 2]]]), axis=0)
        missing = {
            (scene, frame)
            for scene, frame in used.tolist()
            if not all(
                (self.root / self.scenes[scene] / f"{self.frames[frame]}{suffix}").is_file()
                for suffix in SUFFIXES
            )
        }
        if not missing:
            return
        is_whole = np.array(
            [
                (scene, one) not in missing and (scene, two) not in missing
                for scene, one, two in self.pairs.tolist()
            ]
        )
        LOGGER.warning(
            "Waymo: %s of %s pairs are left out, files of %s images are missing in %s",
            f"{(~is_whole).sum():,}",
            f"{len(is_whole):,}",
            f"{len(missing):,}",
            self.root,
        )
        self.pairs = self.pairs[is_whole]
        if not len(self.pairs):
            raise InputError(
                f"Waymo: {self.root} has the files of no pair", hint="prepare it: `mast3r data prepare waymo`"
            )


def load_waymo_pairs(path: Path) -> tuple[list[str], list[str], Int[np.ndarray, "M 3"]]:
    """Scenes, frames and pairs (scene, frame 1, frame 2) of ``waymo_pairs.npz``.

    Raises:
        InputError: it is missing or broken, or has indices out of range.
    """
    if not path.is_file():
        raise missing_layout("Waymo", path.parent, path.name)
    stored = load_npz(path, ("scenes", "frames", "pairs"))
    scenes, frames = [[str(name) for name in stored[key]] for key in ("scenes", "frames")]
    pairs = stored["pairs"]
    if pairs.ndim != 2 or pairs.shape[1] != 3:
        raise InputError(f"{path}: pairs has the shape {pairs.shape}, expected (number of pairs, 3)")
    pairs = pairs.astype(np.int64)
    check_indices(pairs[:, :1], len(scenes), f"{path}: scenes of pairs")
    check_indices(pairs[:, 1:], len(frames), f"{path}: frames of pairs")
    return scenes, frames, pairs
