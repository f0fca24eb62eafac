"""Where the spectator stands: over the whole of a group, at a photo's camera, and on the way between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation, Slerp

from .content import VIEW_SIZE, ViewedGroup, ViewedPhoto

OVERVIEW_ANGLE = float(np.deg2rad(60))
"""Vertical field of view of the overview."""
OVERVIEW_TILT = 0.35
"""How much the overview looks down: fall for one step forward."""


@dataclass(frozen=True, eq=False)
class ViewPose:
    """A spectator.

    Attributes:
        cam2world: 4x4, axes x right, y down, z forward.
        distance: of the point that is turned about, straight ahead.
        angle: vertical field of view in radians.
    """

    cam2world: Float[np.ndarray, "4 4"]
    distance: float
    angle: float

    @property
    def position(self) -> Float[np.ndarray, " 3"]:
        """Where the spectator stands."""
        return self.cam2world[:3, 3]

    @property
    def look_at(self) -> Float[np.ndarray, " 3"]:
        """What is turned about."""
        return self.position + self.distance * self.cam2world[:3, 2]

    @property
    def wxyz(self) -> Float[np.ndarray, " 4"]:
        """The rotation as a quaternion, in viser's order."""
        return np.asarray(quaternion(self.cam2world[:3, :3]))


def quaternion(rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, " 4"]:
    """A rotation matrix as WXYZ, viser's order."""
    return np.roll(Rotation.from_matrix(rotation).as_quat(), 1)


def overview(group: ViewedGroup, window_aspect: float = 1.0) -> ViewPose:
    """The whole group, from behind its cameras and a little above.

    Args:
        group: to be seen.
        window_aspect: width over height of the spectator's window.
    """
    forward = _level(np.mean([photo.cam2world[:3, 2] for photo in group.photos], axis=0), group.up)
    for photo in group.photos[:1]:
        if forward is None:  # cameras all around a thing
            forward = _level(photo.cam2world[:3, 2], group.up)
        if forward is None:  # straight down: what is up in the photo is forward
            forward = _level(photo.cam2world[:3, 0], group.up)
    assert forward is not None
    z = forward - OVERVIEW_TILT * group.up
    z /= np.linalg.norm(z)
    x = np.cross(z, group.up)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    distance = _distance(group, pose[:3, :3], min(window_aspect, 1.0))
    pose[:3, 3] = -distance * z
    return ViewPose(pose, distance, OVERVIEW_ANGLE)


def through_camera(photo: ViewedPhoto, window_aspect: float) -> ViewPose:
    """A photo's own camera, with all of the photo inside the window.

    Args:
        photo: to look through.
        window_aspect: width over height of the spectator's window.
    """
    tangent = np.tan(photo.vertical_angle / 2) * max(1.0, photo.aspect / window_aspect)
    points = photo.points.positions
    ahead = (points - photo.cam2world[:3, 3]) @ photo.cam2world[:3, 2]
    distance = float(np.median(ahead)) if len(points) else VIEW_SIZE / 4
    return ViewPose(photo.cam2world, max(distance, VIEW_SIZE / 100), float(2 * np.arctan(tangent)))


def between(start: ViewPose, end: ViewPose, share: float) -> ViewPose:
    """A place on the way.

    Args:
        start: of the way.
        end: of the way.
        share: of the way that is done, 0 to 1; starts and ends slowly.
    """
    done = share * share * (3 - 2 * share)
    turned = Slerp([0, 1], Rotation.from_matrix([start.cam2world[:3, :3], end.cam2world[:3, :3]]))(done)
    pose = np.eye(4)
    pose[:3, :3] = turned.as_matrix()
    pose[:3, 3] = (1 - done) * start.position + done * end.position
    return ViewPose(
        pose,
        (1 - done) * start.distance + done * end.distance,
        (1 - done) * start.angle + done * end.angle,
    )


def _distance(group: ViewedGroup, axes: Float[np.ndarray, "3 3"], aspect: float) -> float:
    """How far from the origin cameras and most points are inside of the overview's cone.

    Args:
        group: to be seen.
        axes: the overview's, as columns.
        aspect: width over height of the cone.
    """
    cameras = np.array([photo.cam2world[:3, 3] for photo in group.photos])
    samples = [photo.points.positions[::50] for photo in group.photos]
    points = np.concatenate(samples) if group.count else group.sparse.positions
    tangents = np.tan(OVERVIEW_ANGLE / 2) * np.array([aspect, 1.0])
    needed = [
        (np.abs(places[:, :2]) / tangents).max(axis=1) - places[:, 2]
        for places in (cameras @ axes, points @ axes)
        if len(places)
    ]
    # 5 % of the points may be outside, but no camera
    return max(float(np.max(needed[0])), float(np.quantile(needed[-1], 0.95)), VIEW_SIZE / 4)


def _level(direction: Float[np.ndarray, " 3"], up: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"] | None:
    """A direction without its rise, of length 1; None where little is left."""
    flat = direction - (direction @ up) * up
    length = np.linalg.norm(flat)
    return flat / length if length > 0.2 else None
