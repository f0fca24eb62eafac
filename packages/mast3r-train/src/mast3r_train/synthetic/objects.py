"""Things to put into scenes: boxes, panels, balls, cylinders, each a table of primitives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .primitives import Faces, FloatArray, Rounds, Surfaces, concatenate
from .textures import TEXTURE_SIZE


@dataclass(frozen=True)
class Painter:
    """Chooses textures, tints and texture scales.

    Attributes:
        rng: the scene's generator.
        palette: indices of the textures that this scene uses; few, so that a scene has repeated materials.
    """

    rng: np.random.Generator
    palette: FloatArray

    def paint(self, sizes: FloatArray, *, coverage: tuple[float, float]) -> Surfaces:
        """Give each primitive a surface.

        Args:
            sizes: (n, 2) metres per unit of u and of v.
            coverage: how much of a texture's width lies over the primitive's longer side, least and most
                (drawn log-uniformly): below 1 the texture never repeats.
        """
        n, rng = len(sizes), self.rng
        low, high = np.log(coverage)
        share = np.exp(rng.uniform(low, high, (n, 1)))
        per_metre = share * TEXTURE_SIZE / (2 * sizes.max(axis=1, keepdims=True))
        tint = np.clip(rng.normal(0.95, 0.12, (n, 1)) + rng.normal(0, 0.08, (n, 3)), 0.3, 1.3)
        return Surfaces(
            texture=rng.choice(self.palette, n).astype(np.int32),
            # Rows of an image run down, v runs up.
            texels_per_unit=(per_metre * sizes * np.array([1.0, -1.0])).astype(np.float32),
            offset=rng.uniform(0, TEXTURE_SIZE, (n, 2)).astype(np.float32),
            tint=tint.astype(np.float32),
        )


@dataclass(frozen=True)
class Parts:
    """Primitives of some objects, and the balls around them that cameras must avoid."""

    faces: Faces
    rounds: Rounds
    obstacles: FloatArray

    @staticmethod
    def join(parts: list[Parts]) -> Parts:
        """All parts together."""
        return Parts(
            concatenate([part.faces for part in parts]),
            concatenate([part.rounds for part in parts]),
            np.concatenate([part.obstacles for part in parts]),
        )


def make_faces(
    center: FloatArray,
    half_u: FloatArray,
    half_v: FloatArray,
    painter: Painter,
    *,
    coverage: tuple[float, float] = (0.3, 1.2),
    one_sided: bool = True,
    is_disc: bool = False,
    casts_shadow: bool = True,
) -> Faces:
    """Faces from (n, 3) centres and half axes."""
    n = len(center)
    sizes = np.stack([np.linalg.norm(half_u, axis=1), np.linalg.norm(half_v, axis=1)], axis=1)
    return Faces(
        center=center.astype(np.float32),
        half_u=half_u.astype(np.float32),
        half_v=half_v.astype(np.float32),
        one_sided=np.full(n, one_sided),
        is_disc=np.full(n, is_disc),
        casts_shadow=np.full(n, casts_shadow),
        surface=painter.paint(sizes, coverage=coverage),
    )


def no_rounds(painter: Painter) -> Rounds:
    """An empty table."""
    empty = np.zeros((0, 3), np.float32)
    surface = painter.paint(np.ones((0, 2)), coverage=(1, 1))
    return Rounds(empty, np.zeros((0, 3, 3), np.float32), np.zeros(0, bool), surface)


def turns_about_z(rng: np.random.Generator, n: int) -> FloatArray:
    """(n, 3, 3) random rotations about the vertical."""
    return Rotation.from_rotvec(rng.uniform(0, 2 * np.pi, (n, 1)) * [[0.0, 0.0, 1.0]]).as_matrix()


# The six faces of a box by axis: where the normal, u and v point. v is upright on the sides, and u x v is the
# normal, so that textures are neither mirrored nor lying on their side.
_NORMAL_AXIS, _NORMAL_SIGN = np.array([0, 0, 1, 1, 2, 2]), np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
_U_AXIS, _U_SIGN = np.array([1, 1, 0, 0, 0, 0]), np.array([1.0, -1.0, -1.0, 1.0, 1.0, -1.0])
_V_AXIS = np.array([2, 2, 2, 2, 1, 1])


def box_faces(
    center: FloatArray,
    half: FloatArray,
    rotation: FloatArray,
    painter: Painter,
    *,
    inwards: bool = False,
    coverage: tuple[float, float] = (0.3, 1.2),
) -> Faces:
    """The six faces of boxes.

    Args:
        center, half: (n, 3) centres and half sizes.
        rotation: (n, 3, 3) whose columns are the boxes' axes.
        painter: gives the surfaces.
        inwards: the faces look inwards (a room) and cast no shadow.
        coverage: see :meth:`Painter.paint`.
    """
    axes = np.swapaxes(rotation, 1, 2) * half[:, :, None]
    normal = axes[:, _NORMAL_AXIS] * _NORMAL_SIGN[:, None]
    half_u = axes[:, _U_AXIS] * _U_SIGN[:, None] * (-1.0 if inwards else 1.0)
    half_v = axes[:, _V_AXIS]
    return make_faces(
        (center[:, None] + normal).reshape(-1, 3),
        half_u.reshape(-1, 3),
        half_v.reshape(-1, 3),
        painter,
        coverage=coverage,
        casts_shadow=not inwards,
    )


def boxes(center: FloatArray, half: FloatArray, rotation: FloatArray, painter: Painter) -> Parts:
    """Solid boxes."""
    obstacles = np.concatenate([center, np.linalg.norm(half, axis=1, keepdims=True)], axis=1)
    return Parts(box_faces(center, half, rotation, painter), no_rounds(painter), obstacles)


def panels(center: FloatArray, half_wh: FloatArray, rotation: FloatArray, painter: Painter) -> Parts:
    """Thin rectangles seen from both sides; columns 0 and 1 of `rotation` span them."""
    faces = make_faces(
        center,
        rotation[:, :, 0] * half_wh[:, :1],
        rotation[:, :, 1] * half_wh[:, 1:],
        painter,
        one_sided=False,
    )
    return Parts(
        faces, no_rounds(painter), np.concatenate([center, half_wh.min(axis=1, keepdims=True) * 0.3], axis=1)
    )


def balls(center: FloatArray, half: FloatArray, rotation: FloatArray, painter: Painter) -> Parts:
    """Ellipsoids with half axes `half` along the columns of `rotation`."""
    axes = np.swapaxes(rotation, 1, 2) * half[:, :, None]
    sizes = np.stack([np.pi * half[:, 0], np.pi / 2 * half[:, 2]], axis=1)
    rounds = Rounds(
        center.astype(np.float32),
        axes.astype(np.float32),
        np.zeros(len(center), bool),
        painter.paint(sizes, coverage=(0.5, 2.0)),
    )
    nothing = np.zeros((0, 3))
    faces = make_faces(nothing, nothing, nothing, painter)
    return Parts(faces, rounds, np.concatenate([center, half.max(axis=1, keepdims=True) * 1.1], axis=1))


def cylinders(center: FloatArray, half: FloatArray, rotation: FloatArray, painter: Painter) -> Parts:
    """Closed cylinders along the third column of `rotation`; `half` = (radius, radius, half height)."""
    half = half.copy()
    half[:, 1] = half[:, 0]
    axes = np.swapaxes(rotation, 1, 2) * half[:, :, None]
    sizes = np.stack([np.pi * half[:, 0], half[:, 2]], axis=1)
    rounds = Rounds(
        center.astype(np.float32),
        axes.astype(np.float32),
        np.ones(len(center), bool),
        painter.paint(sizes, coverage=(0.5, 2.0)),
    )
    caps = make_faces(
        np.concatenate([center + axes[:, 2], center - axes[:, 2]]),
        np.concatenate([axes[:, 0], axes[:, 0]]),
        np.concatenate([axes[:, 1], -axes[:, 1]]),
        painter,
        is_disc=True,
    )
    return Parts(caps, rounds, np.concatenate([center, np.linalg.norm(half, axis=1, keepdims=True)], axis=1))
