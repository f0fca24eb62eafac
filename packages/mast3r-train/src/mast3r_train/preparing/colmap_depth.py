"""Depth by COLMAP's PatchMatch stereo from photos with known cameras (spec 41 sections 13 and 14).

Needs the extra ``mast3r-train[colmap]``, and for the stereo itself a pycolmap that was built with CUDA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_train.errors import SampleError

from .extras import import_extra

_MATCHED_EXHAUSTIVELY = 100
"""Photos; more are matched with their neighbours in the list."""

_CAMERA_TOLERANCE = 1e-3
"""Pixels."""


@dataclass(frozen=True, eq=False)
class PosedPhoto:
    """A photo whose camera is known.

    Attributes:
        name: of its file, relative to the photos' folder, with ``/``.
        size_wh: (width, height).
        intrinsics: of a pinhole, pixel centres at integers.
        cam2world: OpenCV axes.
    """

    name: str
    size_wh: tuple[int, int]
    intrinsics: Float[np.ndarray, "3 3"]
    cam2world: Float[np.ndarray, "4 4"]


def import_pycolmap(purpose: str) -> Any:
    """The library, with or without CUDA.

    Raises:
        InputError: it is not installed.
    """
    return import_extra("pycolmap", extra="colmap", purpose=purpose)


def require_stereo() -> None:
    """Check that PatchMatch stereo can run, before any work is done.

    Raises:
        InputError: pycolmap is not installed, or without CUDA.
    """
    pycolmap = import_pycolmap("--depth colmap")
    if not pycolmap.has_cuda:
        raise InputError(
            f"--depth colmap runs patch_match_stereo: the installed pycolmap {pycolmap.__version__} cannot, "
            "it was built without CUDA",
            hint="install a pycolmap built with CUDA on a machine with a CUDA device, or --import a release",
        )


def compute_depth(photos_folder: Path, photos: Sequence[PosedPhoto], workspace: Path) -> Path:
    """Match, triangulate with the known cameras, and run PatchMatch with geometric consistency.

    Args:
        photos_folder: of the photos; not written to.
        photos: at least two.
        workspace: folder for all files of COLMAP; may hold those of an earlier try.

    Returns:
        The folder of the depth maps: ``<name>.geometric.bin``.

    Raises:
        SampleError: COLMAP failed, or nothing could be triangulated.
    """
    pycolmap = import_pycolmap("--depth colmap")
    workspace.mkdir(parents=True, exist_ok=True)
    database = workspace / "database.db"
    database.unlink(missing_ok=True)
    sparse, dense = workspace / "sparse", workspace / "dense"
    sparse.mkdir(exist_ok=True)
    try:
        names = [photo.name for photo in photos]
        pycolmap.extract_features(
            database, photos_folder, image_names=names, camera_mode=pycolmap.CameraMode.PER_IMAGE
        )
        reconstruction = _known_reconstruction(pycolmap, database, photos)
        if len(photos) <= _MATCHED_EXHAUSTIVELY:
            pycolmap.match_exhaustive(database)
        else:
            pycolmap.match_sequential(database)
        model = pycolmap.triangulate_points(reconstruction, database, photos_folder, sparse)
        if not model.num_points3D():
            raise SampleError(
                f"{photos_folder}: COLMAP could not triangulate any point of {names[0]} and others"
            )
        pycolmap.undistort_images(dense, sparse, photos_folder)
        _check_same_cameras(pycolmap, dense / "sparse", photos)
        options = pycolmap.PatchMatchOptions(geom_consistency=True)
        pycolmap.patch_match_stereo(dense, options=options)
    except SampleError:
        raise
    except Exception as error:  # the library raises plain exceptions of several kinds
        raise SampleError(f"{photos_folder}: COLMAP failed: {error}") from error
    return dense / "stereo" / "depth_maps"


def _known_reconstruction(pycolmap: Any, path: Path, photos: Sequence[PosedPhoto]) -> Any:
    """A model of the known cameras, which are written to the database too."""
    known = {photo.name: photo for photo in photos}
    reconstruction = pycolmap.Reconstruction()
    with pycolmap.Database.open(path) as database:
        for image in database.read_all_images():
            photo = known[image.name]
            camera = database.read_camera(image.camera_id)
            if (camera.width, camera.height) != photo.size_wh:
                raise SampleError(
                    f"{image.name} has {camera.width}x{camera.height} pixels, its camera "
                    f"{photo.size_wh[0]}x{photo.size_wh[1]}"
                )
            camera = pycolmap.Camera(
                camera_id=image.camera_id,
                model="PINHOLE",
                width=camera.width,
                height=camera.height,
                params=_parameters(photo),
            )
            camera.has_prior_focal_length = True
            database.update_camera(camera)
            reconstruction.add_camera_with_trivial_rig(camera)
            posed = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=image.image_id)
            world2cam = np.linalg.inv(photo.cam2world)
            reconstruction.add_image_with_trivial_frame(posed, pycolmap.Rigid3d(world2cam[:3]))
    return reconstruction


def _parameters(photo: PosedPhoto) -> list[float]:
    """For COLMAP, the first pixel's centre is at (0.5, 0.5)."""
    K = photo.intrinsics
    return [K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5]


def _check_same_cameras(pycolmap: Any, model: Path, photos: Sequence[PosedPhoto]) -> None:
    """The depth maps are those of the photos as they are: nothing was there to be undistorted."""
    known = {photo.name: photo for photo in photos}
    for image in pycolmap.Reconstruction(model).images.values():
        photo = known[image.name]
        camera = image.camera
        same_size = (camera.width, camera.height) == photo.size_wh
        if not same_size or np.abs(camera.params - _parameters(photo)).max() > _CAMERA_TOLERANCE:
            raise SampleError(f"COLMAP changed the camera of {image.name} to {camera.params.tolist()}")
