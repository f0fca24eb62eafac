"""The quickstart's still life: things on a table in the corner of a room, and the cameras around them.

World frame: z up, metres, the table's top at z = 0; the cameras look along +y.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from mast3r_train.synthetic import Scene, look_at
from mast3r_train.synthetic.objects import Painter, Parts, balls, boxes, cylinders, make_faces, no_rounds
from mast3r_train.synthetic.primitives import Lights, Surfaces
from mast3r_train.synthetic.textures import TEXTURE_SIZE

Vector = tuple[float, float, float]
FIELD_OF_VIEW = 50.0
"""Degrees over the long side."""


@dataclass(frozen=True)
class Workshop:
    """Makes things of named textures."""

    textures: dict[str, int]
    rng: np.random.Generator

    def _painter(self, texture: str) -> Painter:
        return Painter(self.rng, np.array([self.textures[texture]]))

    def box(self, texture: str, center: Vector, half: Vector, yaw: float = 0.0) -> Parts:
        """A box whose faces each show another place of the texture."""
        made = boxes(np.array([center]), np.array([half]), turned(yaw), self._painter(texture))
        return untinted(made)

    def ball(self, texture: str, center: Vector, radius: float, yaw: float = 0.0) -> Parts:
        """A ball with the texture once around it."""
        made = balls(np.array([center]), np.full((1, 3), radius), turned(yaw), self._painter(texture))
        return untinted(made)

    def can(self, texture: str, center: Vector, radius: float, half_height: float, yaw: float = 0.0) -> Parts:
        """An upright cylinder."""
        half = np.array([[radius, radius, half_height]])
        return untinted(cylinders(np.array([center]), half, turned(yaw), self._painter(texture)))

    def sheet(
        self, texture: str, center: Vector, half_u: Vector, half_v: Vector, share: float | None
    ) -> Parts:
        """A rectangle seen from the side that u x v points to.

        Args:
            share: of the texture's width over the longer side; None: the texture once over it all.
        """
        painter, covered = self._painter(texture), (share or 1.0,) * 2
        faces = make_faces(
            np.array([center]),
            np.array([half_u]),
            np.array([half_v]),
            painter,
            coverage=(covered[0], covered[1]),
            casts_shadow=False,
        )
        if share is None:
            whole = TEXTURE_SIZE / 2
            surface = replace(
                faces.surface,
                texels_per_unit=np.array([[whole, -whole]], np.float32),
                offset=np.full((1, 2), whole, np.float32),
            )
            faces = replace(faces, surface=surface)
        return untinted(Parts(faces, no_rounds(painter), np.zeros((0, 4))))


def turned(yaw: float) -> np.ndarray:
    """(1, 3, 3) rotation about the vertical by degrees."""
    return Rotation.from_rotvec([[0.0, 0.0, yaw]], degrees=True).as_matrix()


def untinted(parts: Parts) -> Parts:
    """In the textures' own colours."""

    def plain(surface: Surfaces) -> Surfaces:
        return replace(surface, tint=np.ones_like(surface.tint))

    return Parts(
        replace(parts.faces, surface=plain(parts.faces.surface)),
        replace(parts.rounds, surface=plain(parts.rounds.surface)),
        parts.obstacles,
    )


def make_still_life(textures: dict[str, int], seed: int = 1) -> Scene:
    """Everything on and around the table."""
    shop = Workshop(textures, np.random.default_rng(seed))
    room = [
        shop.sheet("bricks", (0.2, 0.85, 0.5), (2.2, 0.0, 0.0), (0.0, 0.0, 1.6), 1.0),
        shop.sheet("plaster", (-1.35, -0.6, 0.5), (0.0, 1.5, 0.0), (0.0, 0.0, 1.6), 1.0),
        shop.sheet("carpet", (0.2, -0.4, -0.75), (2.2, 0.0, 0.0), (0.0, 1.6, 0.0), 1.0),
        shop.sheet("landscape", (-0.42, 0.83, 0.62), (0.36, 0.0, 0.0), (0.0, 0.0, 0.27), None),
        shop.sheet("rectangles", (0.56, 0.83, 0.60), (0.27, 0.0, 0.0), (0.0, 0.0, 0.31), None),
    ]
    table = [shop.box("planks", (0.0, 0.05, -0.04), (1.0, 0.7, 0.04))]
    things = [
        shop.box("cardboard", (-0.42, 0.24, 0.17), (0.24, 0.17, 0.17), 24),
        shop.box("toys", (-0.45, 0.26, 0.40), (0.13, 0.10, 0.06), -14),
        shop.box("red book", (-0.84, 0.32, 0.16), (0.05, 0.14, 0.16), -8),
        shop.ball("globe", (0.34, 0.30, 0.27), 0.23, 40),
        shop.can("planks", (0.34, 0.30, 0.02), 0.13, 0.02),
        shop.can("tin", (-0.02, -0.06, 0.13), 0.085, 0.13, 70),
        shop.box("blue book", (0.52, -0.14, 0.03), (0.20, 0.14, 0.03), 12),
        shop.box("red book", (0.50, -0.13, 0.085), (0.18, 0.13, 0.025), -18),
        shop.box("green book", (0.53, -0.14, 0.135), (0.16, 0.12, 0.025), 31),
        shop.box("toys", (-0.30, -0.24, 0.05), (0.05, 0.05, 0.05), 33),
        shop.box("green book", (0.80, 0.42, 0.19), (0.06, 0.15, 0.19), 16),
    ]
    parts = Parts.join(room + table + things)
    return Scene(
        faces=parts.faces,
        rounds=parts.rounds,
        terrain=None,
        lights=make_lights(),
        focus=np.array([[0.0, 0.2, 0.2]], np.float32),
        obstacles=parts.obstacles.astype(np.float32),
        roam_low=np.array([-3.0, -3.0, 0.0], np.float32),
        roam_high=np.array([3.0, 0.0, 3.0], np.float32),
        size=1.6,
    )


def make_lights() -> Lights:
    """A window behind the left shoulder, and a lamp on the right."""
    directions = np.array([[-0.55, -0.75, 0.95], [0.8, -0.5, 0.5]])
    return Lights(
        ambient=np.array([0.52, 0.52, 0.55], np.float32),
        directions=(directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32),
        colors=np.array([[0.55, 0.52, 0.46], [0.14, 0.12, 0.10]], np.float32),
        sky=np.array([[0.8, 0.8, 0.85], [0.4, 0.5, 0.8]], np.float32),
        shadows=True,
    )


def walk_around(count: int) -> np.ndarray:
    """(count, 4, 4) cam2world of someone who walks along the table and looks at it, up and down a little."""
    along = np.linspace(-1, 1, count)
    azimuth, elevation = np.deg2rad(22) * along, np.deg2rad(20 + 5 * np.sin(2.4 * along + 0.6))
    radius = 1.72 + 0.10 * np.cos(3.1 * along)
    target = np.stack([0.04 + 0.06 * along, 0.22 + 0 * along, 0.21 + 0.02 * np.sin(4 * along)], axis=1)
    towards = np.stack(
        [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)], axis=1
    )
    return look_at(target + radius[:, None] * towards, target, np.deg2rad(1.2) * np.sin(5 * along))
