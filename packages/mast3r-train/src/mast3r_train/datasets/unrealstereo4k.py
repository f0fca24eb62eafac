"""`UnrealStereo4K`: rendered stereo pairs (spec 41 section 11)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_model import ConfigError

from .cameras import Camera, camera_of_npz
from .files import read_depth_npy
from .posed_frames import Depth, PosedFolder, PosedPairs, marked_depth, stems

UNKNOWN_ABOVE = 10_000.0
"""Metres: farther is no depth."""

SKY_FROM = 1000.0
"""Metres."""

_REFLECTION = np.diag([1.0, -1.0, 1.0, 1.0])


def right_handed(cam2world: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The pose in a right-handed world: the release's world is left-handed, its cameras are not.

    All relative poses are the same whichever axis is reflected.
    """
    return _REFLECTION @ cam2world if np.linalg.det(cam2world[:3, :3]) < 0 else cam2world


class UnrealStereo4KFolder(PosedFolder):
    """``<scene>/<0|1>/<00000>{_rgb.png,_depth.npy,.npz}``; a frame is called ``0/00000``."""

    is_rig = True

    def scenes(self) -> list[str]:
        found = {
            path.parent for camera in "01" for path in self.root.glob(f"[!.]*/{camera}") if path.is_dir()
        }
        return sorted(path.name for path in found)

    def frames(self, scene: str) -> list[str]:
        return [
            name for camera in "01" for name in stems(self.root / scene / camera, ".npz", before=f"{camera}/")
        ]

    def files(self, scene: str, frame: str) -> tuple[Path, Path, Path]:
        folder = self.root / scene
        return folder / f"{frame}_rgb.png", folder / f"{frame}_depth.npy", folder / f"{frame}.npz"

    def depth(self, scene: str, frame: str) -> Depth:
        depth = read_depth_npy(self.files(scene, frame)[1])
        return marked_depth(depth, sky_from=SKY_FROM, unknown_above=UNKNOWN_ABOVE)

    def camera(self, scene: str, frame: str) -> Camera:
        intrinsics, cam2world = camera_of_npz(self.files(scene, frame)[2], "intrinsics", "cam2world")
        return intrinsics, right_handed(cam2world)


class UnrealStereo4K(PosedPairs):
    """Pairs of the two cameras of a rig and of neighbouring frames; metric; there is sky.

    Files: ``<scene>/<0|1>/<00000>_rgb.png``, ``_depth.npy`` (z, metres; 1000 and more is sky), ``.npz``
    (``intrinsics``, ``cam2world``; a left-handed world is reflected), and ``unrealstereo4k_pairs.npz``.

    Args:
        split: None.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: a split is given.
        InputError: the folder has no pair file.
    """

    is_metric_scale = True
    default_folder = "unrealstereo4k_processed"
    folder_type = UnrealStereo4KFolder
    pairs_file = "unrealstereo4k_pairs.npz"

    def __init__(self, *, split: str | None = None, **options: Any) -> None:
        if split is not None:
            raise ConfigError(f"UnrealStereo4K has no splits, got {split!r}")
        super().__init__(split=split, **options)
