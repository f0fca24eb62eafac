"""Maps that are scenes saved by ``mast3r sfm``.

Read from the documented file, ``scene.safetensors``: per image its depth, confidence, intrinsics, pose and
the transform between the upright photo and the depth map, and the rest as JSON in the file's metadata.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from mast3r_model import ImageTransform, InputError
from mast3r_visloc.cameras import Camera

from .contents import DensePoints, LocalizationMap, MapImage
from .depth_lifting import lift_depth
from .photo_files import find_photo_files, photo_folders
from .turning import in_file_pixels

log = logging.getLogger("mast3r.visloc")

STATE_FILE = "scene.safetensors"
SCHEMA = "mast3r.scene/1"


@dataclass(frozen=True, eq=False)
class _SceneImage:
    """An image of a scene, without its maps; pixels are the upright photo's."""

    number: int
    name: str
    component: int
    camera: Camera
    cam2world: Float[np.ndarray, "4 4"]
    transform: ImageTransform


def read_scene_map(folder: Path, images: Path | None = None) -> LocalizationMap:
    """Read a scene that ``mast3r sfm`` saved.

    Depth maps are read when they are asked for. Photos are turned to the pixels of their files. Of a scene
    whose photos fell into groups that do not relate to each other, the largest group is the map.

    Args:
        folder: holds ``scene.safetensors``.
        images: folder of the photos; None: the one that the scene names, else beside it.

    Raises:
        InputError: no scene, a broken or newer one, or photos that are not its own.
    """
    path = folder / STATE_FILE
    about = _read_about(path)
    try:
        found = _read_images(path, about)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, IndexError, InputError) as error:
        raise InputError(f"{path} is broken: {_first_line(error)}", "save the scene again") from None
    used = [image for image in found if image.component == 0]
    if len(used) < len(found):
        log.warning(
            "%d of the scene's %d photos do not relate to its largest group and are left out",
            len(found) - len(used),
            len(found),
        )
    if not used:
        raise InputError(f"{path} holds no placed photo", "reconstruct the photos again")
    folders = photo_folders(images, [*scene_photo_folders(folder), folder])
    files = find_photo_files([image.name for image in used], folders, folder)
    return LocalizationMap(
        tuple(
            in_file_pixels(
                MapImage(
                    image.name,
                    files[image.name].path,
                    image.camera,
                    image.cam2world,
                    partial(_load_points, path, image),
                ),
                files[image.name],
                upright=True,
            )
            for image in used
            if image.name in files
        ),
        folder,
        "mast3r scene",
    )


def is_scene(folder: Path) -> bool:
    """Whether a folder holds a scene."""
    return (folder / STATE_FILE).is_file()


def scene_photo_folders(folder: Path) -> list[Path]:
    """The folder of photos that the scene in a folder names; none if there is no scene, or it names none."""
    if not is_scene(folder):
        return []
    named = _read_about(folder / STATE_FILE).get("image_folder")
    if not isinstance(named, str) or not named:
        return []
    return [Path(os.path.normpath(folder.absolute() / named))]


def _read_about(path: Path) -> Mapping[str, Any]:
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["about"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is broken, or no scene: {_first_line(error)}", "expected a scene saved by `mast3r sfm`"
        ) from None
    schema = about.get("schema") if isinstance(about, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path} says {schema!r}, expected {SCHEMA!r}", "update mast3r-visloc, or map again")
    return dict(about)


def _read_images(path: Path, about: Mapping[str, Any]) -> list[_SceneImage]:
    with safe_open(path, framework="numpy") as file:
        return [_scene_image(number, entry, file.get_tensor) for number, entry in enumerate(about["images"])]


def _scene_image(number: int, entry: Mapping[str, Any], read: Any) -> _SceneImage:
    def matrix(name: str, size: int) -> np.ndarray:
        array = np.asarray(read(f"images.{number}.{name}"), dtype=np.float64)
        if array.shape != (size, size) or not np.isfinite(array).all():
            raise ValueError(f"{name} of image {number} is no finite {size}x{size} matrix")
        return array

    height, width = entry["original_shape"]
    original, network = entry["transform_shapes"]
    return _SceneImage(
        number,
        str(entry["name"]),
        int(entry["component"]),
        Camera.from_intrinsics(matrix("intrinsics", 3), (int(height), int(width))),
        matrix("cam2world", 4),
        ImageTransform(tuple(original), tuple(network), matrix("network_from_original", 3)),
    )


def _load_points(path: Path, image: _SceneImage) -> DensePoints:
    """Depth where its confidence is above 0, lifted.

    Raises:
        InputError: the file changed since it was opened.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            depth, confidence = (
                np.asarray(file.get_tensor(f"images.{image.number}.{name}"), dtype=np.float64)
                for name in ("depth", "confidence")
            )
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is broken: {_first_line(error)}", "save the scene again") from None
    if depth.shape != image.transform.network_shape or confidence.shape != depth.shape:
        raise InputError(f"{path} is broken: depth of image {image.number} has shape {depth.shape}")
    lifted = lift_depth(
        np.where(confidence > 0, depth, np.nan), image.camera, image.cam2world, image.transform
    )
    return dataclasses.replace(lifted, confidence=confidence)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
