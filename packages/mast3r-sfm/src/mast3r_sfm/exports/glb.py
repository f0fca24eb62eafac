"""A scene as one binary glTF file: points or a mesh, and the cameras (spec 30 section 12.1)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trimesh
from jaxtyping import Bool, Float, UInt8

from mast3r_sfm.appearance import CameraStyle
from mast3r_sfm.thinning import thinned
from mast3r_sfm.view_filters import shown_confidence

from .files import component_files
from .frustums import EDGE_COLORS, FrustumShape, camera_picture, camera_wireframe
from .grid_mesh import grid_mesh, joined_meshes

if TYPE_CHECKING:
    from mast3r_sfm.scene import Scene, SceneImage

log = logging.getLogger(__name__)

DEFAULT_MAX_POINTS = 5_000_000
"""About what browsers still turn smoothly; 80 MB."""
ColourChange = Callable[[UInt8[np.ndarray, "*n 3"]], UInt8[np.ndarray, "*n 3"]]
"""From sRGB colours to others."""
UNLIT = "KHR_materials_unlit"
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
    views: Sequence[GlbView],
    *,
    as_mesh: bool = False,
    mesh_step: int = 1,
    camera_size: float = 0.2,
    cameras: CameraStyle = "photos",
    linear_light: bool = False,
) -> trimesh.Scene:
    """Put views together; the first camera is at the origin, with x to the left, y up, z ahead.

    Args:
        views: at least one.
        as_mesh: triangles between neighbouring pixels instead of points.
        mesh_step: triangles between every so many pixels.
        camera_size: height of the image plane of a drawn camera, in world units.
        cameras: pyramids with the photo on the image plane, pyramids alone, or nothing.
        linear_light: turn the colours of points and triangles into linear light, which is what glTF means by
            them; else they are written as they are, as upstream does, and viewers show them too pale.
    """
    tone = _linear_light if linear_light else _unchanged
    scene = trimesh.Scene()
    if as_mesh:
        thin = (slice(None, None, mesh_step), slice(None, None, mesh_step))
        mesh = joined_meshes(
            [grid_mesh(view.pts3d[thin], tone(view.color[thin]), view.mask[thin]) for view in views]
        )
        solid = trimesh.Trimesh(mesh.vertices, mesh.faces, face_colors=mesh.face_colors, process=False)
        solid.remove_unreferenced_vertices()
        if len(mesh.faces):
            scene.add_geometry(solid)
    else:
        drawn = [view.mask & np.isfinite(view.pts3d).all(-1) for view in views]
        positions = np.concatenate([view.pts3d[m] for view, m in zip(views, drawn, strict=True)])
        colors = np.concatenate([tone(view.color[m]) for view, m in zip(views, drawn, strict=True)])
        if len(positions):
            scene.add_geometry(trimesh.PointCloud(positions, colors=colors))  # type: ignore[no-untyped-call]
    for number, view in enumerate(views if cameras != "none" else ()):
        shape = FrustumShape.of_camera(view.mask.shape, view.focal, camera_size)
        color = EDGE_COLORS[number % len(EDGE_COLORS)]
        if cameras == "photos":
            scene.add_geometry(camera_picture(shape, view.cam2world, view.color))
        scene.add_geometry(camera_wireframe(shape, view.cam2world, color))
    if scene.geometry:
        scene.apply_transform(np.linalg.inv(_first_frame(views[0].cam2world)))  # type: ignore[no-untyped-call]
    return scene


def write_glb(
    scene: Scene,
    folder: Path,
    *,
    max_points: int | None = None,
    frame: Float[np.ndarray, "4 4"] | None = None,
    adjust: ColourChange | None = None,
) -> list[Path]:
    """Write ``scene.glb`` (further groups of images: ``scene_1.glb``, ...), as `Scene.appearance` says.

    Args:
        scene: to write.
        folder: to write into.
        max_points: of more, the most certain ones are written, spread over all photos (`thinned`); of a mesh
            with more vertices, every second, third, ... row and column of pixels. None: as the scene's
            appearance says, else 5 million.
        frame: from the world to the file's axes, such as `viewing_frame`; viewers turn about its origin, for
            an invisible triangle makes that the middle of everything, however far away some points are. None:
            the first camera's axes.
        adjust: changes the photos' colours beforehand, for a viewer that shows others than it is given.
    """
    look, threshold = scene.appearance, shown_confidence(scene)
    most = max_points or look.max_points or DEFAULT_MAX_POINTS
    written = []
    for component, path in component_files(scene, folder / "scene.glb"):
        if not component.images:
            continue
        views = [_view(image, threshold) for image in component.images]
        if adjust is not None:
            views = [replace(view, color=adjust(view.color)) for view in views]
        count = sum(int(view.mask.sum()) for view in views)
        if not count:
            log.warning("%s shows cameras only: no pixel's confidence is above %g", path.name, threshold)
        drawn = glb_scene(
            views if look.as_mesh else _thinned(views, component, most),
            as_mesh=look.as_mesh,
            mesh_step=math.ceil(max(1.0, count / most) ** 0.5),
            camera_size=_camera_size(views) if look.camera_size is None else look.camera_size,
            cameras=look.cameras,
            linear_light=True,
        )
        if not drawn.geometry:
            log.warning("%s not written: there is nothing to draw", path.name)
            continue
        if frame is not None:
            _turn(drawn, frame @ _first_frame(component.images[0].cam2world))
        data = drawn.export(  # type: ignore[no-untyped-call]
            file_type="glb", tree_postprocessor=_without_lights
        )
        path.write_bytes(data)
        written.append(path)
    return written


def _without_lights(tree: dict[str, Any]) -> None:
    """Let viewers show colours as they are; what has no material would be black metal without lamps."""
    flat = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}}
    materials = tree.setdefault("materials", [])
    for mesh in tree.get("meshes", []):
        for primitive in mesh["primitives"]:
            primitive.setdefault("material", len(materials))
    materials.append(flat)
    for material in materials:
        material.setdefault("pbrMetallicRoughness", {})["metallicFactor"] = 0.0
        material.setdefault("extensions", {})[UNLIT] = {}
    tree["extensionsUsed"] = sorted({*tree.get("extensionsUsed", []), UNLIT})


def _unchanged(color: UInt8[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "*n 3"]:
    return color


def _linear_light(color: UInt8[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "*n 3"]:
    """sRGB to linear light."""
    level = np.arange(256) / 255
    table = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return np.round(255 * table).astype(np.uint8)[color]


def _view(image: SceneImage, threshold: float) -> GlbView:
    return GlbView(
        pts3d=image.pts3d(),
        color=image.color,
        mask=(image.confidence > threshold) & (image.depth > 0),
        focal=float(image.network_intrinsics[1, 1]),
        cam2world=image.cam2world,
    )


def _thinned(views: Sequence[GlbView], scene: Scene, count: int) -> list[GlbView]:
    masks = thinned([view.mask for view in views], [image.confidence for image in scene.images], count)
    return [replace(view, mask=mask) for view, mask in zip(views, masks, strict=True)]


def _turn(drawn: trimesh.Scene, transform: Float[np.ndarray, "4 4"]) -> None:
    """Move a scene, and add a triangle without area that reaches equally far in opposite directions."""
    drawn.apply_transform(transform)  # type: ignore[no-untyped-call]
    reach = np.abs(drawn.bounds).max(axis=0)
    corners = np.stack([-reach, reach])
    drawn.add_geometry(trimesh.Trimesh(corners, [[0, 0, 0], [1, 1, 1]], process=False))


def _first_frame(cam2world: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The world from the axes that files are written in: the first camera's, x to the left, y up."""
    return cam2world @ np.diag([-1.0, -1.0, 1.0, 1.0])


def _camera_size(views: Sequence[GlbView]) -> float:
    """A size that shows among the points: a share of the middle of the scene's extent."""
    centres = np.array([view.cam2world[:3, 3] for view in views])
    sampled = [view.pts3d[::8, ::8][view.mask[::8, ::8]] for view in views]
    points = np.concatenate([centres, *sampled])
    low, high = np.quantile(points[np.isfinite(points).all(1)], [0.1, 0.9], axis=0)
    return float(CAMERA_SHARE * max(float(np.linalg.norm(high - low)), 1e-6))
