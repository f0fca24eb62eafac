"""The text files of the Map-free Relocalization release (spec 41 section 13)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from mast3r_model import InputError
from mast3r_train.datasets.files import load_text_lines

_FRAME = re.compile(r"seq([01])/(frame_\d{5})\.jpg")


@dataclass(frozen=True, eq=False)
class ReleasedFrame:
    """A frame whose pose is known.

    Attributes:
        path: of the photo, relative to the scene.
        size_wh: (width, height).
        intrinsics: as stored.
        cam2world: metres.
    """

    path: str
    size_wh: tuple[int, int]
    intrinsics: Float[np.ndarray, "3 3"]
    cam2world: Float[np.ndarray, "4 4"]


def read_release_scene(scene: Path) -> Mapping[str, ReleasedFrame]:
    """Frames of a scene with intrinsics and pose: ``dense0/frame_00000`` -> frame, by sequence and number.

    Args:
        scene: with ``intrinsics.txt`` and ``poses.txt``.

    Raises:
        InputError: a file is missing or broken; the message names the line.
    """
    cameras = dict(_rows(scene / "intrinsics.txt", 6, "fx fy cx cy W H"))
    frames = {}
    for path, row in _rows(scene / "poses.txt", 7, "qw qx qy qz tx ty tz"):
        found = _FRAME.fullmatch(path)
        if found is None or path not in cameras or not np.linalg.norm(row[:4]) > 0:
            raise InputError(
                f"{scene / 'poses.txt'}: {path} is no seq0/frame_00000.jpg with a pose, and with a line in "
                "intrinsics.txt"
            )
        world2cam = np.eye(4)
        world2cam[:3, :3] = Rotation.from_quat(row[[1, 2, 3, 0]]).as_matrix()
        world2cam[:3, 3] = row[4:]
        fx, fy, cx, cy, width, height = cameras[path]
        frames[f"dense{found[1]}/{found[2]}"] = ReleasedFrame(
            path,
            (int(width), int(height)),
            np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]),
            np.linalg.inv(world2cam),
        )
    return dict(sorted(frames.items()))


def _rows(path: Path, count: int, columns: str) -> Iterator[tuple[str, np.ndarray]]:
    for line in load_text_lines(path):
        if line.startswith("#"):
            continue
        name, *numbers = line.split()
        try:
            if len(numbers) != count:
                raise ValueError
            yield name, np.array(numbers, dtype=np.float64)
        except ValueError as error:
            raise InputError(f"{path}: {line!r} is not: path {columns}") from error
