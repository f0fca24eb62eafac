"""Which pairs of frames of a scene are looked at at all (spec 41 section 16, step 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from .pair_scoring import PairSettings


def candidate_pairs(
    cam2world: Float[np.ndarray, "n 4 4"],
    settings: PairSettings,
    rng: np.random.Generator,
    *,
    cameras: Sequence[str] | None = None,
    instants: Sequence[str] | None = None,
) -> Int[np.ndarray, "m 2"]:
    """Frames at given distances, frames of one instant, and random ones that look about the same way.

    Args:
        cam2world: of all frames; those of one camera in the order of time.
        settings: strides and random partners.
        rng: for the random partners.
        cameras: the camera or sequence of each frame; default: all of one.
        instants: when each frame was taken, for rigs: equal texts of two cameras are a pair.

    Returns:
        Numbers of frames, the smaller first; each pair once, sorted.
    """
    count = len(cam2world)
    of_camera = np.unique(cameras, return_inverse=True)[1] if cameras is not None else np.zeros(count, int)
    found = [np.empty((0, 2), dtype=np.int64)]
    for camera in np.unique(of_camera):
        own = np.flatnonzero(of_camera == camera)
        found += [np.stack([own[:-s], own[s:]], axis=1) for s in settings.strides if s < len(own)]
    if instants is not None:
        found.append(_of_one_instant(instants))
    found += _random_partners(cam2world, settings, rng)
    ordered = np.sort(np.concatenate(found), axis=1)
    return np.unique(ordered, axis=0)


def _of_one_instant(instants: Sequence[str]) -> Int[np.ndarray, "m 2"]:
    frames: dict[str, list[int]] = {}
    for number, instant in enumerate(instants):
        frames.setdefault(instant, []).append(number)
    pairs = [(a, b) for same in frames.values() for place, a in enumerate(same) for b in same[place + 1 :]]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _random_partners(
    cam2world: Float[np.ndarray, "n 4 4"], settings: PairSettings, rng: np.random.Generator
) -> list[Int[np.ndarray, "m 2"]]:
    if not settings.random_partners:
        return []
    forward = cam2world[:, :3, 2]
    least_cosine = np.cos(np.radians(settings.random_degrees))
    found = []
    for number in range(len(cam2world)):
        alike = forward @ forward[number] > least_cosine
        alike[number] = False
        others = np.flatnonzero(alike)
        partners = rng.choice(others, min(settings.random_partners, len(others)), replace=False)
        found.append(np.stack([np.full(len(partners), number), partners], axis=1))
    return found
