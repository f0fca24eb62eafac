"""A pixel grid of points as triangles (spec 30 section 12.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num


@dataclass(frozen=True, eq=False)
class GridMesh:
    """Triangles between neighbouring pixels' points.

    Attributes:
        vertices: (v, 3) points.
        faces: (f, 3) int64, indices of vertices.
        face_colors: (f, 3) of the kind of the image's.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    face_colors: Num[np.ndarray, "f 3"]


def grid_mesh(
    pts3d: Float[np.ndarray, "h w 3"],
    color: Num[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"] | None = None,
    *,
    both_sides: bool = True,
) -> GridMesh:
    """Two triangles for every 2x2 pixels.

    Args:
        pts3d: points of the pixels.
        color: of the pixels; the upper triangle takes that of its top left pixel, the lower one that of its
            bottom right.
        mask: pixels that may be used; a triangle needs all three. Points that are not finite are never used.
        both_sides: each triangle in both orientations (against culling), else as the camera sees it: counter-
            clockwise.
    """
    valid = np.isfinite(pts3d).all(-1)
    if mask is not None:
        valid &= mask
    height, width = valid.shape
    index = np.arange(height * width).reshape(height, width)
    top_left, top_right = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    bottom_left, bottom_right = index[1:, :-1].ravel(), index[1:, 1:].ravel()
    upper = np.stack([bottom_left, top_right, top_left], axis=1)
    lower = np.stack([top_right, bottom_left, bottom_right], axis=1)
    faces, owner = np.concatenate([upper, lower]), np.concatenate([top_left, bottom_right])
    if both_sides:
        faces, owner = np.concatenate([faces, faces[:, ::-1]]), np.tile(owner, 2)
    kept = valid.ravel()[faces].all(1)
    return GridMesh(pts3d.reshape(-1, 3), faces[kept], color.reshape(-1, 3)[owner[kept]])


def joined_meshes(meshes: Sequence[GridMesh]) -> GridMesh:
    """Several meshes as one."""
    counts = [len(mesh.vertices) for mesh in meshes]
    offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    return GridMesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]),
        np.concatenate([mesh.face_colors for mesh in meshes]),
    )
