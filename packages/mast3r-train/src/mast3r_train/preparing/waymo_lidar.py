"""From Waymo's LiDAR range images to points (spec 41 section 9).

A row of a range image is a beam, a column a direction around the laser. Computed in float64; Waymo's own
functions compute in float32 (compared with them run on NumPy: they agree to float32's precision).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from mast3r_model import InputError

from .waymo_messages import decode

TOP = 1
"""The laser on the roof: slow enough that the car moves while it turns; each pixel has a pose of the car."""


@dataclass(frozen=True, eq=False)
class LidarPoints:
    """First returns of all lasers.

    Attributes:
        points: (n, 3) metres, in the vehicle's frame (x forward, y left, z up) at the frame's pose.
        projections: (n, 6) camera, x, y of two images that show the point; camera 0: none.
    """

    points: Float[np.ndarray, "n 3"]
    projections: Int[np.ndarray, "n 6"]


def lidar_points(frame: Any, where: str) -> LidarPoints:
    """The points of a frame, lasers by number, each row by row.

    Args:
        frame: message ``Frame``.
        where: what errors call it.

    Raises:
        InputError: a laser's data are missing or broken.
    """
    lasers = {laser.name: laser for laser in frame.lasers}
    vehicle_to_world = matrix_of(frame.pose, where)
    points, projections = [], []
    for calibration in sorted(frame.context.laser_calibrations, key=lambda each: each.name):
        at = f"{where}, laser {calibration.name}"
        if calibration.name not in lasers:
            raise InputError(f"{at}: no range image")
        image = lasers[calibration.name].ri_return1
        ranges = _matrix("MatrixFloat", image.range_image_compressed, f"{at}, range image")[..., 0]
        projection = _matrix("MatrixInt32", image.camera_projection_compressed, f"{at}, camera projections")
        if projection.shape != (*ranges.shape, 6):
            raise InputError(f"{at}: camera projections {projection.shape} of a range image {ranges.shape}")
        extrinsic = matrix_of(calibration.extrinsic, at)
        in_vehicle = transform(
            extrinsic,
            _in_laser(ranges.astype(np.float64), _inclinations(calibration, ranges.shape[0], at), extrinsic),
        )
        if calibration.name == TOP:
            poses = _matrix("MatrixFloat", image.range_image_pose_compressed, f"{at}, poses").astype(
                np.float64
            )
            if poses.shape != (*ranges.shape, 6):
                raise InputError(f"{at}: poses {poses.shape} of a range image {ranges.shape}")
            in_vehicle = _unmoved(in_vehicle, poses, vehicle_to_world)
        is_there = ranges > 0
        points.append(in_vehicle[is_there])
        projections.append(projection[is_there])
    if not points:
        raise InputError(f"{where}: no laser")
    return LidarPoints(np.concatenate(points), np.concatenate(projections).astype(np.int64))


def matrix_of(message: Any, where: str) -> Float[np.ndarray, "4 4"]:
    """The matrix of a message ``Transform``.

    Raises:
        InputError: it has not 16 numbers.
    """
    if len(message.transform) != 16:
        raise InputError(f"{where}: a transform has {len(message.transform)} numbers, expected 16")
    return np.array(message.transform, dtype=np.float64).reshape(4, 4)


def transform(
    matrix: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "*n 3"]
) -> Float[np.ndarray, "*n 3"]:
    """Points in another frame."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _in_laser(
    ranges: Float[np.ndarray, "h w"],
    inclinations: Float[np.ndarray, " h"],
    extrinsic: Float[np.ndarray, "4 4"],
) -> Float[np.ndarray, "h w 3"]:
    width = ranges.shape[1]
    # Columns go round from behind the car, against the sun; the laser's own turn in the car is taken off.
    turn = (2 * (width - 0.5 - np.arange(width)) / width - 1) * np.pi
    azimuth = turn - np.arctan2(extrinsic[1, 0], extrinsic[0, 0])
    flat = np.cos(inclinations)[:, None] * ranges
    return np.stack(
        [np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(inclinations)[:, None] * ranges], axis=-1
    )


def _inclinations(calibration: Any, height: int, where: str) -> Float[np.ndarray, " h"]:
    """Radians of the rows, the highest beam first; stored from the lowest on, or as a range."""
    stored = np.array(calibration.beam_inclinations, dtype=np.float64)
    if not len(stored):
        lowest, highest = calibration.beam_inclination_min, calibration.beam_inclination_max
        stored = lowest + (np.arange(height) + 0.5) / height * (highest - lowest)
    if len(stored) != height:
        raise InputError(f"{where}: {len(stored)} beams, but a range image of {height} rows")
    return stored[::-1]


def _unmoved(
    in_vehicle: Float[np.ndarray, "h w 3"],
    poses: Float[np.ndarray, "h w 6"],
    vehicle_to_world: Float[np.ndarray, "4 4"],
) -> Float[np.ndarray, "h w 3"]:
    """From where the car was at each pixel (roll, pitch, yaw, position) to the frame's pose."""
    turns = Rotation.from_euler("xyz", poses[..., :3].reshape(-1, 3))  # roll first, all about fixed axes
    in_world = turns.apply(in_vehicle.reshape(-1, 3)) + poses[..., 3:].reshape(-1, 3)
    return transform(np.linalg.inv(vehicle_to_world), in_world).reshape(in_vehicle.shape)


def _matrix(name: str, compressed: bytes, where: str) -> np.ndarray:
    try:
        content = zlib.decompress(compressed)
    except zlib.error as error:
        raise InputError(f"{where} cannot be decompressed: {error}") from error
    message = decode(name, content, where)
    dims, data = tuple(message.shape.dims), np.array(message.data)
    if len(dims) != 3 or int(np.prod(dims)) != len(data):
        raise InputError(f"{where}: {len(data)} numbers do not fill {dims}")
    return data.reshape(dims)
