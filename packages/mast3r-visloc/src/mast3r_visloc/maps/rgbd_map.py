"""Maps that are a folder of posed photos with depth (class ``RgbdFolder``), as 7-Scenes has them.

Layout, in the folder itself or in folders below it::

    intrinsics.txt                      a 3x3 or 4x4 matrix in pixels (OpenCV's convention: an integer is a
                                        pixel's centre), or one line "MODEL width height params..." (COLMAP's)
    seq-01/frame-000000.color.png       photo: .png, .jpg or .jpeg
    seq-01/frame-000000.pose.txt        4x4 camera to world, axes x right, y down, z forward, metres
    seq-01/frame-000000.depth.png       camera z, registered to the photo: 16-bit millimetres, or .npy metres;
                                        0 and 65535 where nothing was measured. May be missing.

or the same files in folders of their kind, as exports of ScanNet have them::

    intrinsic/intrinsic_color.txt       (or intrinsics.txt)
    color/0.jpg    depth/0.png    pose/0.txt
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera
from mast3r_visloc.formats.lines import Line, content_lines, finite_numbers, whole_number

from .contents import DensePoints, LocalizationMap, MapImage
from .depth_files import read_depth_file
from .depth_lifting import lift_depth
from .photo_files import find_photo_files, photo_folders
from .turning import in_file_pixels

log = logging.getLogger("mast3r.visloc")

INTRINSICS = ("intrinsics.txt", "camera.txt", "intrinsic/intrinsic_color.txt")
_SUFFIX_PHOTO = re.compile(r"(.+)\.color\.(?:png|jpg|jpeg)", re.IGNORECASE)
_FOLDER_PHOTO = re.compile(r"(.*/)?(?:color|rgb)/([^/]+)\.(?:png|jpg|jpeg)", re.IGNORECASE)
_DEPTH_SUFFIXES = (".png", ".npy", ".tiff", ".tif")


def is_rgbd_folder(folder: Path) -> bool:
    """Whether a folder has intrinsics and a photo with a pose."""
    has_intrinsics = any((folder / name).is_file() for name in INTRINSICS)
    return has_intrinsics and next(_posed_photos(folder), None) is not None


def read_rgbd_map(folder: Path, images: Path | None = None) -> LocalizationMap:
    """Read a folder of photos with poses, depth maps and one camera; its layout is in this file's docstring.

    Args:
        folder: the folder.
        images: where the photos are, under the same names; None: in the folder.

    Returns:
        Photos with a pose, sorted by name; a pose that is not finite (ScanNet's, where tracking was lost)
        counts as none.

    Raises:
        InputError: no intrinsics or poses, or a file that cannot be read.
    """
    posed = sorted(_posed_photos(folder))
    if not posed:
        raise InputError(f"{folder} holds no photo with a pose", "expected NAME.color.png and NAME.pose.txt")
    poses = {name: read_pose(pose) for name, pose in posed}
    lost = [name for name, pose in poses.items() if pose is None]
    if lost:
        log.warning("%s: %d photos have no finite pose and are left out: %s", folder, len(lost), lost[:3])
    names = [name for name, pose in poses.items() if pose is not None]
    if not names:
        raise InputError(f"{folder}: no photo has a finite pose")
    files = find_photo_files(names, photo_folders(images, [folder]), folder)
    shape = next(iter(files.values())).shape
    camera = read_intrinsics(folder, shape)
    found = []
    for name in names:
        pose = poses[name]
        if name in files and pose is not None:
            depth = _depth_beside(folder, name)
            load = None if depth is None else partial(_load_points, depth, camera, pose)
            image = MapImage(name, files[name].path, camera, pose, load)
            found.append(in_file_pixels(image, files[name], upright=False))
    return LocalizationMap(tuple(found), folder, "RGB-D folder")


def _posed_photos(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name of the photo, its pose file), in no order."""
    for parent, _, files in os.walk(folder, followlinks=False):
        for file in files:
            name = (Path(parent) / file).relative_to(folder).as_posix()
            for pose in _siblings(name, "pose"):
                if (folder / f"{pose}.txt").is_file():
                    yield name, folder / f"{pose}.txt"
                    break


def _siblings(name: str, kind: str) -> Iterator[str]:
    """What the file of another kind may be called that belongs to a photo, without its suffix."""
    if match := _SUFFIX_PHOTO.fullmatch(name):
        yield f"{match[1]}.{kind}"
    elif match := _FOLDER_PHOTO.fullmatch(name):
        yield f"{match[1] or ''}{kind}/{match[2]}"
        yield f"{match[1] or ''}{kind}s/{match[2]}"


def _depth_beside(folder: Path, name: str) -> Path | None:
    candidates = (
        folder / f"{depth}{suffix}" for depth in _siblings(name, "depth") for suffix in _DEPTH_SUFFIXES
    )
    return next((path for path in candidates if path.is_file()), None)


def read_pose(path: Path) -> Float[np.ndarray, "4 4"] | None:
    """Read a 4x4 camera-to-world matrix; None if it is not finite.

    Raises:
        InputError: it is no such matrix.
    """
    rows = [line.text.split() for line in content_lines(path)]
    try:
        pose = np.array([[float(field) for field in row] for row in rows])
    except ValueError as error:
        raise InputError(f"{path}: {error}", "expected four lines of four numbers") from None
    if pose.shape != (4, 4):
        raise InputError(f"{path} holds no 4x4 matrix", "expected four lines of four numbers")
    if not np.isfinite(pose).all():
        return None
    if not np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-2):
        raise InputError(f"{path} is no pose: its 3x3 part is no rotation", "expected camera to world")
    return pose


def read_intrinsics(folder: Path, shape: tuple[int, int]) -> Camera:
    """Read the camera of an RGB-D folder.

    Args:
        folder: the folder; the file is one of `INTRINSICS`.
        shape: (height, width) of the photos, for files that hold a matrix.

    Raises:
        InputError: there is none, or it is no camera.
    """
    path = next((folder / name for name in INTRINSICS if (folder / name).is_file()), None)
    if path is None:
        raise InputError(
            f"{folder} has no intrinsics", f"expected one of {', '.join(INTRINSICS)} with a 3x3 matrix"
        )
    lines = list(content_lines(path))
    if len(lines) == 1 and lines[0].text.split()[0].isupper():
        return _camera_line(lines[0])
    matrix = [finite_numbers(line.text.split(), line.place) for line in lines]
    if [len(row) for row in matrix] not in ([3] * 3, [4] * 4, [4] * 3):
        raise InputError(f"{path} holds no 3x3 matrix", "expected intrinsics in pixels")
    try:
        return Camera.from_intrinsics(np.array(matrix)[:3, :3], shape)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", error.hint) from None


def _camera_line(line: Line) -> Camera:
    fields = line.text.split()
    if len(fields) < 4:
        raise InputError(f"{line.place}: expected 'MODEL width height params...', got {line.text!r}")
    model, *size = fields[:3]
    width, height = (whole_number(field, "size", line.place) for field in size)
    try:
        return Camera(model, width, height, tuple(finite_numbers(fields[3:], line.place)))
    except InputError as error:
        raise InputError(f"{line.place}: {error.message}", error.hint) from None


def _load_points(path: Path, camera: Camera, cam2world: np.ndarray) -> DensePoints:
    return lift_depth(read_depth_file(path), camera, cam2world)
