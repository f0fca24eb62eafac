"""What can be looked at: a scene of ours, a COLMAP model, a transforms.json; beside these, their photos."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from mast3r_model import InputError, NothingFoundError
from mast3r_sfm.cameras import PosedCameras
from mast3r_sfm.scene import Scene, Tracks
from mast3r_sfm.scene_storage import STATE_FILE

from .content import (
    PhotoPoints,
    ViewedGroup,
    ViewedPhoto,
    ViewedScene,
    make_group,
    picture_side,
    viewed_scene,
)

log = logging.getLogger("mast3r.sfm.viewer")

TRANSFORMS = "transforms.json"
PHOTO_FOLDERS = ("", "images", "photos")
"""Beside a model or a file of cameras, and in the folders above it."""
SUFFIXES = ("", ".png", ".jpg", ".jpeg")
"""Blender's transforms.json leave them out."""


def read_viewed(path: Path) -> ViewedScene:
    """Read what is to be looked at.

    Args:
        path: a folder of ``mast3r sfm``, a COLMAP model or a folder with models in ``sparse``, a
            ``transforms.json`` or a folder with one.

    Raises:
        InputError: it is nothing of the kind, or broken.
        NothingFoundError: no photo has a place in it.
    """
    viewed = _read(path)
    if not viewed.groups:
        raise NothingFoundError(f"{path} holds no placed photo: there is nothing to look at")
    return viewed


def _read(path: Path) -> ViewedScene:
    if path.is_file():
        if path.name == STATE_FILE:
            return viewed_scene(Scene.load(path.parent))
        if path.suffix.lower() == ".json":
            return _from_transforms(path)
        raise InputError(f"{path} is no scene", "give the folder that `mast3r sfm` wrote")
    if not path.is_dir():
        raise InputError(f"no such file or folder: {path}")
    if (path / STATE_FILE).is_file():
        return viewed_scene(Scene.load(path))
    models = _colmap_models(path)
    if models:
        return _from_colmap(models)
    if (path / TRANSFORMS).is_file():
        return _from_transforms(path / TRANSFORMS)
    raise InputError(
        f"{path} holds no scene",
        f"expected {STATE_FILE} (as `mast3r sfm` writes it), a COLMAP model (cameras.bin or .txt; also in "
        f"sparse/0), or {TRANSFORMS}",
    )


def _colmap_models(path: Path) -> list[Path]:
    """The folder itself, or the models of groups in its subfolders, by number."""
    from mast3r_sfm.colmap.models import is_colmap_model

    if is_colmap_model(path):
        return [path]
    for folder in (path / "sparse", path):
        if is_colmap_model(folder):
            return [folder]
        numbered = [entry for entry in folder.glob("*") if entry.name.isdecimal() and is_colmap_model(entry)]
        if numbered:
            return sorted(numbered, key=lambda entry: int(entry.name))
    return []


def _from_colmap(models: Sequence[Path]) -> ViewedScene:
    from mast3r_sfm.colmap.models import read_colmap_model, reconstruction_cameras, reconstruction_tracks

    groups: list[ViewedGroup] = []
    for model in models:
        reconstruction = read_colmap_model(model)
        cameras = reconstruction_cameras(reconstruction)
        tracks = reconstruction_tracks(reconstruction, cameras.names)
        groups += _group(len(groups), cameras, tracks, _folders_above(model))
    return ViewedScene(tuple(sorted(groups, key=lambda group: -len(group.photos))))


def _from_transforms(path: Path) -> ViewedScene:
    from mast3r_sfm.exports.nerfstudio import read_transforms

    cameras = read_transforms(path)
    return ViewedScene(tuple(_group(0, cameras, _listed_points(path), [path.parent])))


def _listed_points(path: Path) -> Tracks:
    """The cloud that nerfstudio's files may name, as points that nobody observed."""
    import trimesh

    name = json.loads(path.read_text(encoding="utf-8")).get("ply_file_path")
    if not name or not (path.parent / str(name)).is_file():
        return Tracks.empty()
    try:
        cloud: Any = trimesh.load(path.parent / str(name))
        positions = np.asarray(cloud.vertices, np.float64)
        colors = np.asarray(cloud.colors)[:, :3]
    except (OSError, ValueError, AttributeError, IndexError, KeyError) as error:
        log.warning("%s cannot be read, and is left out: %s", name, error)
        return Tracks.empty()
    nobody = np.zeros(0)
    return Tracks(positions, colors, nobody, nobody, np.zeros((0, 2)), nobody)


def _group(number: int, cameras: PosedCameras, tracks: Tracks, folders: Iterable[Path]) -> list[ViewedGroup]:
    """Cameras without depth as a group, if there are any."""
    if not len(cameras):
        return []
    side, places = picture_side(len(cameras)), list(folders)
    photos = [
        ViewedPhoto(
            label=cameras.names[k],
            shape=cameras.shapes[k],
            focal=(float(cameras.intrinsics[k, 0, 0]), float(cameras.intrinsics[k, 1, 1])),
            cam2world=cameras.cam2world[k],
            picture=_picture(cameras.names[k], cameras.shapes[k], places, side),
            points=PhotoPoints.empty(),
        )
        for k in range(len(cameras))
    ]
    missing = [photo.label for photo in photos if photo.picture is None]
    if missing:
        log.warning(
            "the photos of %d of %d cameras were not found, such as %s", len(missing), len(photos), missing[0]
        )
    return [make_group(number, photos, tracks)]


def _folders_above(model: Path) -> list[Path]:
    """The model's own folder and the three above it."""
    return [model, *list(model.resolve().parents)[:3]]


def _picture(
    name: str, shape: tuple[int, int], folders: Sequence[Path], side: int
) -> UInt8[np.ndarray, "h w 3"] | None:
    """A photo of a camera, small; None where there is none."""
    for folder in folders:
        for inside in PHOTO_FOLDERS:
            for suffix in SUFFIXES:
                path = folder / inside / (name + suffix)
                if path.is_file():
                    return _small(path, shape, side)
    return None


def _small(path: Path, shape: tuple[int, int], side: int) -> UInt8[np.ndarray, "h w 3"] | None:
    try:
        with Image.open(path) as photo:
            photo.draft("RGB", (side, side))
            lying = (photo.width > photo.height) == (shape[1] > shape[0])
            upright = photo if lying else ImageOps.exif_transpose(photo)
            small = upright.convert("RGB")
            small.thumbnail((side, side))
            return np.asarray(small)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        log.warning("%s cannot be read: %s", path, error)
        return None
