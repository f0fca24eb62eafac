"""`WildRgbd`: RGB-D videos around objects in the wild (spec 41 section 8)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from .cameras import Camera, camera_of_npz
from .files import read_depth_png
from .object_sequences import FrameFiles, ObjectSequences

MILLIMETRES = np.float32(1000)


class WildRgbd(ObjectSequences):
    """Pairs of frames of WildRGB-D; see `ObjectSequences` for the options and the choice of pairs.

    The folder, as ``mast3r data prepare wildrgbd`` and upstream's script write it::

        selected_seqs_<train|test>.json                     {category: {"scenes/<scene>": [frame numbers]}}
        <category>/scenes/<scene>/rgb/00000.jpg
        <category>/scenes/<scene>/depth/00000.png           16 bits, millimetres
        <category>/scenes/<scene>/masks/00000.png
        <category>/scenes/<scene>/metadata/00000.npz        camera_intrinsics, camera_pose
    """

    is_metric_scale = True
    default_folder = "wildrgbd_processed"
    names = ("WildRgbd", "WildRGBD")
    dataset_name = "WildRGBD"

    def _files(self, folder: Path, frame: int) -> FrameFiles:
        stem = f"{frame:05d}"
        return FrameFiles(
            image=folder / "rgb" / f"{stem}.jpg",
            depth=folder / "depth" / f"{stem}.png",
            mask=folder / "masks" / f"{stem}.png",
            camera=folder / "metadata" / f"{stem}.npz",
        )

    def _read_depth(self, files: FrameFiles) -> tuple[Float[np.ndarray, "h w"], Camera]:
        camera = camera_of_npz(files.camera, "camera_intrinsics", "camera_pose")
        return read_depth_png(files.depth) / MILLIMETRES, camera
