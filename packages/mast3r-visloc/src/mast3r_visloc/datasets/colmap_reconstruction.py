"""COLMAP models as maps with sparse points (spec 50 A3.2, A3.4)."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pycolmap

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera
from mast3r_visloc.formats.lines import relative_name
from mast3r_visloc.maps import LocalizationMap, MapImage, SparsePoints, open_colmap_model

FILES = ("cameras", "images", "points3D")
_KEPT_IMAGES = 512
"""Points of so many images are kept: queries that follow one another share map images, and taking the points
out of COLMAP's objects costs milliseconds an image. A bound keeps the memory flat."""


def is_colmap_model(folder: Path) -> bool:
    """Whether a folder holds a COLMAP model, as text or binary."""
    return any(all((folder / f"{name}{suffix}").is_file() for name in FILES) for suffix in (".bin", ".txt"))


def check_colmap_model(folder: Path) -> Path:
    """The folder itself.

    Raises:
        InputError: it holds no COLMAP model; names the files.
    """
    if not is_colmap_model(folder):
        raise InputError(
            f"there is no COLMAP model in {folder}",
            "expected cameras, images and points3D there, each as .txt or each as .bin",
        )
    return folder


def colmap_map(folder: Path, photos: Path) -> LocalizationMap:
    """A COLMAP model as a map; its points are taken out of it image by image, when they are asked for.

    Args:
        folder: with cameras, images and points3D, as text or binary.
        photos: where the photos lie.

    Raises:
        InputError: the model cannot be read, or a photo's name leaves the folder.
    """
    model = open_colmap_model(folder)
    images = [model.images[number] for number in sorted(model.reg_image_ids())]
    cameras = {number: Camera.from_colmap(camera) for number, camera in model.cameras.items()}
    points_of = lru_cache(_KEPT_IMAGES)(partial(observed_points, model))
    return LocalizationMap(
        tuple(
            MapImage(
                image.name,
                photos / relative_name(image.name, str(folder)),
                cameras[image.camera_id],
                _cam2world(image),
                partial(points_of, image.image_id),
            )
            for image in images
        ),
        folder,
        "COLMAP model",
        colmap_model=folder,
    )


def observed_points(model: pycolmap.Reconstruction, image_id: int) -> SparsePoints:
    """The 3D points that an image observes, in the order of the observations.

    Returns:
        Pixels from COLMAP's convention to ours (an integer is a pixel's centre). A point that is observed
        twice counts once, at its last place.
    """
    image = model.images[image_id]
    place_of: dict[int, np.ndarray] = {}
    for observation in image.get_observation_points2D():
        place_of[observation.point3D_id] = observation.xy
    ids = list(place_of)
    xyz = [model.point3D(number).xyz for number in ids]
    return SparsePoints(
        xy=np.array(list(place_of.values()), dtype=np.float64).reshape(-1, 2) - 0.5,
        xyz=np.array(xyz, dtype=np.float64).reshape(-1, 3),
        point_ids=np.array(ids, dtype=np.int64),
    )


def _cam2world(image: pycolmap.Image) -> np.ndarray:
    pose = np.eye(4)
    pose[:3] = image.cam_from_world().inverse().matrix()
    return pose
