"""A map in 3D, and in it the photo that was localised (spec 60 D1)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pycolmap
from PIL import Image

from mast3r_model import ImageTransform, InputError, read_rgb
from mast3r_sfm import PointCloud, Scene, SceneImage, Tracks

from .scene_glb import write_scene_glb
from .shown import ViewSettings

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from mast3r_demo.limits import Limits
    from mast3r_demo.localizing import LocalizedPhoto

SIDE = 512
"""Longest side of the maps of a map's photos."""
STATE_FILE = "scene.safetensors"
USUAL_FOCAL = 1.2
"""Through the photo's longer side, where the localizer does not say."""


def map_scene(map_path: Path) -> Scene:
    """What is known of a map, as a scene.

    Args:
        map_path: a folder with a saved scene, or a COLMAP model in it, in ``sparse`` or in ``sparse/0``.

    Returns:
        The saved scene; of a COLMAP model its cameras and points, each point as a pixel of one photo.

    Raises:
        InputError: there is neither.
    """
    if (map_path / STATE_FILE).is_file():
        return Scene.load(map_path)
    for folder in (map_path / "sparse" / "0", map_path / "sparse", map_path):
        if any((folder / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt")):
            try:
                return colmap_scene(pycolmap.Reconstruction(folder))
            except (ValueError, RuntimeError) as error:
                raise InputError(f"the COLMAP model cannot be read: {str(error).splitlines()[0]}") from error
    raise InputError(
        "the zip holds neither a scene nor a COLMAP model", "put sparse/0 into it, or cameras.bin"
    )


def write_localized_glb(map_path: Path, found: LocalizedPhoto, path: Path, limits: Limits) -> None:
    """Write a map and the localised photo's camera, which is the last one, as a GLB for the page.

    Args:
        map_path: see `map_scene`.
        found: without a pose, the map is shown alone.
        path: to be written, or replaced.
        limits: ``max_glb_bytes``.

    Raises:
        InputError: there is no map, or it is too large.
        OutputError: the file cannot be written.
    """
    scene = map_scene(map_path)
    dense = (map_path / STATE_FILE).is_file()
    view = ViewSettings(clean_depth=False, percentile=20.0 if dense else 0.0, photos_in_cameras=dense)
    write_scene_glb(with_localized(scene, found), view, path, limits)


def colmap_scene(model: pycolmap.Reconstruction) -> Scene:
    """Cameras and points of a COLMAP model, without photos."""
    drawn: set[int] = set()
    images = tuple(
        _colmap_image(model, image, drawn)
        for image in sorted(model.images.values(), key=lambda image: image.name)
        if image.has_pose
    )
    if not images:
        raise InputError("the COLMAP model has no image with a pose")
    return Scene(images, PointCloud.empty(), Tracks.empty(), report={"min_confidence": 0.5})


def with_localized(scene: Scene, found: LocalizedPhoto) -> Scene:
    """A scene with the camera of a localised photo in it; without a pose, the scene as it is."""
    if found.cam2world is None:
        return scene
    picture = Image.fromarray(read_rgb(found.photo))
    original = (picture.height, picture.width)
    picture.thumbnail((SIDE, SIDE))
    K = found.intrinsics
    if K is None:
        focal = USUAL_FOCAL * max(original)
        K = np.array([[focal, 0, (original[1] - 1) / 2], [0, focal, (original[0] - 1) / 2], [0, 0, 1]])
    image = _camera(f"localised/{found.photo.name}", original, K, found.cam2world, np.array(picture))
    return replace(scene, images=(*scene.images, image))


def _colmap_image(model: pycolmap.Reconstruction, image: pycolmap.Image, drawn: set[int]) -> SceneImage:
    camera = model.cameras[image.camera_id]
    K = np.array(camera.calibration_matrix(), np.float64)
    K[:2, 2] -= 0.5  # COLMAP has the first pixel's centre at 0.5
    cam_from_world = image.cam_from_world().matrix()
    pose = np.linalg.inv(np.vstack([cam_from_world, [0, 0, 0, 1]]))
    original = (camera.height, camera.width)
    share = min(1.0, SIDE / max(original))
    shape = (max(1, round(original[0] * share)), max(1, round(original[1] * share)))
    placed = _camera(image.name, original, K, pose, np.zeros((*shape, 3), np.uint8))
    depth, color = placed.depth.copy(), placed.color.copy()
    for observed in image.points2D:
        if not observed.has_point3D() or observed.point3D_id in drawn:
            continue
        point = model.points3D[observed.point3D_id]
        x, y, z = cam_from_world @ np.append(point.xyz, 1)
        column, row, _ = placed.network_intrinsics @ [x / z, y / z, 1] if z > 0 else (-1.0, -1.0, 1)
        column, row = round(float(column)), round(float(row))
        if 0 <= row < shape[0] and 0 <= column < shape[1] and depth[row, column] == 0:
            depth[row, column], color[row, column] = z, point.color
            drawn.add(observed.point3D_id)
    return replace(placed, depth=depth, color=color, confidence=(depth > 0).astype(np.float32))


def _camera(
    name: str,
    original: tuple[int, int],
    K: Float[np.ndarray, "3 3"],
    pose: Float[np.ndarray, "4 4"],
    color: UInt8[np.ndarray, "h w 3"],
) -> SceneImage:
    """A camera without depth."""
    shape = (color.shape[0], color.shape[1])
    factor = np.array([shape[1] / original[1], shape[0] / original[0]])
    matrix = np.diag([*factor, 1.0])
    matrix[:2, 2] = (factor - 1) / 2
    none = np.zeros(shape, np.float32)
    return SceneImage(name, original, ImageTransform(original, shape, matrix), K, pose, none, none, color)
