"""Paths of many cameras through one scene: orbits, walks, and views from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from .cameras import Cameras
from .primitives import FloatArray, Scene, SceneBatch
from .probing import Probes, outside_obstacles
from .viewpoints import Lens, intrinsics_for, look_at

PathKind = Literal["orbit", "walk", "random"]

LEAST_OVERLAP = 0.3
"""Share of a view's pixels that its neighbour sees too, both ways."""

_CANDIDATES = 24
_PROBE_PIXELS = 24
_WIDEST_STEP = np.deg2rad(22.0)
"""Between neighbours of an orbit."""
_CLOSEST = 0.02
"""Least distance of two cameras of a random set, in units of the scene's size."""
_MOST_ALIKE = 0.9
"""Overlap above which a view adds nothing to a random set."""


@dataclass(frozen=True)
class CameraPath:
    """Cameras of one scene.

    Attributes:
        cam2world: (n, 4, 4), x right, y down, z forward; metres.
        fov: (n,) field of view over the long side in radians.
    """

    cam2world: Float[np.ndarray, "n 4 4"]
    fov: Float[np.ndarray, " n"]

    @property
    def length(self) -> float:
        """Metres from camera to camera."""
        return float(np.linalg.norm(np.diff(self.cam2world[:, :3, 3], axis=0), axis=1).sum())

    def cameras(self, shape: tuple[int, int], offset: FloatArray) -> Cameras:
        """For the renderer; all in scene 0.

        Args:
            shape: (height, width) of the images.
            offset: (n, 2) of the principal point from the image's centre, in pixels.
        """
        count = len(self.fov)
        return Cameras(
            torch.zeros(count, dtype=torch.int64),
            torch.from_numpy(intrinsics_for(self.fov, shape, offset)).float(),
            torch.from_numpy(self.cam2world).float(),
        )


def find_path(
    scene: Scene,
    batch: SceneBatch,
    rng: np.random.Generator,
    *,
    views: int,
    kind: PathKind,
    shape: tuple[int, int],
    lens: Lens,
) -> CameraPath | None:
    """Cameras outside obstacles that see enough, of which neighbours overlap; None if none were found.

    Neighbours are the views before and after; of a ``random`` set, one of those before. Several paths are
    drawn and probed with small depth images; the longest good one is taken.

    Args:
        scene: the scene.
        batch: the same scene, stacked, on the CPU.
        rng: all randomness comes from it.
        views: number of cameras.
        kind: ``orbit`` around a point worth looking at, ``walk`` along a curve, or ``random``.
        shape: (height, width) of the images.
        lens: fields of view.
    """
    scale = _PROBE_PIXELS / max(shape)
    probe = (max(2, round(shape[0] * scale)), max(2, round(shape[1] * scale)))
    if kind == "random":
        return _random_set(scene, batch, rng, views, probe, lens)
    draw = _draw_orbit if kind == "orbit" else _draw_walk
    paths = [draw(scene, rng, views, lens) for _ in range(_CANDIDATES)]
    paths = [path for path in paths if _stands_well(scene, path)]
    if not paths:
        return None
    joined = CameraPath(
        np.concatenate([path.cam2world for path in paths]), np.concatenate([path.fov for path in paths])
    )
    probes = _probe(batch, joined, probe)
    first = torch.arange(len(joined.fov)).view(-1, views)[:, :-1].flatten()
    overlap = torch.minimum(probes.overlap(first, first + 1), probes.overlap(first + 1, first))
    least = overlap.view(len(paths), -1).amin(1)
    usable = (least >= LEAST_OVERLAP) & probes.is_good.view(len(paths), views).all(1)
    good = [path for path, is_usable in zip(paths, usable.tolist(), strict=True) if is_usable]
    return max(good, key=lambda path: path.length, default=None)


def _probe(batch: SceneBatch, path: CameraPath, shape: tuple[int, int]) -> Probes:
    return Probes.of(batch, path.cameras(shape, np.zeros((len(path.fov), 2))), shape)


def _stands_well(scene: Scene, path: CameraPath) -> bool:
    position = path.cam2world[:, :3, 3]
    margin = 1e-3 * scene.size
    inside = (position >= scene.roam_low - margin).all() and (position <= scene.roam_high + margin).all()
    return bool(inside and outside_obstacles(scene, position).all())


def _draw_fov(rng: np.random.Generator, views: int, lens: Lens) -> Float[np.ndarray, " n"]:
    low, high = np.deg2rad(lens.fov_degrees)
    fov = rng.uniform(low, high) * np.ones(views)
    if not lens.same_focal:
        fov = np.clip(fov * np.exp(rng.uniform(-0.2, 0.2, views)), low, high)
    return fov


def _sway(rng: np.random.Generator, views: int, turns: float = 1.5) -> Float[np.ndarray, " n"]:
    """A smooth motion between -1 and 1."""
    phase, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0) * turns * 2 * np.pi
    return np.sin(phase + speed * np.linspace(0, 1, views))


def _draw_orbit(scene: Scene, rng: np.random.Generator, views: int, lens: Lens) -> CameraPath:
    center = scene.focus[rng.integers(len(scene.focus))].astype(float)
    radius = scene.size * rng.uniform(0.5, 1.4)
    whole = 2 * np.pi * (views - 1) / views
    arc = min(rng.uniform(np.pi / 3, 1.3 * whole), whole, (views - 1) * _WIDEST_STEP)
    # Where the place to stand lies on one side only (before a facade), the arc's middle is there.
    towards = (scene.roam_low + scene.roam_high)[:2] / 2 - center[:2]
    middle = np.arctan2(towards[1], towards[0]) if rng.random() < 0.5 else 0.0
    middle += rng.normal(0, 0.3) if rng.random() < 0.5 else rng.uniform(0, 2 * np.pi)
    angle = middle + np.linspace(-0.5, 0.5, views) * arc * rng.choice((-1, 1))
    outward = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    reach = _reach(center[:2], outward, scene.roam_low[:2], scene.roam_high[:2])
    distance = radius * (1 + 0.1 * _sway(rng, views))
    distance = np.where(reach > 0, np.minimum(distance, 0.97 * reach), distance)
    height = center[2] + radius * (rng.uniform(0.0, 0.5) + 0.08 * _sway(rng, views))
    position = np.concatenate([center[:2] + outward * distance[:, None], height[:, None]], axis=1)
    position[:, 2] = np.clip(position[:, 2], scene.roam_low[2], scene.roam_high[2])
    target = center + radius * rng.normal(0, 0.06, (views, 3))
    roll = rng.normal(0, np.deg2rad(3), views)
    return CameraPath(look_at(position, target, roll), _draw_fov(rng, views, lens))


def _reach(origin: FloatArray, direction: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """(n,) how far (n, 2) rays run inside a box; 0 if they start outside."""
    if (origin < low).any() or (origin > high).any():
        return np.zeros(len(direction))
    safe = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    return np.maximum((low - origin) / safe, (high - origin) / safe).min(axis=1)


def _draw_walk(scene: Scene, rng: np.random.Generator, views: int, lens: Lens) -> CameraPath:
    box = scene.roam_high - scene.roam_low
    length = min(scene.size * rng.uniform(0.4, 2.0), (views - 1) * 0.12 * scene.size)
    along = np.linspace(0, 1, views)
    heading = rng.uniform(0, 2 * np.pi) + np.deg2rad(rng.uniform(-90, 90)) * along
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / (views - 1)
    position = np.zeros((views, 3))
    position[1:, :2] = steps[:-1].cumsum(0)
    extent = np.ptp(position[:, :2], axis=0)
    start = scene.roam_low[:2] + rng.random(2) * np.maximum(box[:2] - extent, 0) - position[:, :2].min(0)
    position[:, :2] += start
    position[:, 2] = scene.roam_low[2] + box[2] * rng.uniform(0.15, 0.8)
    position[:, 2] += 0.02 * scene.size * _sway(rng, views, 4)
    position[:, 2] = np.clip(position[:, 2], scene.roam_low[2], scene.roam_high[2])
    if rng.random() < 0.5:
        ends = scene.focus[rng.integers(len(scene.focus), size=2)]
        target = ends[0] + along[:, None] * (ends[1] - ends[0])
    else:
        gaze = heading + np.deg2rad(rng.uniform(-100, 100) + 10 * _sway(rng, views))
        target = position + scene.size * np.stack([np.cos(gaze), np.sin(gaze), 0 * gaze - 0.1], axis=1)
    roll = np.deg2rad(2) * _sway(rng, views, 3)
    return CameraPath(look_at(position, target, roll), _draw_fov(rng, views, lens))


def _random_set(
    scene: Scene, batch: SceneBatch, rng: np.random.Generator, views: int, probe: tuple[int, int], lens: Lens
) -> CameraPath | None:
    """Views drawn one by one, each overlapping enough with one before, with none too much."""
    pool = _draw_pool(scene, rng, 12 * views, lens)
    free = outside_obstacles(scene, pool.cam2world[:, :3, 3])
    probes = _probe(batch, pool, probe)
    candidates = torch.from_numpy(np.flatnonzero(free & probes.is_good.numpy()))
    if len(candidates) < views:
        return None
    chosen = [int(candidates[0])]
    best = torch.zeros(len(candidates))
    centers = torch.from_numpy(pool.cam2world[:, :3, 3])
    closest = torch.full((len(candidates),), torch.inf, dtype=torch.float64)
    while len(chosen) < views:
        last = torch.full_like(candidates, chosen[-1])
        overlap = torch.minimum(probes.overlap(candidates, last), probes.overlap(last, candidates))
        best = torch.maximum(best, overlap)
        closest = torch.minimum(closest, (centers[candidates] - centers[chosen[-1]]).norm(dim=1))
        apart = closest > _CLOSEST * scene.size
        usable = torch.nonzero((best >= LEAST_OVERLAP) & (best <= _MOST_ALIKE) & apart)[:, 0]
        if not len(usable):
            return None
        chosen.append(int(candidates[usable[0]]))
    return CameraPath(pool.cam2world[chosen], pool.fov[chosen])


def _draw_pool(scene: Scene, rng: np.random.Generator, count: int, lens: Lens) -> CameraPath:
    position = rng.uniform(scene.roam_low, scene.roam_high, (count, 3))
    focus = scene.focus[rng.integers(min(2, len(scene.focus)), size=count)]
    distance = np.linalg.norm(position - focus, axis=1, keepdims=True)
    target = focus + rng.normal(0, 0.12, (count, 3)) * distance
    return CameraPath(
        look_at(position, target, rng.normal(0, np.deg2rad(5), count)), _draw_fov(rng, count, lens)
    )
