"""A tiny drive as Waymo's release has it: a car in a coloured box, five cameras, two LiDARs, one tfrecord."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_train.preparing.tfrecords import encode_record
from mast3r_train.preparing.waymo_messages import message_classes

HALF = np.array([14.0, 11.0, 6.0])
"""Half the sides of the box, in metres; the car is in it."""

IMAGE_WH = (128, 86)
INTRINSICS = (110.0, 111.0, 62.3, 44.1, 0.03, -0.01, 0.001, 0.002, 0.0)
CAMERA_YAWS = (0, 45, -45, 90, -90)
BEAMS, COLUMNS = 80, 1500

OPENCV_AXES = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def rigid(euler: tuple[float, float, float], position: tuple[float, float, float]) -> np.ndarray:
    """From roll, pitch, yaw in degrees and a position."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", euler, degrees=True).as_matrix()
    matrix[:3, 3] = position
    return matrix


def vehicle_at(time: float) -> tuple[np.ndarray, np.ndarray]:
    """Roll, pitch, yaw in radians, and position, of the car."""
    return np.array([0.01 * time, 0.02, 0.15 * time]), np.array([4 * time - 3, 0.6 * time, -2.0])


def vehicle_pose(time: float) -> np.ndarray:
    euler, position = vehicle_at(time)
    return rigid(tuple(np.degrees(euler)), tuple(position))


def camera_extrinsic(camera: int) -> np.ndarray:
    """Camera (x forward) to vehicle."""
    return rigid((0.5, -1.0, CAMERA_YAWS[camera - 1]), (1.5, 0.1 * camera - 0.3, 2.0))


def cam2world(time: float, camera: int) -> np.ndarray:
    return vehicle_pose(time) @ camera_extrinsic(camera) @ np.linalg.inv(OPENCV_AXES)


def reach(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Multiples of the directions at which rays from inside meet the box."""
    with np.errstate(divide="ignore"):
        return ((np.sign(directions) * HALF - origins) / directions).min(-1)


def color_of(points: np.ndarray) -> np.ndarray:
    waves = np.stack(
        [np.sin(points @ (0.9 + 0.2 * k, 0.7 * k - 0.6, 1.1 - k) + k) for k in range(3)], axis=-1
    )
    return np.round(127.5 + 100 * waves).astype(np.uint8)


def photo_of(time: float, camera: int) -> bytes:
    fx, fy, cx, cy = INTRINSICS[:4]
    columns, rows = np.meshgrid(*(np.arange(side, dtype=float) for side in IMAGE_WH))
    rays = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones_like(rows)], axis=-1)
    pose = cam2world(time, camera)
    directions = rays @ pose[:3, :3].T
    points = pose[:3, 3] + reach(pose[:3, 3], directions)[..., None] * directions
    stream = io.BytesIO()
    Image.fromarray(color_of(points)).save(stream, format="JPEG", quality=95)
    return stream.getvalue()


def lidar_of(
    time: float, extrinsic: np.ndarray, inclinations: np.ndarray, *, moves: bool
) -> dict[str, np.ndarray]:
    """Ranges (beams, columns), camera projections, poses of the car, and the points seen, in the world.

    Columns go from straight behind over the car's left to its right, the highest beam is the first row.
    """
    azimuths = np.pi - (np.arange(COLUMNS) + 0.5) / COLUMNS * 2 * np.pi
    yaw = np.arctan2(extrinsic[1, 0], extrinsic[0, 0])
    azimuths = azimuths - yaw
    rays = np.stack(
        [
            np.cos(inclinations)[:, None] * np.cos(azimuths),
            np.cos(inclinations)[:, None] * np.sin(azimuths),
            np.tile(np.sin(inclinations)[:, None], COLUMNS),
        ],
        axis=-1,
    )
    times = time + ((np.arange(COLUMNS) + 0.5) / COLUMNS - 0.5) * 0.1 if moves else np.full(COLUMNS, time)
    ranges, points = np.empty(rays.shape[:2]), np.empty_like(rays)
    poses = np.empty((len(inclinations), COLUMNS, 6), np.float32)
    for column, moment in enumerate(times):
        poses[:, column] = np.concatenate(vehicle_at(moment))
        to_world = vehicle_pose(moment) @ extrinsic
        directions = rays[:, column] @ to_world[:3, :3].T
        ranges[:, column] = reach(to_world[:3, 3], directions)
        points[:, column] = to_world[:3, 3] + ranges[:, column, None] * directions
    ranges[:2, ::7] = -1  # no return
    return {"ranges": ranges, "projections": projections_of(points, time), "poses": poses, "points": points}


def projections_of(points: np.ndarray, time: float) -> np.ndarray:
    """The first camera that sees each point, and its pixel."""
    found = np.zeros((*points.shape[:2], 6), np.int32)
    fx, fy, cx, cy = INTRINSICS[:4]
    for camera in range(5, 0, -1):
        to_camera = np.linalg.inv(cam2world(time, camera))
        local = points @ to_camera[:3, :3].T + to_camera[:3, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = fx * local[..., 0] / local[..., 2] + cx, fy * local[..., 1] / local[..., 2] + cy
        inside = (local[..., 2] > 0.1) & (x > -0.5) & (y > -0.5)
        inside &= (x < IMAGE_WH[0] - 0.5) & (y < IMAGE_WH[1] - 0.5)
        found[inside, 0] = camera
        found[inside, 1], found[inside, 2] = np.round(x[inside]), np.round(y[inside])
    return found


def compressed(name: str, array: np.ndarray) -> bytes:
    message = message_classes()[name]()
    message.data.extend(array.ravel().tolist())
    message.shape.dims.extend(array.shape)
    return zlib.compress(message.SerializeToString(), 1)


def frame_message(time: float) -> Any:
    """A message ``Frame`` of the moment."""
    frame = message_classes()["Frame"]()
    frame.context.name = "drive"
    frame.pose.transform.extend(vehicle_pose(time).ravel())
    for camera in range(1, 6):
        image = frame.images.add(name=camera, image=photo_of(time, camera))
        image.pose.transform.extend(vehicle_pose(time).ravel())
        calibration = frame.context.camera_calibrations.add(
            name=camera, width=IMAGE_WH[0], height=IMAGE_WH[1]
        )
        calibration.intrinsic.extend(INTRINSICS)
        calibration.extrinsic.transform.extend(camera_extrinsic(camera).ravel())
    beams = np.radians(np.linspace(-24, 22, BEAMS) + 0.5 * np.sin(np.arange(BEAMS)))  # from the lowest on
    front = np.radians([-20.0, 10.0])
    lasers = (
        (2, rigid((1, 2, 10), (3.0, 0.2, 0.8)), front[0] + (np.arange(8) + 0.5) / 8 * (front[1] - front[0])),
        (1, rigid((0.3, -0.4, 148), (1.4, 0.0, 2.2)), beams),
    )
    for name, extrinsic, inclinations in lasers:
        calibration = frame.context.laser_calibrations.add(name=name)
        calibration.extrinsic.transform.extend(extrinsic.ravel())
        if name == 1:
            calibration.beam_inclinations.extend(inclinations)
        else:
            calibration.beam_inclination_min, calibration.beam_inclination_max = front
        seen = lidar_of(time, extrinsic, inclinations[::-1], moves=name == 1)
        more = np.zeros((*seen["ranges"].shape, 3))
        image = np.concatenate([seen["ranges"][..., None], more], axis=-1)
        returned = frame.lasers.add(name=name).ri_return1
        returned.range_image_compressed = compressed("MatrixFloat", image)
        returned.camera_projection_compressed = compressed("MatrixInt32", seen["projections"])
        if name == 1:
            returned.range_image_pose_compressed = compressed("MatrixFloat", seen["poses"])
    return frame


def write_drive(path: Path, times: tuple[float, ...]) -> None:
    """A tfrecord with one record per moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(encode_record(frame_message(time).SerializeToString()) for time in times))
