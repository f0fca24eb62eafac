"""What a synthetic scene is made of: flat faces, round bodies, surfaces, lights.

World frame: z up, metres. Every array has one row per primitive; a batch of scenes pads the rows and stacks
them (:class:`SceneBatch`), so that one tensor operation serves all scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FloatArray = np.ndarray


@dataclass(frozen=True)
class Surfaces:
    """How primitives look.

    Attributes:
        texture: (n,) index into the texture bank.
        texels_per_unit: (n, 2) texels per unit of the primitive's own (u, v).
        offset: (n, 2) texel at (u, v) = 0.
        tint: (n, 3) colour that multiplies the texture.
    """

    texture: FloatArray
    texels_per_unit: FloatArray
    offset: FloatArray
    tint: FloatArray


@dataclass(frozen=True)
class Faces:
    """Flat rectangles and ellipses: ``center + u * half_u + v * half_v`` with u, v in [-1, 1].

    Attributes:
        center, half_u, half_v: (n, 3); half_u and half_v are orthogonal. The normal is ``half_u x half_v``.
        one_sided: (n,) visible only from the side that the normal points to.
        is_disc: (n,) an ellipse (u^2 + v^2 <= 1) in place of a rectangle.
        casts_shadow: (n,) False for walls that enclose the scene.
    """

    center: FloatArray
    half_u: FloatArray
    half_v: FloatArray
    one_sided: FloatArray
    is_disc: FloatArray
    casts_shadow: FloatArray
    surface: Surfaces


@dataclass(frozen=True)
class Rounds:
    """Ellipsoids and the mantles of elliptic cylinders.

    Attributes:
        center: (n, 3).
        axes: (n, 3, 3) rows are the half axes (world vectors, orthogonal).
        is_cylinder: (n,) a mantle along the third axis; its caps are :class:`Faces`.
    """

    center: FloatArray
    axes: FloatArray
    is_cylinder: FloatArray
    surface: Surfaces


@dataclass(frozen=True)
class Terrain:
    """A height field: heights on a square grid that spans [-extent, extent]^2 around the origin.

    Attributes:
        heights: (n, n) metres, row = y, column = x.
        extent: half the side in metres.
        surface: one row.
    """

    heights: FloatArray
    extent: float
    surface: Surfaces


@dataclass(frozen=True)
class Lights:
    """Ambient light, two directional lights, and the sky.

    Attributes:
        ambient: (3,) colour.
        directions: (2, 3) unit vectors towards the lights.
        colors: (2, 3).
        sky: (2, 3) colour at the horizon and at the zenith.
        shadows: whether the first light casts shadows.
    """

    ambient: FloatArray
    directions: FloatArray
    colors: FloatArray
    sky: FloatArray
    shadows: bool


@dataclass(frozen=True)
class Scene:
    """One scene.

    Attributes:
        focus: (n, 3) points worth looking at.
        obstacles: (n, 4) balls (x, y, z, radius) in which no camera may stand.
        roam_low, roam_high: (3,) box in which cameras may stand.
        size: metres; the typical distance from a camera to what it looks at.
    """

    faces: Faces
    rounds: Rounds
    terrain: Terrain | None
    lights: Lights
    focus: FloatArray
    obstacles: FloatArray
    roam_low: FloatArray
    roam_high: FloatArray
    size: float


Table = TypeVar("Table", Surfaces, Faces, Rounds)


def concatenate(parts: Sequence[Table]) -> Table:
    """Join tables of one kind row by row."""
    columns: dict[str, Any] = {}
    for field in fields(parts[0]):
        values = [getattr(part, field.name) for part in parts]
        nested = isinstance(values[0], Surfaces)
        columns[field.name] = concatenate(values) if nested else np.concatenate(values)
    return type(parts[0])(**columns)


@dataclass(frozen=True)
class SceneBatch:
    """Scenes stacked for the renderer; rows beyond a scene's own are never visible.

    The surface table holds faces first, then rounds, then one row for the terrain.
    """

    face_center: Float[Tensor, "scenes faces 3"]
    face_half_u: Float[Tensor, "scenes faces 3"]
    face_half_v: Float[Tensor, "scenes faces 3"]
    face_one_sided: Bool[Tensor, "scenes faces"]
    face_is_disc: Bool[Tensor, "scenes faces"]
    face_casts_shadow: Bool[Tensor, "scenes faces"]
    face_exists: Bool[Tensor, "scenes faces"]
    round_center: Float[Tensor, "scenes rounds 3"]
    round_axes: Float[Tensor, "scenes rounds 3 3"]
    round_is_cylinder: Bool[Tensor, "scenes rounds"]
    round_exists: Bool[Tensor, "scenes rounds"]
    terrain_heights: Float[Tensor, "scenes grid grid"]
    terrain_extent: Float[Tensor, " scenes"]
    texture: Int[Tensor, "scenes surfaces"]
    texels_per_unit: Float[Tensor, "scenes surfaces 2"]
    texel_offset: Float[Tensor, "scenes surfaces 2"]
    tint: Float[Tensor, "scenes surfaces 3"]
    ambient: Float[Tensor, "scenes 3"]
    light_directions: Float[Tensor, "scenes 2 3"]
    light_colors: Float[Tensor, "scenes 2 3"]
    sky: Float[Tensor, "scenes 2 3"]
    shadows: Bool[Tensor, " scenes"]
    size: Float[Tensor, " scenes"]

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.face_center.device

    @staticmethod
    def stack(scenes: Sequence[Scene], device: torch.device) -> SceneBatch:
        """Pad and stack scenes."""
        faces = [scene.faces for scene in scenes]
        rounds = [scene.rounds for scene in scenes]
        # Every scene has a row for the ground; where there is none, any surface will do.
        grounds = [scene.terrain.surface if scene.terrain else scene.faces.surface for scene in scenes]

        def surface(name: str) -> Tensor:
            of_faces = _column([table.surface for table in faces], name, device)
            of_rounds = _column([table.surface for table in rounds], name, device)
            return torch.cat([of_faces, of_rounds, _column(grounds, name, device)[:, :1]], dim=1)

        def lights(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(scene.lights, name) for scene in scenes])).to(device)

        heights, extents = _terrains(scenes)
        return SceneBatch(
            face_center=_column(faces, "center", device),
            face_half_u=_column(faces, "half_u", device),
            face_half_v=_column(faces, "half_v", device),
            face_one_sided=_column(faces, "one_sided", device),
            face_is_disc=_column(faces, "is_disc", device),
            face_casts_shadow=_column(faces, "casts_shadow", device),
            face_exists=_stacked([np.ones(len(table.center), bool) for table in faces], device),
            round_center=_column(rounds, "center", device),
            round_axes=_column(rounds, "axes", device),
            round_is_cylinder=_column(rounds, "is_cylinder", device),
            round_exists=_stacked([np.ones(len(table.center), bool) for table in rounds], device),
            terrain_heights=torch.from_numpy(heights).to(device),
            terrain_extent=torch.from_numpy(extents).to(device),
            texture=surface("texture"),
            texels_per_unit=surface("texels_per_unit"),
            texel_offset=surface("offset"),
            tint=surface("tint"),
            ambient=lights("ambient"),
            light_directions=lights("directions"),
            light_colors=lights("colors"),
            sky=lights("sky"),
            shadows=torch.tensor([scene.lights.shadows for scene in scenes], device=device),
            size=torch.tensor([scene.size for scene in scenes], dtype=torch.float32, device=device),
        )


def _column(tables: Sequence[Table], name: str, device: torch.device) -> Tensor:
    """One column of a table of each scene: (scenes, rows of the longest table, ...)."""
    return _stacked([getattr(table, name) for table in tables], device)


def _stacked(columns: Sequence[FloatArray], device: torch.device) -> Tensor:
    """Arrays of several lengths as one tensor, padded with zeros."""
    longest = max(map(len, columns))
    table = np.zeros((len(columns), longest, *columns[0].shape[1:]), dtype=columns[0].dtype)
    for row, column in zip(table, columns, strict=True):
        row[: len(column)] = column
    return torch.from_numpy(table).to(device)


def _terrains(scenes: Sequence[Scene]) -> tuple[FloatArray, FloatArray]:
    """Heights (scenes, grid, grid) and extents (scenes,), float32, 0 for scenes without terrain."""
    grid = max([len(scene.terrain.heights) for scene in scenes if scene.terrain is not None], default=2)
    heights = np.zeros((len(scenes), grid, grid), dtype=np.float32)
    extents = np.zeros(len(scenes), dtype=np.float32)
    for i, scene in enumerate(scenes):
        if scene.terrain is not None:
            heights[i], extents[i] = scene.terrain.heights, scene.terrain.extent
    return heights, extents
