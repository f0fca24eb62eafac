"""Dense points, or a mesh, as a PLY file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trimesh

from mast3r_sfm.view_filters import shown_confidence

from .files import component_files
from .grid_mesh import grid_mesh, joined_meshes

if TYPE_CHECKING:
    from mast3r_sfm.scene import PointCloud, Scene

POINTS_FILE = "points.ply"
MESH_FILE = "mesh.ply"

_COLUMNS = (
    ("x", "float", "<f4"),
    ("y", "float", "<f4"),
    ("z", "float", "<f4"),
    ("red", "uchar", "u1"),
    ("green", "uchar", "u1"),
    ("blue", "uchar", "u1"),
    ("confidence", "float", "<f4"),
)


def write_ply(scene: Scene, folder: Path) -> list[Path]:
    """Write ``points.ply`` (further groups of images: ``points_1.ply``, ...): the dense points.

    Binary, little endian; every vertex has x, y, z (float32, world), red, green, blue (uint8) and confidence
    (float32). If the scene is to be shown as a mesh, ``mesh.ply`` too: triangles between neighbouring pixels,
    as far as both have points, with a colour at every vertex.
    """
    written = []
    for component, path in component_files(scene, folder / POINTS_FILE):
        write_point_cloud(component.points, path)
        written.append(path)
    if scene.appearance.as_mesh:
        threshold = shown_confidence(scene)
        for component, path in component_files(scene, folder / MESH_FILE):
            if component.images:
                write_mesh(component, path, threshold, max_points=scene.appearance.max_points)
                written.append(path)
    return written


def write_mesh(scene: Scene, path: Path, min_confidence: float, *, max_points: int | None = None) -> None:
    """Write the pixels above a confidence as one mesh; see `write_ply`.

    Args:
        scene: one group of images.
        path: of the file.
        min_confidence: pixels must be above it.
        max_points: of more vertices, those of every second, third, ... row and column are taken; None: all.
    """
    masks = [(image.confidence > min_confidence) & (image.depth > 0) for image in scene.images]
    count = sum(int(mask.sum()) for mask in masks)
    step = math.ceil(max(1.0, count / (max_points or count or 1)) ** 0.5)
    thin = (slice(None, None, step), slice(None, None, step))
    meshes = [
        grid_mesh(image.pts3d()[thin], image.color[thin], mask[thin], both_sides=False)
        for image, mask in zip(scene.images, masks, strict=True)
    ]
    mesh = joined_meshes(meshes)
    colors = np.concatenate([image.color[thin].reshape(-1, 3) for image in scene.images])
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=colors, process=False)
    solid.remove_unreferenced_vertices()
    solid.export(path, file_type="ply")


def write_point_cloud(points: PointCloud, path: Path) -> None:
    """Write one PLY file; see `write_ply`."""
    rows = np.empty(len(points), dtype=[(name, kind) for name, _, kind in _COLUMNS])
    for axis, name in enumerate("xyz"):
        rows[name] = points.positions[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        rows[name] = points.colors[:, channel]
    rows["confidence"] = points.confidence
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(points)}",
        *(f"property {kind} {name}" for name, kind, _ in _COLUMNS),
        "end_header",
    ]
    with open(path, "wb") as file:
        file.write(("\n".join(lines) + "\n").encode("ascii"))
        file.write(rows.data)
