"""3D points for Cambridge's maps from our own matches, with the dataset's poses (spec 50 D8).

The NVM file says which photos see the same points: those are matched. COLMAP triangulates the tracks; cameras
and poses stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pycolmap
from jaxtyping import Float, Int
from scipy.sparse import coo_array

from mast3r_model import Mast3rError, NothingFoundError

from .colmap_models import write_text_model
from .contract import PairMatcher
from .nvm import read_nvm_points
from .nvm_models import MapPoints, PosedPhoto, is_model_of, map_points

if TYPE_CHECKING:
    from mast3r_match import Matches  # which brings torch

NETWORK_PIXELS = 512
"""COLMAP's thresholds are for keypoints exact to a pixel; ours are exact to one of the network's input."""


def write_triangulated_model(
    target: Path,
    nvm: Path,
    photos: Sequence[PosedPhoto],
    folder: Path,
    match: PairMatcher,
    neighbours: int,
) -> list[Path]:
    """Match the map's photos, triangulate, and write the COLMAP model.

    Args:
        target: folder of the model.
        nvm: says which photos see the same.
        photos: of the map.
        folder: the photos' names are relative to it.
        match: matches pairs of photos.
        neighbours: how many photos each is matched with.

    Returns:
        The files that were written; none if a model of the same photos is there.

    Raises:
        NothingFoundError: no photos see the same, or nothing could be triangulated.
        Mast3rError: COLMAP failed.
        OutputError: a file cannot be written.
    """
    if is_model_of(target, photos):
        return []
    points = read_nvm_points(nvm)
    cameras = 1 + max([int(points.camera.max(initial=0)), *(photo.row for photo in photos)])
    pairs = covisible_pairs(map_points(points, photos, cameras), len(photos), neighbours)
    if not pairs:
        raise NothingFoundError(f"{nvm}: no two photos of the map see the same points")
    matches = match([folder / photo.name for photo in photos], pairs)
    model = triangulate(photos, pairs, matches)
    if not model.num_points3D():
        raise NothingFoundError(f"none of the matches of {len(pairs)} pairs could be triangulated: {target}")
    return write_text_model(target, model)


def covisible_pairs(seen: MapPoints, photos: int, neighbours: int) -> list[tuple[int, int]]:
    """Each photo with those that share most points with it, every pair once, the smaller number first."""
    shape = photos, len(seen.xyz)
    sees = coo_array((np.ones(len(seen.photo)), (seen.photo, seen.point)), shape=shape).tocsr()
    sees.data[:] = 1  # a point that a photo lists twice counts once
    shared = (sees @ sees.T).tocsr()
    shared.setdiag(0)
    shared.eliminate_zeros()
    pairs: set[tuple[int, int]] = set()
    for photo in range(photos):
        row = slice(shared.indptr[photo], shared.indptr[photo + 1])
        others = shared.indices[row][np.argsort(-shared.data[row], kind="stable")][:neighbours]
        pairs |= {(min(photo, int(other)), max(photo, int(other))) for other in others}
    return sorted(pairs)


def triangulate(
    photos: Sequence[PosedPhoto], pairs: Sequence[tuple[int, int]], matches: Iterable[Matches]
) -> pycolmap.Reconstruction:
    """Points from matches of photos with known cameras, which do not move.

    Raises:
        Mast3rError: COLMAP failed.
    """
    keypoints, numbered = _number_keypoints(len(photos), pairs, matches)
    prior = pycolmap.Reconstruction()
    for number, photo in enumerate(photos, start=1):
        prior.add_camera_with_trivial_rig(_camera(photo, number))
        prior.add_image_with_trivial_frame(
            pycolmap.Image(name=photo.name, camera_id=number, image_id=number),
            pycolmap.Rigid3d(photo.camera.world2cam[:3]),
        )
    scale = max(1.0, max(max(photo.size_wh) for photo in photos) / NETWORK_PIXELS)
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR)
    try:
        with TemporaryDirectory() as scratch:
            database = Path(scratch) / "database.db"
            _write_database(database, photos, keypoints, pairs, numbered)
            return pycolmap.triangulate_points(
                prior, database, scratch, scratch, options=_options(scale), refine_intrinsics=False
            )
    except (RuntimeError, ValueError, IndexError) as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Mast3rError(f"triangulation failed in COLMAP: {text}") from error
    finally:
        pycolmap.logging.minloglevel = before


def _number_keypoints(
    photos: int, pairs: Sequence[tuple[int, int]], matches: Iterable[Matches]
) -> tuple[list[Float[np.ndarray, "n 2"]], list[Int[np.ndarray, "m 2"]]]:
    """Keypoints of every photo, and the matches as their numbers.

    Matches of one photo stand on pixels of the network's input, so that equal ones of several pairs are equal
    to the bit: they make tracks.
    """
    found: list[list[np.ndarray]] = [[] for _ in range(photos)]
    for (first, second), pair in zip(pairs, matches, strict=True):
        found[first].append(pair.keypoints0)
        found[second].append(pair.keypoints1)
    keypoints: list[np.ndarray] = []
    numbers: list[list[np.ndarray]] = []
    for parts in found:
        stacked = np.concatenate(parts) if parts else np.zeros((0, 2), np.float32)
        unique, inverse = np.unique(stacked, axis=0, return_inverse=True)
        keypoints.append(unique)
        numbers.append(np.split(inverse.reshape(-1), np.cumsum([len(part) for part in parts])[:-1]))
    rows = [iter(parts) for parts in numbers]
    return keypoints, [np.stack([next(rows[first]), next(rows[second])], axis=1) for first, second in pairs]


def _camera(photo: PosedPhoto, number: int) -> pycolmap.Camera:
    width, height = photo.size_wh
    camera = pycolmap.Camera.create_from_model_name(number, "SIMPLE_RADIAL", 1.0, width, height)
    camera.params = list(photo.params)
    camera.has_prior_focal_length = True
    return camera


def _write_database(
    path: Path,
    photos: Sequence[PosedPhoto],
    keypoints: Sequence[np.ndarray],
    pairs: Sequence[tuple[int, int]],
    matches: Sequence[np.ndarray],
) -> None:
    """Photo i has the id i + 1, and so have its camera, rig and frame."""
    with pycolmap.Database.open(path) as database:
        for number, (photo, xy) in enumerate(zip(photos, keypoints, strict=True), start=1):
            camera = _camera(photo, number)
            database.write_camera(camera, use_camera_id=True)
            rig = pycolmap.Rig(rig_id=number)
            rig.add_ref_sensor(camera.sensor_id)
            database.write_rig(rig, use_rig_id=True)
            image = pycolmap.Image(name=photo.name, camera_id=number, image_id=number)
            frame = pycolmap.Frame(frame_id=number, rig_id=number)
            frame.add_data_id(image.data_id)
            image.frame_id = number
            database.write_frame(frame, use_frame_id=True)
            database.write_image(image, use_image_id=True)
            database.write_keypoints(number, np.ascontiguousarray(xy + 0.5, dtype=np.float32))
        for (first, second), numbers in zip(pairs, matches, strict=True):
            # The poses are known: the triangulator itself drops what does not fit them.
            geometry = pycolmap.TwoViewGeometry()
            geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
            geometry.inlier_matches = numbers.astype(np.uint32)
            database.write_matches(first + 1, second + 1, geometry.inlier_matches)
            database.write_two_view_geometry(first + 1, second + 1, geometry)


def _options(scale: float) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.extract_colors = False
    options.mapper.filter_max_reproj_error *= scale
    options.triangulation.merge_max_reproj_error *= scale
    options.triangulation.complete_max_reproj_error *= scale
    return options
