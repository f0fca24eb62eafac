"""A COLMAP model of the map and the photos localised in it, for COLMAP's GUI (spec 50 C2, D7)."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pycolmap
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from mast3r_model import InputError, output_error
from mast3r_visloc.cameras import Camera
from mast3r_visloc.poses import Pose

from .colmap_files import check_model_files
from .colmap_map import open_colmap_model
from .contents import LocalizationMap, SparsePoints

PREFIX = "localized/"
"""Before the name of a localised photo if an image of the map has that name already."""

_SAME_POINT = 1e-6
"""Relative to its coordinates: correspondences may have been kept in float32."""
_CENTRE_TO_CORNER = 0.5


def write_localized_model(map: LocalizationMap, poses: Iterable[Pose], folder: Path) -> Path:
    """Write the map and the photos localised in it as one COLMAP model, binary.

    Of a map that is a COLMAP model everything stays as it is; the inliers of a localised photo become
    observations of its 3D points. Of other maps there are cameras and images, no points.

    Args:
        map: the map.
        poses: of photos localised in it; those without success are left out.
        folder: of the model's files; replaced, in one step, if it is there.

    Returns:
        The folder.

    Raises:
        InputError: the map's COLMAP model cannot be read any more.
        OutputError: the folder cannot be written; what was there before is still there.
    """
    model = _GrowingModel(
        pycolmap.Reconstruction() if map.colmap_model is None else open_colmap_model(map.colmap_model)
    )
    if map.colmap_model is None:
        _add_map(model, map)
    for pose in poses:
        if pose.success:
            _add_pose(model, map, pose)
    _write_whole(model.reconstruction, folder)
    return folder


class _GrowingModel:
    """A COLMAP model to which cameras and images are added, each with a rig and a frame of its own."""

    def __init__(self, reconstruction: pycolmap.Reconstruction) -> None:
        self.reconstruction = reconstruction
        self.names = {image.name for image in reconstruction.images.values()}
        # A trivial rig has its camera's number, a trivial frame its image's.
        self._cameras = max([0, *reconstruction.cameras, *reconstruction.rigs])
        self._images = max([0, *reconstruction.images, *reconstruction.frames])

    def add_camera(self, camera: Camera) -> int:
        """Returns its number."""
        self._cameras += 1
        self.reconstruction.add_camera_with_trivial_rig(camera.to_colmap(camera_id=self._cameras))
        return self._cameras

    def add_image(
        self, name: str, camera_id: int, cam2world: Float[np.ndarray, "4 4"], xy: Float[np.ndarray, "n 2"]
    ) -> int:
        """Returns its number; `xy` are its 2D points, an integer being a pixel's centre."""
        self._images += 1
        self.names.add(name)
        rotation = np.asarray(cam2world, dtype=np.float64)[:3, :3].T
        translation = -rotation @ cam2world[:3, 3]
        self.reconstruction.add_image_with_trivial_frame(
            pycolmap.Image(
                name=name, keypoints=xy + _CENTRE_TO_CORNER, camera_id=camera_id, image_id=self._images
            ),
            pycolmap.Rigid3d(np.concatenate([rotation, translation[:, None]], axis=1)),
        )
        return self._images


def _add_map(model: _GrowingModel, map: LocalizationMap) -> None:
    """Add the images of the map whose camera and pose are known."""
    camera_ids: dict[Camera, int] = {}
    for image in map.images:
        if image.camera is None or image.cam2world is None:
            continue
        if image.camera not in camera_ids:
            camera_ids[image.camera] = model.add_camera(image.camera)
        model.add_image(image.name, camera_ids[image.camera], image.cam2world, np.zeros((0, 2)))


def _add_pose(model: _GrowingModel, map: LocalizationMap, pose: Pose) -> None:
    if pose.cam2world is None:
        raise InputError(f"{pose.name} is localised and has no pose")
    name = pose.name
    while name in model.names:
        name = PREFIX + name
    rows, point_ids = _observed(model.reconstruction, map, pose)
    xy = np.asarray(pose.correspondences.query_xy, dtype=np.float64)[rows].reshape(-1, 2)
    image_id = model.add_image(name, model.add_camera(pose.camera), pose.cam2world, xy)
    for place, point_id in enumerate(point_ids.tolist()):
        model.reconstruction.add_observation(point_id, pycolmap.TrackElement(image_id, place))


def _observed(
    reconstruction: pycolmap.Reconstruction, map: LocalizationMap, pose: Pose
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Inliers that show a 3D point of the model: rows of the correspondences, and the points' numbers.

    Of several that show one point the most confident one counts.
    """
    found = pose.correspondences
    point_ids = np.full(len(found), -1, dtype=np.int64)
    if map.colmap_model is not None:
        for number, name in enumerate(pose.candidates):
            own = found.inlier & (found.map_image == number)
            index = map.index_of.get(name)
            load = None if index is None else map.images[index].load_points
            if own.any() and load is not None:
                points = load()
                if isinstance(points, SparsePoints):
                    point_ids[own] = _ids_of(points, found.xyz[own])
    known = [number >= 0 and number in reconstruction.points3D for number in point_ids.tolist()]
    rows = np.flatnonzero(known)
    rows = rows[np.argsort(-found.confidence[rows], kind="stable")]
    _, first = np.unique(point_ids[rows], return_index=True)
    rows = np.sort(rows[first])
    return rows, point_ids[rows]


def _ids_of(points: SparsePoints, xyz: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """The number of each 3D point that is one of these; -1 for others."""
    if len(points) == 0:
        return np.full(len(xyz), -1, dtype=np.int64)
    distance, index = cKDTree(points.xyz).query(xyz)
    same = distance <= _SAME_POINT * (1 + np.linalg.norm(xyz, axis=1))
    return np.where(same, points.point_ids[index], -1)


def _write_whole(reconstruction: pycolmap.Reconstruction, folder: Path) -> None:
    """Write beside the target, look whether all is there, then rename."""
    mark = secrets.token_hex(4)
    temporary, old = (folder.with_name(f".{folder.name}.{mark}.{kind}") for kind in ("part", "old"))
    try:
        temporary.mkdir(parents=True)
        reconstruction.write_binary(temporary)
        check_model_files(temporary, ".bin")  # COLMAP does not notice a full disk
        with suppress(FileNotFoundError):
            os.replace(folder, old)
        try:
            os.replace(temporary, folder)
        except OSError:
            with suppress(FileNotFoundError):
                os.replace(old, folder)
            raise
    except OSError as error:
        raise output_error(folder, error) from error
    except (InputError, RuntimeError, ValueError) as error:
        raise output_error(folder, OSError(f"COLMAP could not write it: {error}")) from error
    finally:
        for rest in (temporary, old):
            shutil.rmtree(rest, ignore_errors=True)
