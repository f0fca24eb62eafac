"""Depth of DL3DV's frames from a dense reconstruction of COLMAP (spec 41 section 14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_train.datasets.colmap_depth import read_colmap_map

from .colmap_depth import import_pycolmap
from .pose_alignment import align_poses

MOST_SPREAD = 0.1
"""Relative deviation of distances between cameras up to which two sets of poses are the same video."""

MOST_DEGREES = 5.0


@dataclass(frozen=True, eq=False)
class FrameDepth:
    """The depth map of a frame.

    Attributes:
        path: the file.
        intrinsics: of the undistorted image that it belongs to, pixel centres at integers.
        factor: from its unit to that of the release's poses.
    """

    path: Path
    intrinsics: Float[np.ndarray, "3 3"]
    factor: float

    def seen_by(
        self, K: Float[np.ndarray, "3 3"], size_wh: tuple[int, int]
    ) -> Float[np.ndarray, "height width"]:
        """Depth as another pinhole in the same place sees it; nearest neighbours, 0 where unknown.

        Raises:
            SampleError: the map is missing or broken.
        """
        stored = read_colmap_map(self.path)
        to_stored = self.intrinsics @ np.linalg.inv(K)
        columns = np.rint(to_stored[0, 0] * np.arange(size_wh[0]) + to_stored[0, 2]).astype(np.int64)
        rows = np.rint(to_stored[1, 1] * np.arange(size_wh[1]) + to_stored[1, 2]).astype(np.int64)
        height, width = stored.shape
        inside = ((rows >= 0) & (rows < height))[:, None] & (columns >= 0) & (columns < width)
        seen = stored[np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)]
        return np.where(inside, seen, 0).astype(np.float32) * np.float32(self.factor)


def find_depth(root: Path, scene: str, poses: Mapping[str, np.ndarray]) -> Mapping[str, FrameDepth]:
    """The depth maps in a dense reconstruction of a scene: ``<root>/<scene>/{sparse,stereo/depth_maps}``.

    Its world may differ from the release's by a similarity; depth is brought to the release's scale.

    Args:
        root: folder of all reconstructions.
        scene: ``<subset>/<hash>``.
        poses: cam2world of the release, by name (``frame_00001``).

    Returns:
        By name; COLMAP leaves out frames that have nothing in common with others.

    Raises:
        InputError: it is missing or broken, or its cameras are not those of the release.
    """
    folder = root / scene
    if not (folder / "sparse").is_dir() or not (folder / "stereo" / "depth_maps").is_dir():
        raise InputError(f"{folder} has no sparse and stereo/depth_maps of a dense reconstruction by COLMAP")
    pycolmap = import_pycolmap("--depth")
    try:
        images = list(pycolmap.Reconstruction(folder / "sparse").images.values())
    except Exception as error:  # the library raises plain exceptions of several kinds
        raise InputError(f"{folder / 'sparse'} is no model of COLMAP: {error}") from error
    maps, intrinsics, stored = {}, {}, {}
    for image in images:
        name = Path(image.name).stem
        file = folder / "stereo" / "depth_maps" / f"{image.name}.geometric.bin"
        if name not in poses or not file.is_file():
            continue
        if image.camera.model.name not in ("PINHOLE", "SIMPLE_PINHOLE"):
            raise InputError(
                f"{folder / 'sparse'} is not undistorted: {image.name} has {image.camera.model.name}"
            )
        K = np.array(image.camera.calibration_matrix())
        K[:2, 2] -= 0.5
        maps[name], intrinsics[name] = file, K
        stored[name] = np.vstack([image.cam_from_world().inverse().matrix(), [0, 0, 0, 1]])
    if len(maps) < 2:
        raise InputError(
            f"{folder / 'stereo/depth_maps'} has depth maps of {len(maps)} frames of the release"
        )
    factor = _factor(folder, stored, poses)
    return {name: FrameDepth(path, intrinsics[name], factor) for name, path in maps.items()}


def _factor(folder: Path, stored: Mapping[str, np.ndarray], poses: Mapping[str, np.ndarray]) -> float:
    try:
        alignment = align_poses(np.stack(list(stored.values())), np.stack([poses[name] for name in stored]))
    except ValueError as error:
        raise InputError(f"{folder}: {error}") from error
    if alignment.spread > MOST_SPREAD or alignment.degrees > MOST_DEGREES:
        raise InputError(
            f"{folder}: its cameras are not those of transforms.json: distances between them differ by "
            f"{alignment.spread:.0%} from one factor, directions by {alignment.degrees:.1f} degrees"
        )
    return alignment.factor
