"""Maps that are nerfstudio's (or instant-ngp's, or Blender's) ``transforms.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera
from mast3r_visloc.formats.lines import relative_name
from mast3r_visloc.reasons import reason

from .contents import DensePoints, LocalizationMap, MapImage
from .depth_files import MILLIMETRE, read_depth_file
from .depth_lifting import lift_depth
from .nerfstudio_camera import frame_camera
from .photo_files import PhotoFile, find_photo_files, photo_folders
from .scene_map import scene_photo_folders
from .turning import in_file_pixels

TRANSFORMS_FILE = "transforms.json"
OPENGL_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
"""nerfstudio's cameras look along -z with y up; ours along +z with y down."""

_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")
"""Blender's files name photos without a suffix."""
_ROTATION_TOLERANCE = 1e-3

Frame = Mapping[str, Any]


def read_nerfstudio_map(folder: Path, images: Path | None = None) -> LocalizationMap:
    """Read ``transforms.json``.

    The world is that of the file (what nerfstudio calls ``applied_transform`` stays applied). Intrinsics may
    stand in every frame or once for all; the principal point follows COLMAP's pixel convention. Depth files
    (``depth_file_path``) are camera z: whole numbers times the file's ``depth_unit_scale_factor`` (default
    1 mm), or floats in metres.

    Photos and depth files are named relative to the folder and may not leave it. Where ``transforms.json``
    names photos elsewhere, `images` says where they are, and the last parts of their names count.

    Args:
        folder: holds ``transforms.json``.
        images: folder of the photos; None: the folder itself.

    Raises:
        InputError: it cannot be read, a frame lacks something, or photos are not its own.
    """
    path = folder / TRANSFORMS_FILE
    document = _read_document(path)
    frames = [{**document, **frame} for frame in document["frames"]]
    # Our own export names photos by their path from here, which may lead out; the scene beside it says where.
    beside = scene_photo_folders(folder)
    chosen = images if images is not None else next((place for place in beside if place.is_dir()), None)
    names = [_photo_name(frame, number, path, chosen) for number, frame in enumerate(frames)]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two frames name one photo")
    files = find_photo_files(names, photo_folders(chosen, [folder]), path)
    found = []
    for number, (name, frame) in enumerate(zip(names, frames, strict=True)):
        if name in files:
            try:
                image = _map_image(folder, name, files[name], frame)
            except (KeyError, TypeError, ValueError, InputError) as error:
                reason = f"no {error}" if isinstance(error, KeyError) else str(error)
                raise InputError(f"{path}: frame {number} ({name}): {reason}", "export it again") from None
            found.append(in_file_pixels(image, files[name], upright=bool(beside)))
    return LocalizationMap(tuple(found), folder, "nerfstudio transforms")


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"cannot read {path}: {reason(error)}", "expected nerfstudio's transforms.json"
        ) from None
    frames = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f"{path} holds no list of frames", "expected nerfstudio's transforms.json")
    return dict(document)


def _photo_name(frame: Frame, number: int, path: Path, images: Path | None) -> str:
    """What a photo is called, below the folder of the photos."""
    given = frame.get("file_path")
    if not isinstance(given, str) or not given:
        raise InputError(f"{path}: frame {number} has no file_path")
    parts = PurePosixPath(given.replace("\\", "/")).parts
    if images is None:
        try:
            tails: Sequence[str] = [relative_name("/".join(parts), f"{path}, frame {number}")]
        except InputError as error:
            raise InputError(error.message, "name the photos' folder with --images DIR") from None
        base = path.parent
    else:
        climbs = [place for place, part in enumerate(parts) if part == ".." or part.startswith("/")]
        inside = parts[1 + max(climbs, default=-1) :]
        tails = ["/".join(inside[start:]) for start in range(len(inside))]
        base = images
    candidates = [tail + suffix for tail in tails for suffix in _SUFFIXES]
    there = next((name for name in candidates if (base / name).is_file()), None)
    if there is None and not tails:
        raise InputError(f"{path}: frame {number} names no file: {given!r}")
    return tails[0] if there is None else there


def _map_image(folder: Path, name: str, file: PhotoFile, frame: Frame) -> MapImage:
    camera = frame_camera(frame, file.shape)
    cam2world = _cam2world(frame)
    load = None
    depth = frame.get("depth_file_path")
    if depth is not None:
        depth_path = folder / relative_name(str(depth), "depth_file_path")
        unit = float(frame.get("depth_unit_scale_factor", MILLIMETRE))
        load = partial(_load_points, depth_path, unit, camera, cam2world)
    return MapImage(name, file.path, camera, cam2world, load)


def _cam2world(frame: Frame) -> Float[np.ndarray, "4 4"]:
    given = np.array(frame["transform_matrix"], dtype=np.float64)
    if given.shape not in ((3, 4), (4, 4)) or not np.isfinite(given).all():
        raise ValueError("transform_matrix is no finite 4x4 matrix")
    rotation = given[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=_ROTATION_TOLERANCE):
        raise ValueError("transform_matrix is no rotation and translation")
    pose = np.eye(4)
    pose[:3] = given[:3]
    return pose @ OPENGL_AXES


def _load_points(path: Path, unit: float, camera: Camera, cam2world: np.ndarray) -> DensePoints:
    return lift_depth(read_depth_file(path, unit), camera, cam2world)
