"""Views of a random scene with exact depth and cameras, for stand-ins of datasets' raw files.

In a test of this folder: ``from .standin_scenes import render_standin``.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from mast3r_train.synthetic import render_scene_views


class StandinView(NamedTuple):
    """One view: ``rgb`` (h, w, 3) uint8, ``depth`` (h, w) float32 z in metres (0: sky), ``K`` (3, 3) float64 with
    pixel centres at integers, ``cam2world`` (4, 4) float64, OpenCV axes. The rotation has no error."""

    rgb: np.ndarray
    depth: np.ndarray
    K: np.ndarray
    cam2world: np.ndarray


@functools.cache
def _render(count: int, size_wh: tuple[int, int], seed: int) -> tuple[StandinView, ...]:
    width, height = size_wh
    views = render_scene_views(
        seed, max(2, count), path="orbit", shape=(height, width), procedural=2, effects=False
    )
    return tuple(
        StandinView(views.images[i], views.depth[i].astype(np.float32), views.intrinsics[i], _proper(pose))
        for i, pose in enumerate(views.cam2world[:count])
    )


def _proper(cam2world: np.ndarray) -> np.ndarray:
    """The same pose with a rotation that is orthonormal in float64."""
    u, _, vt = np.linalg.svd(cam2world[:3, :3])
    exact = cam2world.copy()
    exact[:3, :3] = u @ vt
    return exact


def render_standin(count: int, size_wh: tuple[int, int] = (96, 72), seed: int = 0) -> list[StandinView]:
    """Neighbouring views of one scene, the same at each call; arrays are copies that may be changed.

    Args:
        count: views on an orbit; neighbours see about the same.
        size_wh: (width, height).
        seed: of the scene.
    """
    return [StandinView(*(array.copy() for array in view)) for view in _render(count, tuple(size_wh), seed)]
