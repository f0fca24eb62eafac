"""nerfstudio's ``transforms.json``, both ways."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_sfm.cameras import PosedCameras
from mast3r_sfm.colmap.convention import pixels_to_colmap

from .files import component_files
from .ply import POINTS_FILE, write_point_cloud

if TYPE_CHECKING:
    from mast3r_sfm.scene import Scene, SceneImage

log = logging.getLogger(__name__)

OPENGL_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
"""nerfstudio's cameras look along -z, y up; ours along +z, y down."""
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


def write_nerfstudio(scene: Scene, folder: Path) -> list[Path]:
    """Write ``transforms.json`` and the ``points.ply`` that it names (groups: ``transforms_1.json``, ...).

    Camera model OPENCV without distortion, intrinsics by frame in the photos' pixels (nerfstudio's half-pixel
    convention), poses as camera to world in OpenGL's axes. Files are named by their path from the folder to
    the photos, or by the images' names alone where the scene does not know where the photos are.
    """
    written = []
    for number, (component, path) in enumerate(component_files(scene, folder / "transforms.json")):
        points = folder / (POINTS_FILE if number == 0 else f"points_{number}.ply")
        document = {
            "camera_model": "OPENCV",
            "ply_file_path": points.name,
            "frames": [_frame(image, _photo_path(scene, image, folder)) for image in component.images],
        }
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")
        write_point_cloud(component.points, points)
        written += [path, points]
    return written


def _photo_path(scene: Scene, image: SceneImage, folder: Path) -> str:
    if not scene.image_folder:
        return image.name
    photos = scene.image_folder
    if os.path.isabs(photos):
        photos = os.path.relpath(photos, folder)
    return PurePath(os.path.normpath(os.path.join(photos, image.name))).as_posix()


def _frame(image: SceneImage, file_path: str) -> dict[str, object]:
    K = pixels_to_colmap(image.intrinsics)
    height, width = image.original_shape
    return {
        "file_path": file_path,
        "w": width,
        "h": height,
        "fl_x": K[0, 0],
        "fl_y": K[1, 1],
        "cx": K[0, 2],
        "cy": K[1, 2],
        **dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0),
        "transform_matrix": (image.cam2world @ OPENGL_AXES).tolist(),
    }


def read_transforms(path: Path) -> PosedCameras:
    """Read a ``transforms.json`` of nerfstudio, instant-ngp or Blender.

    Intrinsics may stand in every frame or once for all, as ``fl_x`` (``fl_y``, ``cx``, ``cy``) or as
    ``camera_angle_x``.

    Raises:
        InputError: it cannot be read, or a frame has no size, focal length or pose.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        frames = list(document["frames"])
        merged = [{**document, **frame} for frame in frames]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no transforms.json of nerfstudio ({error!r})") from error
    if any(float(frame.get(name, 0)) != 0 for frame in merged for name in DISTORTION):
        log.warning("%s has lens distortion, which is left out", path)
    names, shapes, intrinsics, poses = [], [], [], []
    for number, frame in enumerate(merged):
        try:
            names.append(PurePath(str(frame["file_path"])).as_posix())
            shapes.append((int(frame["h"]), int(frame["w"])))
            intrinsics.append(_intrinsics(frame))
            pose = np.array(frame["transform_matrix"], dtype=np.float64)
            poses.append(np.concatenate([pose[:3], [[0, 0, 0, 1.0]]]).reshape(4, 4) @ OPENGL_AXES)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path}: frame {number} lacks or garbles {error}") from error
    return PosedCameras(
        tuple(names),
        tuple(shapes),
        np.array(intrinsics).reshape(-1, 3, 3),
        np.array(poses).reshape(-1, 4, 4),
    )


def _intrinsics(frame: Mapping[str, Any]) -> Float[np.ndarray, "3 3"]:
    width, height = float(frame["w"]), float(frame["h"])
    if "fl_x" in frame:
        focal_x = float(frame["fl_x"])
    else:
        focal_x = width / 2 / np.tan(float(frame["camera_angle_x"]) / 2)
    focal_y = float(frame.get("fl_y", focal_x))
    centre = float(frame.get("cx", width / 2)), float(frame.get("cy", height / 2))
    K = np.array([[focal_x, 0, centre[0]], [0, focal_y, centre[1]], [0, 0, 1]])
    return pixels_to_colmap(K, inverse=True)
