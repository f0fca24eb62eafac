"""Maps that are COLMAP models: of COLMAP, GLOMAP, hloc, nerfstudio, or our own export (spec 50 D1)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pycolmap
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera

from .colmap_files import check_model_files, model_suffix
from .contents import LocalizationMap, MapImage, SparsePoints
from .photo_files import find_photo_files, photo_folders
from .scene_map import is_scene, scene_photo_folders
from .turning import in_file_pixels

log = logging.getLogger("mast3r.visloc")

PLACES = (
    ".",
    "sparse/0",
    "sparse",
    "colmap/sparse/0",
    "colmap/sparse",
    "colmap",
    "colmap/reconstruction",
    "reconstruction",
    "mapping/colmap/reconstruction",
    "model",
    "0",
)
"""Where in a folder a model may lie, likeliest first."""

CORNER_TO_CENTRE = 0.5
"""COLMAP's first pixel centre is 0.5, ours is 0."""


def find_colmap_model(folder: Path) -> Path | None:
    """The folder of the COLMAP model in a folder, or None.

    Of several models side by side (``sparse/0``, ``sparse/1``, ...) it is the first, with a warning.
    """
    model = next((folder / place for place in PLACES if model_suffix(folder / place) is not None), None)
    if model is not None and model.name == "0":
        others = [path.name for path in model.parent.iterdir() if path.name != "0" and model_suffix(path)]
        if others:
            log.warning(
                "%s holds %d models that are not connected; used is %s", model.parent, 1 + len(others), model
            )
    return model


def read_colmap_map(folder: Path, images: Path | None = None) -> LocalizationMap:
    """Read a COLMAP model, binary or text, with or without rigs.

    Points stay COLMAP's; those of an image are looked up when they are asked for. Pixels are those of the
    photos' files: COLMAP does not apply the EXIF orientation. A model of upright photos is recognised by its
    cameras' sizes, or by the scene of ``mast3r sfm`` that it lies in, and turned.

    Args:
        folder: holds the model, or a folder of `PLACES` that does.
        images: folder of the photos; None: beside the model.

    Returns:
        Registered images whose photos are there, sorted by name.

    Raises:
        InputError: no model, a broken one, or photos that are not its own.
    """
    model = find_colmap_model(folder)
    if model is None:
        raise InputError(
            f"{folder} holds no COLMAP model", "expected cameras, images and points3D, all .bin or all .txt"
        )
    reconstruction = open_colmap_model(model)
    registered = _registered_images(reconstruction, model)
    cameras = _cameras(reconstruction, {image.camera_id for image in registered}, model)
    scene = next((place for place in (model, *model.absolute().parents[:2]) if is_scene(place)), None)
    starts = [] if scene is None else scene_photo_folders(scene)
    folders = photo_folders(images, (*starts, folder, model))
    files = find_photo_files([image.name for image in registered], folders, model)
    return LocalizationMap(
        tuple(
            in_file_pixels(
                MapImage(
                    image.name,
                    files[image.name].path,
                    cameras[image.camera_id],
                    _cam2world(image),
                    partial(_observations, reconstruction, image.image_id) if image.num_points3D else None,
                ),
                files[image.name],
                upright=scene is not None,
            )
            for image in registered
            if image.name in files
        ),
        folder,
        "COLMAP model",
        model,
    )


def open_colmap_model(folder: Path) -> pycolmap.Reconstruction:
    """Open the COLMAP model that lies in a folder itself, binary or text.

    Raises:
        InputError: there is none, or it is broken.
    """
    suffix = model_suffix(folder)
    if suffix is None:
        raise InputError(
            f"{folder} holds no COLMAP model", "expected cameras, images and points3D, all .bin or all .txt"
        )
    check_model_files(folder, suffix)
    reconstruction = pycolmap.Reconstruction()
    with _quiet_colmap():
        try:
            if suffix == ".bin":
                reconstruction.read_binary(folder)
            else:
                reconstruction.read_text(folder)
            valid = reconstruction.is_valid()
        except Exception as error:  # what pycolmap raises for broken files has no common base
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"{folder} holds a broken COLMAP model: {reason}", "copy the model again"
            ) from error
    if not valid:
        raise InputError(
            f"{folder} holds a broken COLMAP model: its images and points3D do not fit each other",
            "copy all files of the model again",
        )
    return reconstruction


def _registered_images(reconstruction: pycolmap.Reconstruction, model: Path) -> list[pycolmap.Image]:
    """Sorted by name."""
    images = [reconstruction.images[image_id] for image_id in reconstruction.reg_image_ids()]
    if not images:
        raise InputError(f"{model} holds no registered image", "the model is empty: map the photos again")
    try:
        return sorted(images, key=lambda image: image.name)
    except UnicodeDecodeError:
        raise InputError(f"{model} names images in bytes that are no UTF-8", "rename them") from None


def _cameras(reconstruction: pycolmap.Reconstruction, used: set[int], model: Path) -> dict[int, Camera]:
    try:
        return {number: Camera.from_colmap(reconstruction.cameras[number]) for number in used}
    except InputError as error:
        raise InputError(f"{model}: {error.message}", error.hint) from None


@contextmanager
def _quiet_colmap() -> Iterator[None]:
    """COLMAP says on stderr what we say in an error."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.FATAL)
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before


def _cam2world(image: pycolmap.Image) -> Float[np.ndarray, "4 4"]:
    pose = np.eye(4)
    pose[:3] = image.cam_from_world().inverse().matrix()
    return pose


def _observations(reconstruction: pycolmap.Reconstruction, image_id: int) -> SparsePoints:
    observed = reconstruction.images[image_id].get_observation_points2D()
    point_ids = [point.point3D_id for point in observed]
    points3d = reconstruction.points3D
    xy = np.array([point.xy for point in observed], dtype=np.float64).reshape(-1, 2)
    xyz = np.array([points3d[number].xyz for number in point_ids], dtype=np.float64).reshape(-1, 3)
    known = np.isfinite(xyz).all(axis=1) & np.isfinite(xy).all(axis=1)
    return SparsePoints(xy[known] - CORNER_TO_CENTRE, xyz[known], np.array(point_ids, dtype=np.int64)[known])
