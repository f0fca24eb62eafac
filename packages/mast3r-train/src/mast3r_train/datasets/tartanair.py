"""`TartanAir`: simulated flights (spec 41 section 10)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mast3r_model import ConfigError

from .cameras import Camera, camera_of_npz
from .files import read_depth_npy
from .posed_frames import Depth, PosedFolder, PosedPairs, marked_depth, stems

SKY_FROM = 1000.0
"""Metres."""


class TartanAirFolder(PosedFolder):
    """``<env>/<Easy|Hard>/<P000>/<000000>_{rgb.png,depth.npy,cam.npz}``."""

    def scenes(self) -> list[str]:
        found = (
            path for level in ("Easy", "Hard") for path in self.root.glob(f"*/{level}/P*") if path.is_dir()
        )
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def frames(self, scene: str) -> list[str]:
        return stems(self.root / scene, "_cam.npz")

    def files(self, scene: str, frame: str) -> tuple[Path, Path, Path]:
        folder = self.root / scene
        return folder / f"{frame}_rgb.png", folder / f"{frame}_depth.npy", folder / f"{frame}_cam.npz"

    def depth(self, scene: str, frame: str) -> Depth:
        return marked_depth(read_depth_npy(self.files(scene, frame)[1]), sky_from=SKY_FROM)

    def camera(self, scene: str, frame: str) -> Camera:
        return camera_of_npz(self.files(scene, frame)[2], "camera_intrinsics", "camera_pose")


class TartanAir(PosedPairs):
    """Pairs of frames of a flight; metric; there is sky.

    Files: ``<env>/<Easy|Hard>/<P000>/<000000>_rgb.png``, ``_depth.npy`` (z, metres; 1000 and more is sky),
    ``_cam.npz`` (``camera_pose`` cam2world, ``camera_intrinsics``), and ``tartanair_pairs.npz``.

    Args:
        pairs_subset: which pair file: ``''``: ``tartanair_pairs.npz``, ``'x'``: ``tartanair_pairs_x.npz``.
        split: None.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: a split is given.
        InputError: the folder has no such pair file.
    """

    is_metric_scale = True
    default_folder = "tartanair_processed"
    folder_type = TartanAirFolder
    pairs_file = "tartanair_pairs.npz"

    def __init__(self, *, pairs_subset: str = "", split: str | None = None, **options: Any) -> None:
        if split is not None:
            raise ConfigError(f"TartanAir has no splits, got {split!r}")
        if not isinstance(pairs_subset, str) or "/" in pairs_subset:
            raise ConfigError(f"pairs_subset is a part of a file's name, got {pairs_subset!r}")
        self.pairs_subset = pairs_subset
        super().__init__(split=split, **options)

    def _pairs_file(self) -> str:
        return f"tartanair_pairs_{self.pairs_subset}.npz" if self.pairs_subset else self.pairs_file
