"""Where cameras stand: pairs with a wanted overlap, and paths of many views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .cameras import Cameras
from .primitives import FloatArray, Scene, SceneBatch
from .probing import Probes, outside_obstacles

_FIRST_VIEWS, _SECOND_VIEWS = 3, 6
"""Candidates for the first view, and for the second view beside each of them."""

_PROBE_PIXELS = 20
"""Pixels on the long side of the probes that measure overlap."""


@dataclass(frozen=True)
class Lens:
    """Range of the field of view over the long side, in degrees, and whether the two views differ."""

    fov_degrees: tuple[float, float] = (35.0, 90.0)
    same_focal: bool = False


def look_at(position: FloatArray, target: FloatArray, roll: FloatArray) -> FloatArray:
    """(n, 4, 4) cam2world of cameras at (n, 3) looking at (n, 3), rolled by (n,) radians about their axis."""
    forward = target - position
    forward = forward / np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-9)
    helper = np.where(np.abs(forward[:, 2:]) > 0.98, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    right = np.cross(forward, helper)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    down = np.cross(forward, right)
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    pose = np.tile(np.eye(4), (len(position), 1, 1))
    pose[:, :3, 0] = cos * right + sin * down
    pose[:, :3, 1] = cos * down - sin * right
    pose[:, :3, 2] = forward
    pose[:, :3, 3] = position
    return pose


def intrinsics_for(fov: FloatArray, shape: tuple[int, int], offset: FloatArray) -> FloatArray:
    """(n, 3, 3) intrinsics from (n,) fields of view in radians; `offset` (n, 2) in pixels."""
    height, width = shape
    K = np.tile(np.eye(3), (len(fov), 1, 1))
    K[:, 0, 0] = K[:, 1, 1] = max(shape) / 2 / np.tan(fov / 2)
    K[:, 0, 2] = (width - 1) / 2 + offset[:, 0]
    K[:, 1, 2] = (height - 1) / 2 + offset[:, 1]
    return K


@dataclass(frozen=True)
class _Candidates:
    position: FloatArray
    pose: FloatArray
    fov: FloatArray


def _draw_rolls(rng: np.random.Generator, n: int) -> FloatArray:
    degrees = np.where(rng.random(n) < 0.2, rng.uniform(-45, 45, n), rng.normal(0, 5, n))
    return np.deg2rad(degrees)


def _draw_candidates(scene: Scene, lens: Lens, rng: np.random.Generator) -> _Candidates:
    """First views, each followed by its second views: (_FIRST_VIEWS * (1 + _SECOND_VIEWS)) cameras."""
    f, s = _FIRST_VIEWS, _SECOND_VIEWS
    first = rng.uniform(scene.roam_low, scene.roam_high, (f, 3))
    focus = scene.focus[rng.integers(len(scene.focus), size=f)]
    away = (first - focus)[:, None]
    angle = np.deg2rad(np.exp(rng.uniform(np.log(1.5), np.log(100), (f, s)))) * rng.choice((-1, 1), (f, s))
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.stack(
        [
            cos * away[..., 0] - sin * away[..., 1],
            sin * away[..., 0] + cos * away[..., 1],
            away[..., 2] * np.ones((f, s)),
        ],
        axis=-1,
    )
    turned[..., 2] += np.linalg.norm(away, axis=-1) * rng.normal(0, 0.12, (f, s))
    turned *= np.exp(rng.uniform(-0.5, 0.5, (f, s, 1)))
    second = np.clip(focus[:, None] + turned, scene.roam_low, scene.roam_high)
    distance = np.linalg.norm(away, axis=-1, keepdims=True)
    target = focus[:, None] + rng.normal(0, 0.25, (f, 1 + s, 3)) * distance
    position = np.concatenate([first[:, None], second], axis=1).reshape(-1, 3)
    low, high = np.deg2rad(lens.fov_degrees)
    fov = rng.uniform(low, high) * np.ones(len(position))
    if not lens.same_focal:
        fov = np.clip(fov * np.exp(rng.uniform(-0.3, 0.3, len(fov))), low, high)
    pose = look_at(position, target.reshape(-1, 3), _draw_rolls(rng, len(position)))
    return _Candidates(position, pose, fov)


def sample_pairs(
    scenes: Sequence[Scene],
    batch: SceneBatch,
    shape: tuple[int, int],
    rngs: Sequence[np.random.Generator],
    *,
    lens: Lens,
    covisibility: tuple[float, float],
) -> Cameras:
    """Two cameras per scene, with an overlap near a value drawn from `covisibility`.

    Overlap is the share of the first view's pixels whose surface point the second view sees. Many candidates
    are probed with small depth images, and the pair nearest to the wanted overlap is taken.

    Args:
        scenes: the scenes.
        batch: the same scenes, stacked.
        shape: (height, width) of the views.
        rngs: one generator per scene.
        lens: fields of view.
        covisibility: least and most wanted overlap.

    Returns:
        2 * len(scenes) cameras: first and second view of scene 0, of scene 1, ...
    """
    drawn = [_draw_candidates(scene, lens, rng) for scene, rng in zip(scenes, rngs, strict=True)]
    per_scene = _FIRST_VIEWS * (1 + _SECOND_VIEWS)
    scale = _PROBE_PIXELS / max(shape)
    probe = (max(2, round(shape[0] * scale)), max(2, round(shape[1] * scale)))
    cameras = Cameras(
        torch.arange(len(scenes)).repeat_interleave(per_scene),
        torch.from_numpy(
            np.concatenate([intrinsics_for(c.fov, probe, np.zeros((per_scene, 2))) for c in drawn])
        ).float(),
        torch.from_numpy(np.concatenate([c.pose for c in drawn])).float(),
    )
    cameras = Cameras(
        *(tensor.to(batch.device) for tensor in (cameras.scene, cameras.intrinsics, cameras.cam2world))
    )
    overlap, is_good = _overlap_of_candidates(batch, cameras, probe)
    overlaps = overlap.view(len(scenes), -1).cpu().numpy()
    usable = is_good.view(len(scenes), _FIRST_VIEWS, 1 + _SECOND_VIEWS).cpu().numpy()
    poses, matrices = [], []
    for i, (scene, candidates, rng) in enumerate(zip(scenes, drawn, rngs, strict=True)):
        free = outside_obstacles(scene, candidates.position).reshape(usable[i].shape) & usable[i]
        wanted = rng.uniform(*covisibility)
        badness = np.abs(overlaps[i] - wanted) + 10.0 * ~(free[:, :1] & free[:, 1:]).ravel()
        first, second = divmod(int(badness.argmin()), _SECOND_VIEWS)
        chosen = [first * (1 + _SECOND_VIEWS), first * (1 + _SECOND_VIEWS) + 1 + second]
        poses.append(candidates.pose[chosen])
        offset = rng.normal(0, 0.02 * max(shape), (2, 2))
        matrices.append(intrinsics_for(candidates.fov[chosen], shape, offset))
    return Cameras(
        torch.arange(len(scenes), device=batch.device).repeat_interleave(2),
        torch.from_numpy(np.concatenate(matrices)).float().to(batch.device),
        torch.from_numpy(np.concatenate(poses)).float().to(batch.device),
    )


def _overlap_of_candidates(
    batch: SceneBatch, cameras: Cameras, shape: tuple[int, int]
) -> tuple[Float[Tensor, " pairs"], Bool[Tensor, " views"]]:
    """Overlap of each first view with its second views; whether each view shows enough, not too near."""
    probes = Probes.of(batch, cameras, shape)
    group = 1 + _SECOND_VIEWS
    first = torch.arange(0, len(probes.depth), group, device=batch.device).repeat_interleave(_SECOND_VIEWS)
    second = torch.arange(len(probes.depth), device=batch.device).view(-1, group)[:, 1:].flatten()
    return probes.overlap(first, second), probes.is_good
