"""Views of a result as files that the browser may fetch."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .limits import Limits
from .reconstruction import Reconstruction
from .visits import Visit

if TYPE_CHECKING:
    import numpy as np

    from mast3r_sfm import Scene, SceneImage

    from .views import ViewSettings


@dataclass(frozen=True)
class PartialView:
    """What can be shown before the end.

    Attributes:
        path: a GLB that the browser may fetch.
        camera: of the first look at it.
    """

    path: Path
    camera: tuple[float, float, float]


def write_view(visit: Visit, result: Reconstruction, view: ViewSettings, limits: Limits) -> Path:
    """The scene as a GLB.

    Args:
        visit: whose.
        result: what is shown.
        view: how.
        limits: of its size.

    Raises:
        OutputError: it cannot be written.
    """
    from .views import write_view_glb

    name = f"view_{secrets.token_hex(4)}.glb"
    with visit.session.new_export(name) as temporary:
        write_view_glb(result, view, temporary, limits)
    return visit.publish(visit.session.exports / name, "view")


def write_partial_view(visit: Visit, partial: object, limits: Limits) -> PartialView | None:
    """Cameras and sparse points, while the rest is computed; None where there is nothing to show yet.

    Args:
        visit: whose.
        partial: what `mast3r_sfm.reconstruct` gave to ``on_partial``.
        limits: of the file's size.
    """
    from mast3r_sfm import Scene

    from .views import ViewSettings, first_camera
    from .views.scene_glb import write_scene_glb

    if not isinstance(partial, Scene) or not partial.images or not len(partial.points):
        return None
    scene = with_sparse_depth(partial)
    view = ViewSettings(percentile=0.0, clean_depth=False)
    name = "partial.glb"
    with visit.session.new_export(name) as temporary:
        write_scene_glb(scene, view, temporary, limits)
    return PartialView(visit.publish(visit.session.exports / name, "partial"), first_camera(scene, view))


def with_sparse_depth(scene: Scene) -> Scene:
    """A scene of points without depth maps, with the points drawn into depth maps of all its cameras.

    The GLB exporter draws depth maps; a point lands within half a pixel of where it is.
    """
    import numpy as np

    def filled(image: SceneImage) -> SceneImage:
        own = scene.points.components == image.component
        local = scene.points.positions[own].astype(np.float64) @ image.world2cam[:3, :3].T
        local += image.world2cam[:3, 3]
        local = local[local[:, 2] > 0]
        projected = local @ image.network_intrinsics.T
        column, row = np.round(projected[:, :2] / projected[:, 2:]).astype(np.int64).T
        height, width = image.depth.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        order = np.flatnonzero(inside)[np.argsort(-local[inside, 2])]  # the nearest is drawn last
        depth, confidence = np.zeros_like(image.depth), np.zeros_like(image.confidence)
        depth[row[order], column[order]] = local[order, 2]
        confidence[row[order], column[order]] = 1.0
        return replace(image, depth=depth, confidence=confidence)

    return replace(scene, images=tuple(filled(image) for image in scene.images))


def save_picture(visit: Visit, kind: str, pixels: np.ndarray) -> Path:
    """A picture for the browser.

    Args:
        visit: whose.
        kind: such as ``depth``; of each the last few stay.
        pixels: (h, w, 3) uint8.
    """
    from PIL import Image

    path = visit.picture_path(kind)
    Image.fromarray(pixels).save(path, compress_level=1)
    return path
