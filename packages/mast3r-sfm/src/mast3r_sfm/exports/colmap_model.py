"""A scene as COLMAP models, in the photos' pixels."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pycolmap

    from mast3r_sfm.scene import Scene


def write_colmap(scene: Scene, folder: Path) -> list[Path]:
    """Write ``sparse/0`` (further groups of images: ``sparse/1``, ...), in COLMAP's binary format.

    PINHOLE cameras in the photos' pixels, poses, and the tracks as 3D points with colours, observations and
    mean reprojection errors; COLMAP, gsplat and nerfstudio open it. See `scene_reconstruction`.
    """
    from mast3r_sfm.colmap.models import scene_reconstruction

    written = []
    for number, component in enumerate(scene.components()):
        model = folder / "sparse" / str(number)
        model.mkdir(parents=True, exist_ok=True)
        reconstruction = scene_reconstruction(component)
        reconstruction.write(model)
        _check(model, reconstruction)
        written += sorted(model.glob("*.bin"))
    return written


def _check(model: Path, written: pycolmap.Reconstruction) -> None:
    """See that the files are whole: COLMAP does not notice when a disk is full.

    Raises:
        OSError: they are not.
    """
    from mast3r_model import InputError
    from mast3r_sfm.colmap.models import read_colmap_model

    try:
        found = read_colmap_model(model)
    except InputError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), model) from error
    if (found.num_reg_images(), found.compute_num_observations()) != (
        written.num_reg_images(),
        written.compute_num_observations(),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), model)
