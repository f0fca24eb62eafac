"""A scene as one binary glTF file: points or a mesh, and the cameras (spec 30 section 12.1)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import trimesh
from jaxtyping import Bool, Float, UInt8

from .files import component_files
from .frustums import EDGE_COLORS, FrustumShape, camera_picture, camera_wireframe
from .grid_mesh import grid_mesh, joined_meshes

if TYPE_CHECKING:
    from mast3r_sfm.scene import Scene

log = logging.getLogger(__name__)

Cameras = Literal["photos", "edges", "none"]

DEFAULT_MIN_CONFIDENCE = 1.5
"""Upstream's demo: of the canonical confidence (spec 30 section 12.3)."""
DEFAULT_MAX_POINTS = 5_000_000
"""About what browsers still turn smoothly; 80 MB."""
CAMERA_SHARE = 0.03
"""Height of a drawn camera, as a share of the size of the cloud of cameras and points."""


@dataclass(frozen=True, eq=False)
class GlbView:
    """What is drawn of one image.

    Attributes:
        pts3d: (h, w, 3) points in the world; those that are not finite are left out.
        color: (h, w, 3) uint8.
        mask: (h, w), False where a point is not drawn.
        focal: in pixels of these maps.
        cam2world: 4x4.
    """

    pts3d: Float[np.ndarray, "h w 3"]
    color: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    focal: float
    cam2world: Float[np.ndarray, "4 4"]


def glb_scene(
    views: Sequence[GlbView], *, as_mesh: bool = False, camera_size: float = 0.2, cameras: Cameras = "photos"
) -> trimesh.Scene:
    """Put views together; the first camera is at the origin, in glTF's axes (x right, y up, z backward).

    Args:
        views: at least one.
        as_mesh: triangles between neighbouring pixels instead of points.
        camera_size: height of the image plane of a drawn camera, in world units.
        cameras: pyramids with the photo on the image plane, pyramids alone, or nothing.
    """
    scene = trimesh.Scene()
    if as_mesh:
        mesh = joined_meshes([grid_mesh(view.pts3d, view.color, view.mask) for view in views])
        solid = trimesh.Trimesh(mesh.vertices, mesh.faces, face_colors=mesh.face_colors, process=False)
        solid.remove_unreferenced_vertices()
        if len(mesh.faces):
            scene.add_geometry(solid)
    else:
        drawn = [view.mask & np.isfinite(view.pts3d).all(-1) for view in views]
        positions = np.concatenate([view.pts3d[m] for view, m in zip(views, drawn, strict=True)])
        colors = np.concatenate([view.color[m] for view, m in zip(views, drawn, strict=True)])
        if len(positions):
            scene.add_geometry(trimesh.PointCloud(positions, colors=colors))  # type: ignore[no-untyped-call]
    for number, view in enumerate(views if cameras != "none" else ()):
        shape = FrustumShape.of_camera(view.mask.shape, view.focal, camera_size)
        color = EDGE_COLORS[number % len(EDGE_COLORS)]
        if cameras == "photos":
            scene.add_geometry(camera_picture(shape, view.cam2world, view.color))
        scene.add_geometry(camera_wireframe(shape, view.cam2world, color))
    first = views[0].cam2world @ np.diag([-1.0, -1.0, 1.0, 1.0])
    if scene.geometry:
        scene.apply_transform(np.linalg.inv(first))  # type: ignore[no-untyped-call]
    return scene


def write_glb(
    scene: Scene,
    folder: Path,
    *,
    as_mesh: bool = False,
    min_confidence: float = DEFAULT_MIN_CONFIDENCE,
    camera_size: float | None = None,
    cameras: Cameras = "photos",
    max_points: int | None = DEFAULT_MAX_POINTS,
) -> list[Path]:
    """Write ``scene.glb`` (further groups of images: ``scene_1.glb``, ...).

    Args:
        scene: to write.
        folder: to write into.
        as_mesh: triangles instead of points.
        min_confidence: pixels at or below it are left out.
        camera_size: height of a drawn camera in world units; None: in proportion to the scene.
        cameras: how they are drawn.
        max_points: of more, a random choice is written (the same one every time); a mesh stays whole.
    """
    written = []
    for component, path in component_files(scene, folder / "scene.glb"):
        if not component.images:
            continue
        views = [
            GlbView(
                pts3d=image.pts3d(),
                color=image.color,
                mask=(image.confidence > min_confidence) & (image.depth > 0),
                focal=float(image.network_intrinsics[1, 1]),
                cam2world=image.cam2world,
            )
            for image in component.images
        ]
        if max_points is not None and not as_mesh:
            views = _thinned(views, max_points)
        size = _camera_size(views) if camera_size is None else camera_size
        drawn = glb_scene(views, as_mesh=as_mesh, camera_size=size, cameras=cameras)
        if not drawn.geometry:
            log.warning("%s not written: no pixel's confidence is above %g", path.name, min_confidence)
            continue
        path.write_bytes(drawn.export(file_type="glb"))  # type: ignore[no-untyped-call]
        written.append(path)
    return written


def _thinned(views: Sequence[GlbView], max_points: int) -> list[GlbView]:
    share = max_points / max(sum(int(view.mask.sum()) for view in views), 1)
    if share >= 1:
        return list(views)
    random = np.random.default_rng(0)
    return [replace(view, mask=view.mask & (random.random(view.mask.shape) < share)) for view in views]


def _camera_size(views: Sequence[GlbView]) -> float:
    """A size that shows among the points: a share of the middle of the scene's extent."""
    centres = np.array([view.cam2world[:3, 3] for view in views])
    sampled = [view.pts3d[::8, ::8][view.mask[::8, ::8]] for view in views]
    points = np.concatenate([centres, *sampled])
    low, high = np.quantile(points[np.isfinite(points).all(1)], [0.1, 0.9], axis=0)
    return float(CAMERA_SHARE * max(float(np.linalg.norm(high - low)), 1e-6))
