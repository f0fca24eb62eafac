"""Trajectories of ARKitScenes: reading, interpolation, which way the tablet was held (spec 41 section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import Enum
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from mast3r_model import InputError
from mast3r_train.datasets.files import load_text_lines

from .extras import import_extra

_MILLISECOND = Decimal("0.001")
_LARGEST_TILT = 45.0


class Sky(Enum):
    """Which side of the images is up in the world; the value is how `sky_direction_scene` says it."""

    UP = "UP"
    LEFT = "LEFT"
    RIGHT = "RIGHT"
    DOWN = "DOWN"

    @property
    def clockwise_turns(self) -> int:
        """Quarter turns of an image that put its upper side up."""
        return {Sky.UP: 0, Sky.LEFT: 1, Sky.DOWN: 2, Sky.RIGHT: 3}[self]

    @property
    def turned_to_camera(self) -> Float[np.ndarray, "4 4"]:
        """From the camera of the turned image to the one that took it."""
        turn = np.eye(4)
        degrees = {Sky.UP: 0, Sky.LEFT: 90, Sky.RIGHT: -90, Sky.DOWN: 180}[self]
        turn[:3, :3] = Rotation.from_euler("z", -degrees, degrees=True).as_matrix().round(12)
        return turn


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses of a video.

    Attributes:
        times: (n,) seconds, rising, in whole milliseconds.
        cam2world: (n, 4, 4) metres, world with z up.
    """

    times: Float[np.ndarray, " n"]
    cam2world: Float[np.ndarray, "n 4 4"]

    def at(self, times: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m 4 4"]:
        """Poses at other times: positions on straight lines, rotations by spherical quadrangles.

        Args:
            times: seconds, within those of the trajectory.

        Raises:
            InputError: numpy-quaternion is not installed.
        """
        quaternion = import_extra("quaternion", extra="prepare", purpose="preparing ARKitScenes")
        rotors = quaternion.unflip_rotors(quaternion.from_rotation_matrix(self.cam2world[:, :3, :3]))
        poses = np.tile(np.eye(4), (len(times), 1, 1))
        poses[:, :3, :3] = quaternion.as_rotation_matrix(quaternion.squad(rotors, self.times, times))
        for axis in range(3):
            poses[:, axis, 3] = np.interp(times, self.times, self.cam2world[:, axis, 3])
        return poses

    def covers(self, time: float) -> bool:
        """Whether a time lies within the trajectory."""
        return bool(self.times[0] <= time <= self.times[-1])

    def sky(self) -> Sky:
        """Which side of the images is up, from all poses.

        Raises:
            InputError: the tablet was held askew all the time, or looked straight up or down.
        """
        up, right = -self.cam2world[:, :3, 1].mean(0), self.cam2world[:, :3, 0].mean(0)
        tilt_of_up, tilt_of_right = _angle_to_z(up) - 90, _angle_to_z(right) - 90
        if min(abs(tilt_of_up), abs(tilt_of_right)) >= _LARGEST_TILT:
            raise InputError(
                f"no side of the images is up: their upper side points {tilt_of_up:.0f} degrees below the "
                f"horizon, their right side {tilt_of_right:.0f}"
            )
        if abs(tilt_of_up) < abs(tilt_of_right):
            return Sky.LEFT if tilt_of_right > 0 else Sky.RIGHT
        return Sky.DOWN if tilt_of_up > 0 else Sky.UP


def to_milliseconds(text: str) -> float:
    """Seconds, rounded half up to milliseconds.

    Raises:
        ValueError: the text is no number.
    """
    try:
        return float(Decimal(text).quantize(_MILLISECOND, ROUND_HALF_UP))
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no time in seconds") from error


def read_trajectory(path: Path) -> Trajectory:
    """``lowres_wide.traj``: lines of time, axis times angle, translation; world to camera.

    Raises:
        InputError: missing, or no such file.
    """
    times, rows = [], []
    for number, line in enumerate(load_text_lines(path), start=1):
        parts = line.split()
        try:
            times.append(to_milliseconds(parts[0]))
            rows.append([float(part) for part in parts[1:]])
            if len(rows[-1]) != 6 or not np.isfinite(rows[-1]).all():
                raise ValueError(f"{len(rows[-1])} numbers")
        except ValueError as error:
            raise InputError(f"{path}, line {number}: expected a time and 6 numbers, got {line!r}") from error
    if len(rows) < 2:
        raise InputError(f"{path}: expected 2 poses or more, got {len(rows)}")
    if (np.diff(times) <= 0).any():
        raise InputError(f"{path}: times do not rise")
    values = np.array(rows)
    cam2world = np.tile(np.eye(4), (len(rows), 1, 1))
    cam2world[:, :3, :3] = Rotation.from_rotvec(values[:, :3]).as_matrix().transpose(0, 2, 1)
    cam2world[:, :3, 3] = -(cam2world[:, :3, :3] @ values[:, 3:, None])[..., 0]
    return Trajectory(np.array(times), cam2world)


def _angle_to_z(direction: Float[np.ndarray, " 3"]) -> float:
    return float(np.degrees(np.arccos(np.clip(direction[2] / np.linalg.norm(direction), -1, 1))))
