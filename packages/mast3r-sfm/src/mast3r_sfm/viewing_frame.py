"""The axes in which people want to look at a scene: upright, as the photos saw it, about its middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from .scene import Scene

MIDDLE = (0.05, 0.95)
"""Quantiles along each axis: a few far points do not make a scene large."""
SAMPLED = 200_000
"""Points that say where the middle is."""


def viewing_frame(scene: Scene) -> Float[np.ndarray, "4 4"]:
    """From the world to axes for viewers, as a 4x4 matrix without scaling.

    x points right, y up, and a viewer looks along -z, as in glTF: up is the photos' mean up, -z their mean
    direction. The origin is the middle of the box that holds 5 to 95 % of the points along each axis; without
    points, that of the cameras' centres.

    Args:
        scene: whose first group of images counts; with at least one image.
    """
    group = scene.components()[0]
    poses = np.array([image.cam2world for image in group.images])
    axes = _upright_axes(poses[:, :3, :3])
    points = group.points.positions.astype(np.float64)
    low, high = middle_box((points if len(points) else poses[:, :3, 3]) @ axes.T)
    frame = np.eye(4)
    frame[:3, :3] = axes
    frame[:3, 3] = -(low + high) / 2
    return frame


def middle_box(points: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Lowest and highest coordinates of the box that holds 5 to 95 % of the points along each axis.

    Args:
        points: at least one; those that are not finite do not count.
    """
    finite = points[np.isfinite(points).all(axis=1)]
    low, high = np.quantile(finite[:: max(1, len(finite) // SAMPLED)], MIDDLE, axis=0)
    return low, high


def _upright_axes(rotations: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "3 3"]:
    """Right, up and backward of a viewer, in the world, as rows."""
    ahead = _direction(rotations[:, :, 2].mean(axis=0), rotations[0, :, 2])
    up = _direction(-rotations[:, :, 1].mean(axis=0), -rotations[0, :, 1])
    back = -_direction(ahead - (ahead @ up) * up, _across(up))
    return np.stack([np.cross(up, back), up, back])


def _direction(mean: Float[np.ndarray, " 3"], otherwise: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """The mean at length 1; another direction where the photos look all ways and their mean says nothing."""
    length = float(np.linalg.norm(mean))
    return mean / length if length > _LEAST_LENGTH else otherwise / np.linalg.norm(otherwise)


def _across(up: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """Some direction at right angles to ``up``: the photos look straight up or down."""
    axis = np.eye(3)[int(np.abs(up).argmin())]
    return axis - (axis @ up) * up


_LEAST_LENGTH = 0.1
