"""`Co3d`: videos around everyday objects (spec 41 section 5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_train.errors import SampleError

from .cameras import Camera, checked_camera
from .files import read_depth_png, read_npz
from .object_sequences import FrameFiles, ObjectSequences


class Co3d(ObjectSequences):
    """Pairs of frames of CO3Dv2; see `ObjectSequences` for the options and the choice of pairs.

    The folder, as ``mast3r data prepare co3d`` and upstream's script write it::

        selected_seqs_<train|test>.json                     {category: {sequence: [frame numbers]}}
        <category>/<sequence>/images/frame000001.jpg
        <category>/<sequence>/images/frame000001.npz        camera_intrinsics, camera_pose, maximum_depth
        <category>/<sequence>/depths/frame000001.jpg.geometric.png    16 bits, 65535 is the maximum depth
        <category>/<sequence>/masks/frame000001.png
    """

    is_metric_scale = False
    default_folder = "co3d_processed"
    names = ("Co3d",)
    dataset_name = "Co3d_v2"

    def _files(self, folder: Path, frame: int) -> FrameFiles:
        stem = f"frame{frame:06d}"
        return FrameFiles(
            image=folder / "images" / f"{stem}.jpg",
            depth=folder / "depths" / f"{stem}.jpg.geometric.png",
            mask=folder / "masks" / f"{stem}.png",
            camera=folder / "images" / f"{stem}.npz",
        )

    def _read_depth(self, files: FrameFiles) -> tuple[Float[np.ndarray, "h w"], Camera]:
        stored = read_npz(files.camera, ("camera_pose", "camera_intrinsics", "maximum_depth"))
        camera = checked_camera(files.camera, stored, "camera_intrinsics", "camera_pose")
        if stored["maximum_depth"].size != 1 or stored["maximum_depth"].dtype.kind not in "fiu":
            raise SampleError(f"{files.camera}: maximum_depth is no number")
        largest = np.nan_to_num(np.float32(stored["maximum_depth"].item()))
        return read_depth_png(files.depth) / np.float32(65535) * largest, camera
