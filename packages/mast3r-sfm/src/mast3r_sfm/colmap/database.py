"""COLMAP databases: photos, cameras, keypoints and matches (spec 30 sections 11.2 and 11.3)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from jaxtyping import Float

from mast3r_model import ImageTransform, InputError, OutputError, atomic_write
from mast3r_sfm.keypoints import KeypointGraph, colmap_keypoints

from .cameras import CameraModel, colmap_camera


@dataclass(frozen=True, eq=False)
class MappingImage:
    """A photo for COLMAP.

    Attributes:
        name: of its file, relative to the folder of photos.
        transform: between the photo's pixels and the network's, which matches are in.
        intrinsics: 3x3 in the photo's pixels if they are known.
        focal_guess: in the photo's pixels, where the search starts if they are not; None: COLMAP's guess.
        sensor: photos that name the same sensor share a camera; None: a camera of its own.
        calibration: a known camera with lens distortion, in COLMAP's terms, instead of ``intrinsics``.
    """

    name: str
    transform: ImageTransform
    intrinsics: Float[np.ndarray, "3 3"] | None = None
    focal_guess: float | None = None
    sensor: str | None = None
    calibration: pycolmap.Camera | None = None


def write_database(
    path: Path,
    images: Sequence[MappingImage],
    graph: KeypointGraph,
    *,
    shared_camera: bool = False,
    camera_model: CameraModel = "SIMPLE_RADIAL",
    already_verified: bool = False,
) -> None:
    """Write a database: image i has the id i + 1.

    Known intrinsics make PINHOLE cameras with a prior focal length; unknown ones ``camera_model`` with a
    guessed one.

    Args:
        path: of the database; must not exist.
        images: all photos.
        graph: keypoints and matches of the same images, usually `KeypointGraph.with_tracks_of` some length.
        shared_camera: one camera for all photos.
        camera_model: of photos without intrinsics.
        already_verified: write the matches as two-view geometries too, so that mappers take them unchecked.
            Only for the incremental mapper and for known poses: the global one needs true geometries.

    Raises:
        InputError: the photos cannot share a camera, or there are no matches.
        OutputError: the file exists, or cannot be written.
    """
    if path.exists():
        raise OutputError(f"{path} exists already", "remove it, or give another name")
    if len(images) != len(graph.shapes):
        raise InputError(f"{len(images)} images, but keypoints of {len(graph.shapes)}")
    if shared_camera:
        _check_shared(images)
    keypoints = colmap_keypoints(graph, [image.transform for image in images])
    with atomic_write(path) as temporary:
        try:
            with pycolmap.Database.open(temporary) as database:
                _write_images(database, images, keypoints, shared_camera, camera_model)
                _write_matches(database, graph, already_verified)
        except RuntimeError as error:  # SQLite's, such as a full disk
            raise OutputError(f"cannot write {path}: {error}") from error


def _check_shared(images: Sequence[MappingImage]) -> None:
    shapes = {image.transform.original_shape for image in images}
    if len(shapes) > 1:
        raise InputError(
            f"photos of different sizes cannot share a camera: {sorted(shapes)}",
            "leave the shared camera away",
        )
    known = [image.intrinsics for image in images]
    if any((K is None) != (known[0] is None) for K in known) or (
        known[0] is not None and not all(np.array_equal(K, known[0]) for K in known if K is not None)
    ):
        raise InputError("photos with different intrinsics cannot share a camera")


def _write_images(
    database: pycolmap.Database,
    images: Sequence[MappingImage],
    keypoints: Sequence[Float[np.ndarray, "n 2"]],
    shared_camera: bool,
    camera_model: CameraModel,
) -> None:
    first_of: dict[str, int] = {}
    for number, (image, xy) in enumerate(zip(images, keypoints, strict=True), start=1):
        camera_id = 1 if shared_camera else number
        if image.sensor is not None and not shared_camera:
            camera_id = first_of.setdefault(image.sensor, number)
        if number == camera_id:
            _write_camera(database, image, camera_model, camera_id)
        written = pycolmap.Image(name=image.name, camera_id=camera_id, image_id=number)
        frame = pycolmap.Frame(frame_id=number, rig_id=camera_id)
        frame.add_data_id(written.data_id)
        written.frame_id = number
        database.write_frame(frame, use_frame_id=True)
        database.write_image(written, use_image_id=True)
        database.write_keypoints(number, xy)


def _write_camera(
    database: pycolmap.Database, image: MappingImage, camera_model: CameraModel, camera_id: int
) -> None:
    """A camera, and the rig that COLMAP wants around it."""
    if image.calibration is not None:
        camera = deepcopy(image.calibration)
        camera.camera_id = camera_id
    else:
        camera = colmap_camera(
            image.transform.original_shape,
            image.intrinsics,
            focal_guess=image.focal_guess,
            model=camera_model if image.intrinsics is None else "PINHOLE",
            camera_id=camera_id,
        )
    database.write_camera(camera, use_camera_id=True)
    rig = pycolmap.Rig(rig_id=camera_id)
    rig.add_ref_sensor(camera.sensor_id)
    database.write_rig(rig, use_rig_id=True)


def _write_matches(database: pycolmap.Database, graph: KeypointGraph, already_verified: bool) -> None:
    for number, pair in enumerate(graph.pairs):
        image1, image2 = int(pair[0]) + 1, int(pair[1]) + 1
        matches = graph.pair_matches(number).astype(np.uint32)
        database.write_matches(image1, image2, matches)
        if already_verified:
            geometry = pycolmap.TwoViewGeometry()
            geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
            geometry.E, geometry.F, geometry.H = np.eye(3), np.eye(3), np.eye(3)
            geometry.inlier_matches = matches
            database.write_two_view_geometry(image1, image2, geometry)
