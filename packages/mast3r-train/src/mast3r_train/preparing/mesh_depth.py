"""Depth of a mesh as a camera sees it, by ray casting (spec 41 section 7).

Rays go through pixel centres, so depth is exact there. Upstream rasterises with pyrender, which asks at the
same places; the two differ at most in pixels on the edge of a face, where a rasteriser's rule decides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError

from .extras import import_extra

NEAR = 0.05
FAR = 20.0
"""Metres between which surfaces are seen."""

_RAYS_AT_ONCE = 1 << 18


class MeshDepth:
    """A mesh to look at; both sides of its faces are seen.

    Args:
        mesh: `trimesh.Trimesh`.

    Raises:
        InputError: embreex is not installed.
    """

    def __init__(self, mesh: Any) -> None:
        import_extra("embreex", extra="scannetpp", purpose="rendering depth of a mesh")
        casting = import_extra(
            "trimesh.ray.ray_pyembree", extra="scannetpp", purpose="rendering depth of a mesh"
        )
        self._rays = casting.RayMeshIntersector(mesh)
        self._corners = np.asarray(mesh.triangles, dtype=np.float64)
        self._normals = np.cross(
            self._corners[:, 1] - self._corners[:, 0], self._corners[:, 2] - self._corners[:, 0]
        )

    @classmethod
    def load(cls, path: Path) -> MeshDepth:
        """Read a mesh file, such as PLY.

        Raises:
            InputError: it is missing, broken, or has no faces; or a library is not installed.
        """
        trimesh = import_extra("trimesh", extra="scannetpp", purpose="reading a mesh")
        if not path.is_file():
            raise InputError(f"{path} does not exist")
        try:
            mesh = trimesh.load(path, force="mesh", process=False)
        except Exception as error:  # the library raises plain exceptions of several kinds
            raise InputError(f"{path} is no mesh that can be read: {error}") from error
        if not len(getattr(mesh, "faces", ())):
            raise InputError(f"{path} is a mesh without faces")
        return cls(mesh)

    def render(
        self,
        intrinsics: Float[np.ndarray, "3 3"],
        cam2world: Float[np.ndarray, "4 4"],
        size_wh: tuple[int, int],
        *,
        near: float = NEAR,
        far: float = FAR,
    ) -> Float[np.ndarray, "h w"]:
        """Depth z at pixel centres.

        Args:
            intrinsics: zero skew, the first pixel's centre at (0, 0).
            cam2world: OpenCV axes, in the mesh's unit.
            size_wh: of the image.
            near: nearer surfaces are not there: what is behind them is seen.
            far: farther ones neither.

        Returns:
            float32, 0 where nothing is seen.
        """
        width, height = size_wh
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        in_camera = np.stack(
            [
                (columns - intrinsics[0, 2]) / intrinsics[0, 0],
                (rows - intrinsics[1, 2]) / intrinsics[1, 1],
                np.ones_like(rows),
            ],
            axis=-1,
        ).reshape(-1, 3)
        directions = in_camera @ cam2world[:3, :3].T  # a step of 1 along them is a step of 1 in z
        depth = np.zeros(len(directions))
        for start in range(0, len(directions), _RAYS_AT_ONCE):
            part = slice(start, start + _RAYS_AT_ONCE)
            depth[part] = self._cast(cam2world[:3, 3], directions[part], cam2world[:3, 2], near, far)
        return depth.reshape(height, width).astype(np.float32)

    def _cast(
        self,
        center: Float[np.ndarray, " 3"],
        directions: Float[np.ndarray, "n 3"],
        forward: Float[np.ndarray, " 3"],
        near: float,
        far: float,
    ) -> Float[np.ndarray, " n"]:
        """Depth along rays; embree only says which face, in float32: the rest is computed here."""
        face = np.asarray(self._rays.intersects_first(center + near * directions, directions))
        is_hit = face >= 0
        depth = np.zeros(len(directions))
        corners, normals = self._corners[face[is_hit]], self._normals[face[is_hit]]
        towards = (normals * directions[is_hit]).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            along = (normals * (corners[:, 0] - center)).sum(1) / towards
        # A face that is seen edge-on has no exact answer; none is nearer or farther than its corners.
        corner_depth = (corners - center) @ forward
        along = np.where(np.isfinite(along), along, corner_depth.mean(1))
        depth[is_hit] = np.clip(along, corner_depth.min(1), corner_depth.max(1))
        return np.where((depth >= near) & (depth <= far), depth, 0.0)
