"""Dense points as a PLY file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .files import component_files

if TYPE_CHECKING:
    from mast3r_sfm.scene import PointCloud, Scene

POINTS_FILE = "points.ply"

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
    (float32).
    """
    written = []
    for component, path in component_files(scene, folder / POINTS_FILE):
        write_point_cloud(component.points, path)
        written.append(path)
    return written


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
