"""COLMAP's mappers in process: incremental, global (GLOMAP), and triangulation with known poses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pycolmap

from mast3r_model import InputError, NothingFoundError, output_error
from mast3r_sfm.cameras import PosedCameras

from .cameras import colmap_camera
from .errors import colmap_errors
from .model_files import write_reconstruction

Mapper = Literal["colmap", "glomap"]


def verify_geometry(database: Path, *, max_error: float = 4.0, threads: int = -1, seed: int = 0) -> None:
    """Estimate the two-view geometry of every pair in a database, and keep the matches that fit it.

    Args:
        database: with keypoints and matches.
        max_error: of RANSAC, in the photos' pixels.
        threads: -1 for all.
        seed: of RANSAC.
    """
    verifier = pycolmap.GeometricVerifierOptions()
    verifier.num_threads = threads
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.max_error = max_error
    options.ransac.random_seed = seed
    with colmap_errors("geometric verification"):
        pycolmap.geometric_verification(
            _existing(database), verifier_options=verifier, two_view_geometry_options=options
        )


def run_mapper(
    database: Path,
    images: Path | None,
    output: Path,
    *,
    mapper: Mapper = "colmap",
    refine_known_intrinsics: bool = False,
    min_images: int = 2,
    pixel_size: float = 1.0,
    start: Path | None = None,
    threads: int = -1,
    seed: int = 0,
    on_image: Callable[[], None] | None = None,
) -> list[pycolmap.Reconstruction]:
    """Reconstruct from a verified database.

    Args:
        database: with two-view geometries (`verify_geometry`).
        images: folder of the photos, for the points' colours; None: points stay black.
        output: folder for the models, ``0``, ``1``, ... (COLMAP's binary format).
        mapper: ``colmap``: incremental; ``glomap``: global.
        refine_known_intrinsics: let the bundle adjustment move intrinsics that the database has as known.
            The global mapper can only move all cameras' or none's: it keeps them if all are known.
        min_images: smaller models are dropped.
        pixel_size: COLMAP's thresholds, made for keypoints exact to a pixel, are multiplied by this.
        start: folder of a model that the incremental mapper goes on with; its images keep their poses.
        threads: -1 for all.
        seed: of everything random; one thread is needed for the same result to the bit.
        on_image: called when the incremental mapper has placed another image.

    Returns:
        The models, the one with most images first; the files are numbered in the same order.

    Raises:
        NothingFoundError: no model came out.
        InputError: there is no such database.
        OutputError: the output cannot be written.
        Mast3rError: COLMAP failed.
    """
    _existing(database)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(output, error) from error
    if start is not None and mapper != "colmap":
        raise InputError(f"the mapper {mapper} cannot keep known poses", "use --mapper colmap or sparse")
    known, cameras = _known_cameras(database)
    fixed = set() if refine_known_intrinsics else known
    with TemporaryDirectory() as scratch, colmap_errors(f"the mapper {mapper}"):
        if mapper == "colmap":
            options = _incremental_options(images, fixed, pixel_size, threads, seed)
            options.min_model_size = min_images
            found = _incremental(database, images, Path(scratch), options, start, on_image)
        elif mapper == "glomap":
            found = _global(database, images, Path(scratch), fixed == cameras, min_images, threads, seed)
        else:
            raise InputError(f"unknown mapper {mapper!r}", "use 'colmap' or 'glomap'")
    models = sorted(found.values(), key=lambda model: (-model.num_reg_images(), -model.num_points3D()))
    models = [model for model in models if model.num_reg_images() >= min_images]
    if not models:
        raise NothingFoundError(
            f"the mapper {mapper} placed no images", "match more pairs, or try --mapper sparse"
        )
    try:
        for number, model in enumerate(models):
            write_reconstruction(model, output / str(number))
    except OSError as error:
        raise output_error(output, error) from error
    return models


def _incremental_options(
    images: Path | None, fixed: set[int], pixel_size: float, threads: int, seed: int
) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.extract_colors = images is not None
    options.num_threads, options.random_seed = threads, seed
    options.constant_cameras = fixed
    if fixed:
        # a known camera must not be re-estimated when its image is registered either
        options.mapper.constant_cameras = fixed
    options.mapper.init_max_error *= pixel_size
    options.mapper.abs_pose_max_error *= pixel_size
    options.mapper.filter_max_reproj_error *= pixel_size
    options.triangulation.merge_max_reproj_error *= pixel_size
    options.triangulation.complete_max_reproj_error *= pixel_size
    return options


def _incremental(
    database: Path,
    images: Path | None,
    output: Path,
    options: pycolmap.IncrementalPipelineOptions,
    start: Path | None,
    on_image: Callable[[], None] | None,
) -> dict[int, pycolmap.Reconstruction]:
    further: dict[str, Any] = {} if on_image is None else {"next_image_callback": on_image}
    if start is not None:
        options.fix_existing_frames = options.mapper.fix_existing_frames = True
        further["input_path"] = start
    return pycolmap.incremental_mapping(database, images or output, output, options, **further)


def _global(
    database: Path,
    images: Path | None,
    output: Path,
    fixed: bool,
    min_images: int,
    threads: int,
    seed: int,
) -> dict[int, pycolmap.Reconstruction]:
    options = pycolmap.GlobalPipelineOptions()
    options.num_threads, options.random_seed = threads, seed
    options.min_model_size = min_images
    adjustment = options.mapper.bundle_adjustment
    adjustment.refine_focal_length = adjustment.refine_extra_params = not fixed
    found = pycolmap.global_mapping(database, images or output, output, options)
    if images is not None:
        for model in found.values():
            model.extract_colors_for_all_images(images)
    return found


def triangulate_known_poses(
    database: Path,
    cameras: PosedCameras,
    images: Path | None,
    output: Path,
    *,
    refine_intrinsics: bool = False,
    pixel_size: float = 1.0,
    threads: int = -1,
    seed: int = 0,
) -> pycolmap.Reconstruction:
    """Triangulate the tracks of a verified database with cameras that stay as they are.

    Args:
        database: with two-view geometries; images that ``cameras`` does not name are left out.
        cameras: poses of the photos, by name; and intrinsics, which count where the database knows none.
        images: folder of the photos, for the points' colours; None: points stay black.
        output: folder for the model.
        refine_intrinsics: let the intrinsics move.
        pixel_size: COLMAP's thresholds are multiplied by this, see `run_mapper`.
        threads: -1 for all.
        seed: of everything random.

    Raises:
        InputError: there is no such database, or no image of it is among the cameras.
        OutputError: the output cannot be written.
        Mast3rError: COLMAP failed.
    """
    prior = _posed_reconstruction(_existing(database), cameras)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(output, error) from error
    options = _incremental_options(images, set(), pixel_size, threads, seed)
    with colmap_errors("triangulation"):
        return pycolmap.triangulate_points(
            prior, database, images or output, output, options=options, refine_intrinsics=refine_intrinsics
        )


def _posed_reconstruction(path: Path, cameras: PosedCameras) -> pycolmap.Reconstruction:
    """Images and cameras of a database with the ids it gave them, and the poses of ``cameras``."""
    reconstruction = pycolmap.Reconstruction()
    with pycolmap.Database.open(path) as database:
        images = database.read_all_images()
        written = {camera.camera_id: camera for camera in database.read_all_cameras()}
    places = cameras.find(image.name for image in images)
    if all(place is None for place in places):
        raise InputError(f"none of the {len(images)} photos in {path} is among the known cameras")
    for image, place in zip(images, places, strict=True):
        if place is None:
            continue
        if not reconstruction.exists_camera(image.camera_id):
            camera = written[image.camera_id]  # with lens distortion, if that is known
            if not camera.has_prior_focal_length and np.isfinite(cameras.intrinsics[place]).all():
                camera = colmap_camera(
                    cameras.shapes[place], cameras.intrinsics[place], camera_id=image.camera_id
                )
            reconstruction.add_camera_with_trivial_rig(camera)
        posed = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=image.image_id)
        world2cam = np.linalg.inv(cameras.cam2world[place])
        reconstruction.add_image_with_trivial_frame(posed, pycolmap.Rigid3d(world2cam[:3]))
    return reconstruction


def _known_cameras(path: Path) -> tuple[set[int], set[int]]:
    """Ids of the cameras whose focal length is known, and of all."""
    with pycolmap.Database.open(path) as database:
        cameras = database.read_all_cameras()
    return (
        {camera.camera_id for camera in cameras if camera.has_prior_focal_length},
        {camera.camera_id for camera in cameras},
    )


def _existing(database: Path) -> Path:
    if not database.is_file():
        raise InputError(f"no such database: {database}")
    return database
