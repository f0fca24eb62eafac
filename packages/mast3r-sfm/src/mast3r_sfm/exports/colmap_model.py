"""A scene as COLMAP models, in the photos' pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mast3r_sfm.scene import Scene


def write_colmap(scene: Scene, folder: Path) -> list[Path]:
    """Write ``sparse/0`` (further groups of images: ``sparse/1``, ...), in COLMAP's binary format.

    PINHOLE cameras in the photos' pixels, poses, and the tracks as 3D points with colours, observations and
    mean reprojection errors; COLMAP, gsplat and nerfstudio open it. See `scene_reconstruction`.
    """
    from mast3r_sfm.colmap.models import scene_reconstruction, write_reconstruction

    written = []
    for number, component in enumerate(scene.components()):
        model = folder / "sparse" / str(number)
        written += write_reconstruction(scene_reconstruction(component), model)
    return written
