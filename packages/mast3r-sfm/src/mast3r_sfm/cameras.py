"""Cameras with known intrinsics and poses, and where to read them from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError


@dataclass(frozen=True, eq=False)
class PosedCameras:
    """Pinhole cameras of named images.

    Attributes:
        names: relative paths with forward slashes, each once.
        shapes: (height, width) of every image.
        intrinsics: (n, 3, 3) float64 in pixels of the images, an integer at a pixel's centre; NaN where they
            are not known.
        cam2world: (n, 4, 4) float64, axes x right, y down, z forward.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    intrinsics: Float[np.ndarray, "n 3 3"]
    cam2world: Float[np.ndarray, "n 4 4"]

    def __post_init__(self) -> None:
        """Check that all have the same length.

        Raises:
            InputError: they do not, or a name comes twice.
        """
        count = len(self.names)
        if len(self.shapes) != count or self.intrinsics.shape != (count, 3, 3):
            raise InputError(f"{count} names, {len(self.shapes)} shapes, intrinsics {self.intrinsics.shape}")
        if self.cam2world.shape != (count, 4, 4):
            raise InputError(f"expected poses ({count}, 4, 4), got {self.cam2world.shape}")
        if len(set(self.names)) != count:
            raise InputError("an image is named twice among known cameras")

    def __len__(self) -> int:
        """Number of cameras."""
        return len(self.names)

    def subset(self, indices: Iterable[int]) -> PosedCameras:
        """The cameras of these indices, in this order."""
        chosen = [int(index) for index in indices]
        return PosedCameras(
            tuple(self.names[index] for index in chosen),
            tuple(self.shapes[index] for index in chosen),
            self.intrinsics[chosen].reshape(-1, 3, 3),
            self.cam2world[chosen].reshape(-1, 4, 4),
        )

    def find(self, names: Iterable[str]) -> tuple[int | None, ...]:
        """The index of each name, None where there is none.

        A name is looked up as it is, then by the last parts of its path, then without its suffix, as long as
        only one camera fits: reconstructions and ground truth often name their folders differently.
        """
        tables = [(shorten, self._unique(shorten)) for shorten in _SHORTER_NAMES]

        def look_up(name: str) -> int | None:
            for shorten, table in tables:
                if shorten(name) in table:
                    return table[shorten(name)]
            return None

        return tuple(look_up(name) for name in names)

    def _unique(self, shorten: Callable[[str], str]) -> dict[str, int]:
        """Index of every shortened name that only one camera has."""
        keys = [shorten(name) for name in self.names]
        counts = Counter(keys)
        return {key: index for index, key in enumerate(keys) if counts[key] == 1}


def _whole(name: str) -> str:
    return name.removeprefix("./")


def _without_folder(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _stem(name: str) -> str:
    return _without_folder(name).rsplit(".", 1)[0]


_SHORTER_NAMES: tuple[Callable[[str], str], ...] = (_whole, _without_folder, _stem)


def read_cameras(path: str | Path) -> PosedCameras:
    """Read cameras from whatever knows them.

    Args:
        path: a ``transforms.json`` (nerfstudio, instant-ngp, Blender), a COLMAP model (a folder with cameras
            and images, binary or text), or a folder that holds one of them: one written by `Scene.save`, or
            with ``sparse/0``, ``sparse`` or ``transforms.json`` in it; or a dataset's folder of poses, see
            `mast3r_sfm.pose_files`.

    Returns:
        The images that have a pose, by name. Lens distortion is left out, with a warning.

    Raises:
        InputError: nothing of the kind is there, or it cannot be read.
    """
    from .colmap.models import is_colmap_model, read_colmap_cameras
    from .exports.nerfstudio import read_transforms
    from .pose_files import read_pose_files
    from .scene_storage import STATE_FILE, load_scene

    path = Path(path)
    if path.is_file():
        if path.suffix.lower() == ".json":
            return read_transforms(path)
        raise InputError(f"{path} is no transforms.json", "give that, or the folder of a COLMAP model")
    if not path.is_dir():
        raise InputError(f"no such file or folder: {path}", "check the path")
    if (path / STATE_FILE).is_file():
        return load_scene(path).components()[0].cameras()
    for folder in (path, path / "sparse" / "0", path / "sparse", path / "0"):
        if is_colmap_model(folder):
            return read_colmap_cameras(folder)
    if (path / "transforms.json").is_file():
        return read_transforms(path / "transforms.json")
    found = read_pose_files(path)
    if found is not None:
        return found
    raise InputError(
        f"{path} holds no cameras",
        "expected a COLMAP model (cameras.bin or cameras.txt; also in sparse/0), transforms.json, or a "
        "dataset's poses (*.pose.txt, pose/*.txt, groundtruth.txt with rgb.txt)",
    )
