"""Random scenes: rooms, open ground, facades, table tops, hills. One seed, one scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import zoom
from scipy.spatial.transform import Rotation

from .objects import (
    Painter,
    Parts,
    balls,
    box_faces,
    boxes,
    cylinders,
    make_faces,
    no_rounds,
    panels,
    turns_about_z,
)
from .primitives import FloatArray, Lights, Scene, Terrain

Rng = np.random.Generator


def make_scene(rng: Rng, textures: int) -> Scene:
    """Draw a scene.

    Args:
        rng: all randomness comes from it.
        textures: number of textures in the bank.
    """
    palette = rng.choice(textures, size=min(textures, int(rng.integers(6, 24))), replace=False)
    painter = Painter(rng, palette)
    kinds, shares = zip(*_KINDS, strict=True)
    return kinds[int(rng.choice(len(kinds), p=shares))](rng, painter)


def _draw_lights(rng: Rng, *, indoors: bool) -> Lights:
    directions = rng.normal(size=(2, 3))
    directions[:, 2] = np.abs(directions[:, 2]) + 0.4
    if indoors:
        directions[:, 2] *= np.sign(rng.uniform(-0.3, 1, 2))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    warmth = 1 + rng.normal(0, 0.08, (2, 3))
    strength = rng.uniform(0.15, 0.9, (2, 1)) * np.array([[1.0], [0.5]])
    horizon = np.clip(rng.uniform(0.5, 1.0) + rng.normal(0, 0.1, 3), 0, 1)
    zenith = np.clip(horizon * rng.uniform(0.4, 1.0) + np.array([-0.1, 0.0, 0.15]), 0, 1)
    return Lights(
        ambient=np.clip(rng.uniform(0.3, 0.8) + rng.normal(0, 0.04, 3), 0.15, 1).astype(np.float32),
        directions=directions.astype(np.float32),
        colors=(strength * warmth).astype(np.float32),
        sky=np.stack([horizon, zenith]).astype(np.float32),
        shadows=not indoors and bool(rng.random() < 0.6),
    )


def _clutter(
    rng: Rng,
    painter: Painter,
    n: int,
    low: FloatArray,
    high: FloatArray,
    size: tuple[float, float],
    *,
    floating: float,
) -> Parts:
    """Random objects: on the ground (z = low[2]) or, with the share `floating`, anywhere at any angle."""
    position = rng.uniform(low, high, (n, 3))
    smallest, largest = np.log(size)
    half = np.exp(rng.uniform(smallest, largest, (n, 1))) * np.exp(rng.normal(0, 0.35, (n, 3))) / 2
    floats = rng.random(n) < floating
    rotation = np.where(floats[:, None, None], Rotation.random(n, rng=rng).as_matrix(), turns_about_z(rng, n))
    position[:, 2] = np.where(floats, position[:, 2], low[2] + half[:, 2])
    kind = rng.choice(4, n, p=(0.55, 0.15, 0.15, 0.15))
    makers: tuple[Callable[[FloatArray, FloatArray, FloatArray, Painter], Parts], ...] = (
        boxes,
        lambda c, h, r, p: panels(c, h[:, :2] * 1.5, r, p),
        balls,
        cylinders,
    )
    parts = [
        make(position[kind == k], half[kind == k], rotation[kind == k], painter)
        for k, make in enumerate(makers)
    ]
    return Parts.join(parts)


def _ground(painter: Painter, extent: float, z: float = 0.0) -> Parts:
    center = np.array([[0.0, 0.0, z]])
    faces = make_faces(
        center,
        np.array([[extent, 0.0, 0.0]]),
        np.array([[0.0, extent, 0.0]]),
        painter,
        coverage=(2.0, 8.0),
        casts_shadow=False,
    )
    return Parts(faces, no_rounds(painter), np.zeros((0, 4)))


def _finish(
    rng: Rng,
    parts: list[Parts],
    *,
    indoors: bool,
    focus: FloatArray,
    roam: tuple[FloatArray, FloatArray],
    size: float,
    terrain: Terrain | None = None,
) -> Scene:
    joined = Parts.join(parts)
    return Scene(
        faces=joined.faces,
        rounds=joined.rounds,
        terrain=terrain,
        lights=_draw_lights(rng, indoors=indoors),
        focus=focus.astype(np.float32),
        obstacles=joined.obstacles.astype(np.float32),
        roam_low=roam[0].astype(np.float32),
        roam_high=roam[1].astype(np.float32),
        size=size,
    )


def _room(rng: Rng, painter: Painter) -> Scene:
    half = np.array([rng.uniform(1.5, 5), rng.uniform(1.5, 5), rng.uniform(1.1, 2.0)])
    center = np.array([[0.0, 0.0, half[2]]])
    walls = box_faces(center, half[None], np.eye(3)[None], painter, inwards=True, coverage=(0.8, 2.5))
    # Pictures, doors and windows: panels just off the walls.
    n = int(rng.integers(2, 12))
    axis, sign = rng.integers(0, 2, n), rng.choice((-1.0, 1.0), n)
    position = rng.uniform(-0.8, 0.8, (n, 3)) * half
    gap = rng.uniform(0.01, 0.12, n)
    position[np.arange(n), axis] = sign * (half[axis] - gap)
    position[:, 2] = np.abs(position[:, 2]) + 0.3
    upright = np.zeros((n, 3, 3))
    upright[np.arange(n), 1 - axis, 0] = 1
    upright[:, 2, 1] = 1
    upright[np.arange(n), axis, 2] = 1
    pictures = panels(position, np.exp(rng.uniform(np.log(0.15), np.log(1.0), (n, 2))), upright, painter)
    low, high = np.array([-0.85, -0.85, 0.0]) * half, np.array([0.85, 0.85, 1.7]) * half
    clutter = _clutter(rng, painter, int(rng.integers(4, 24)), low, high, (0.15, 1.6), floating=0.3)
    shell = Parts(walls, no_rounds(painter), np.zeros((0, 4)))
    focus = np.concatenate([rng.uniform(low, high, (4, 3)), position])
    roam = np.array([-0.9, -0.9, 0.15]) * half, np.array([0.9, 0.9, 1.8]) * half
    return _finish(
        rng, [shell, pictures, clutter], indoors=True, focus=focus, roam=roam, size=float(half.max())
    )


def _open_ground(rng: Rng, painter: Painter) -> Scene:
    radius = float(np.exp(rng.uniform(np.log(1.5), np.log(10))))
    low, high = np.array([-radius, -radius, 0.0]), np.array([radius, radius, radius])
    clutter = _clutter(
        rng, painter, int(rng.integers(5, 26)), low, high, (0.1 * radius, 0.8 * radius), floating=0.2
    )
    parts = [_ground(painter, radius * rng.uniform(4, 10)), clutter]
    if rng.random() < 0.6:
        parts.append(_backdrop(rng, painter, radius * rng.uniform(2.0, 4.0)))
    roam = np.array([-2.2, -2.2, 0.08]) * radius, np.array([2.2, 2.2, 1.6]) * radius
    focus = rng.uniform(low * 0.7, high * 0.5, (8, 3))
    return _finish(rng, parts, indoors=False, focus=focus, roam=roam, size=radius * 1.5)


def _backdrop(rng: Rng, painter: Painter, distance: float) -> Parts:
    """Upright walls around the scene, some missing."""
    n = int(rng.integers(1, 6))
    angle = rng.uniform(0, 2 * np.pi, n)
    outward = np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], axis=1)
    along = np.stack([-np.sin(angle), np.cos(angle), np.zeros(n)], axis=1)
    half_width, half_height = (
        distance * rng.uniform(0.4, 1.2, (n, 1)),
        distance * rng.uniform(0.2, 0.6, (n, 1)),
    )
    center = outward * distance * rng.uniform(1.0, 1.4, (n, 1)) + np.array([0, 0, 1]) * half_height
    up = np.tile([[0.0, 0.0, 1.0]], (n, 1)) * half_height
    faces = make_faces(
        center, -along * half_width, up, painter, coverage=(0.8, 3.0), one_sided=False, casts_shadow=False
    )
    return Parts(faces, no_rounds(painter), np.zeros((0, 4)))


def _facade(rng: Rng, painter: Painter) -> Scene:
    """A building's front: a wall with rows of windows, ledges, columns, a roof; ground and sky."""
    half = np.array([rng.uniform(4, 14), rng.uniform(2, 5), rng.uniform(2.5, 7)])
    core = boxes(np.array([[0.0, half[1], half[2]]]), half[None], np.eye(3)[None], painter)
    columns, rows = int(rng.integers(3, 9)), int(rng.integers(1, 5))
    x, z = np.meshgrid(
        (np.arange(columns) + 0.5) / columns * 2 - 1, (np.arange(rows) + 0.5) / rows * 2, indexing="ij"
    )
    n = x.size
    cell = np.array([half[0] / columns, half[2] / rows])
    window = cell * rng.uniform(0.35, 0.75, 2)
    depth = rng.uniform(0.02, 0.35)
    centers = np.stack([x.ravel() * half[0], np.full(n, -depth), z.ravel() * half[2]], axis=1)
    same = replace(painter, palette=rng.choice(painter.palette, 2))
    panes = box_faces(
        centers,
        np.tile([[window[0], depth, window[1]]], (n, 1)),
        np.tile(np.eye(3), (n, 1, 1)),
        same if rng.random() < 0.6 else painter,
        coverage=(0.4, 1.0),
    )
    windows = Parts(panes, no_rounds(painter), np.zeros((0, 4)))
    ledges = int(rng.integers(0, 4))
    ledge = boxes(
        np.stack([np.zeros(ledges), np.full(ledges, -0.2), rng.uniform(0.2, 2.0, ledges) * half[2]], axis=1),
        np.tile([[half[0] * 1.02, 0.3, 0.12]], (ledges, 1)),
        np.tile(np.eye(3), (ledges, 1, 1)),
        painter,
    )
    low = np.array([-half[0], -half[0] * 0.7, 0.0])
    high = np.array([half[0], -0.8, half[2]])
    clutter = _clutter(rng, painter, int(rng.integers(2, 10)), low, high, (0.5, 3.0), floating=0.05)
    tilt = rng.uniform(0.3, 1.0)
    roof = make_faces(
        np.array([[0.0, half[1] * 0.5, 2 * half[2] + tilt * half[1] * 0.5]]),
        np.array([[half[0] * 1.05, 0.0, 0.0]]),
        np.array([[0.0, half[1] * 0.55, tilt * half[1] * 0.55]]),
        painter,
        coverage=(0.8, 2.0),
        one_sided=False,
    )
    parts = [
        core,
        windows,
        Parts(ledge.faces, ledge.rounds, np.zeros((0, 4))),
        clutter,
        Parts(roof, no_rounds(painter), np.zeros((0, 4))),
        _ground(painter, half[0] * 4),
    ]
    roam = np.array([-1.6 * half[0], -2.4 * half[0], 0.5]), np.array([1.6 * half[0], -2.5, 1.6 * half[2]])
    focus = np.concatenate([rng.uniform([-half[0], 0, 0], [half[0], 0, 2 * half[2]], (6, 3)), centers[:6]])
    return _finish(rng, parts, indoors=False, focus=focus, roam=roam, size=float(half[0]) * 1.3)


def _table_top(rng: Rng, painter: Painter) -> Scene:
    radius = float(rng.uniform(0.25, 0.8))
    low, high = np.array([-radius, -radius, 0.0]), np.array([radius, radius, radius])
    clutter = _clutter(
        rng, painter, int(rng.integers(4, 18)), low, high, (0.15 * radius, 0.9 * radius), floating=0.1
    )
    table = boxes(
        np.array([[0.0, 0.0, -radius * 0.1]]), np.array([[1.4, 1.4, 0.1]]) * radius, np.eye(3)[None], painter
    )
    table = Parts(table.faces, table.rounds, np.zeros((0, 4)))
    half = np.array([4.0, 4.0, 3.0]) * radius
    walls = box_faces(
        np.zeros((1, 3)), half[None], np.eye(3)[None], painter, inwards=True, coverage=(0.8, 2.5)
    )
    roam = np.array([-2.5, -2.5, 0.2]) * radius, np.array([2.5, 2.5, 2.5]) * radius
    focus = rng.uniform(low * 0.7, high * 0.6, (8, 3))
    shell = Parts(walls, no_rounds(painter), np.zeros((0, 4)))
    return _finish(rng, [table, shell, clutter], indoors=True, focus=focus, roam=roam, size=radius * 2)


def _hills(rng: Rng, painter: Painter) -> Scene:
    extent = float(np.exp(rng.uniform(np.log(4), np.log(20))))
    heights = np.zeros((64, 64))
    for k in range(1, 5):
        lattice = rng.normal(size=(2**k + 1, 2**k + 1))
        heights += zoom(lattice, 64 / (2**k + 1), order=3, grid_mode=True, mode="nearest") * 0.5**k
    heights *= extent * rng.uniform(0.1, 0.3)
    terrain = Terrain(
        heights=heights.astype(np.float32),
        extent=extent,
        surface=painter.paint(np.array([[extent, extent]]), coverage=(1.5, 6.0)),
    )
    top = float(heights.max())
    low, high = np.array([-0.6 * extent, -0.6 * extent, heights.mean()]), np.array([0.6, 0.6, 0.0]) * extent
    high[2] = top + 0.1 * extent
    clutter = _clutter(
        rng, painter, int(rng.integers(3, 14)), low, high, (0.06 * extent, 0.35 * extent), floating=0.3
    )
    parts = [clutter, _backdrop(rng, painter, 1.5 * extent)]
    roam = (
        np.array([-0.9 * extent, -0.9 * extent, top]),
        np.array([0.9 * extent, 0.9 * extent, top + 0.6 * extent]),
    )
    spots = rng.uniform(-0.5, 0.5, (8, 2)) * extent
    focus = np.concatenate([spots, np.full((8, 1), float(heights.mean()))], axis=1)
    return _finish(rng, parts, indoors=False, focus=focus, roam=roam, size=extent, terrain=terrain)


_KINDS: tuple[tuple[Callable[[Rng, Painter], Scene], float], ...] = (
    (_room, 0.35),
    (_open_ground, 0.2),
    (_facade, 0.25),
    (_table_top, 0.1),
    (_hills, 0.1),
)
"""Kinds of scenes and how often each is drawn."""
