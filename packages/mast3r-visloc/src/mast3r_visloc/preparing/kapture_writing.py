"""Writing the kapture lists that the dataset classes read (spec 50 A3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from .placing import write_lines

VERSION = "# kapture format: 1.1"
POSE_FIELDS = "qw, qx, qy, qz, tx, ty, tz"


@dataclass(frozen=True)
class KaptureSensor:
    """A camera or depth camera.

    Attributes:
        sensor: its id.
        model: COLMAP's name of the camera model.
        size_wh: (width, height) in pixels.
        params: in COLMAP's order; what the principal point means is the dataset class's convention.
        kind: kapture's sensor type.
        name: may be empty.
    """

    sensor: str
    model: str
    size_wh: tuple[int, int]
    params: tuple[float, ...]
    kind: Literal["camera", "depth"] = "camera"
    name: str = ""


@dataclass(frozen=True, eq=False)
class DevicePose:
    """Where a device was, or how a sensor sits in a rig.

    Attributes:
        key: timestamp, or id of the rig.
        device: id of the sensor or rig.
        device_from: 4x4, device from world, or sensor from rig.
    """

    key: int | str
    device: str
    device_from: Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class KaptureRecord:
    """A file that a sensor made.

    Attributes:
        timestamp: when.
        sensor: id.
        path: relative to ``sensors/records_data``.
    """

    timestamp: int
    sensor: str
    path: str


@dataclass(frozen=True)
class KaptureLists:
    """All lists of a kapture folder.

    Attributes:
        sensors: cameras and depth cameras.
        photos: in their order.
        poses: of sensors or rigs; may be empty.
        rigs: may be empty.
        depth: may be empty.
    """

    sensors: Sequence[KaptureSensor]
    photos: Sequence[KaptureRecord]
    poses: Sequence[DevicePose] = ()
    rigs: Sequence[DevicePose] = ()
    depth: Sequence[KaptureRecord] = ()


def write_kapture(folder: Path, lists: KaptureLists) -> list[Path]:
    """Write ``sensors/*.txt``; ``sensors.txt``, which makes it a kapture folder, comes last.

    Rigs and depth get a file only if there are any; poses always, since readers expect it.

    Returns:
        The files that were not there with this content.

    Raises:
        OutputError: a file cannot be written.
    """
    sensors = folder / "sensors"
    photo_fields, depth_fields = "timestamp, device_id, image_path", "timestamp, device_id, depth_map_path"
    rows: dict[str, tuple[str, list[str]]] = {
        "records_camera": (photo_fields, [_record(photo) for photo in lists.photos]),
        "trajectories": (f"timestamp, device_id, {POSE_FIELDS}", [_pose(pose) for pose in lists.poses]),
    }
    if lists.depth:
        rows["records_depth"] = depth_fields, [_record(record) for record in lists.depth]
    if lists.rigs:
        rows["rigs"] = f"rig_id, sensor_id, {POSE_FIELDS}", [_pose(pose) for pose in lists.rigs]
    fields = "sensor_id, name, sensor_type, [sensor_params]+"
    rows["sensors"] = fields, [_sensor(sensor) for sensor in lists.sensors]
    written: list[Path] = []
    for name, (header, lines) in rows.items():
        written += write_lines(sensors / f"{name}.txt", [VERSION, f"# {header}", *lines])
    return written


def _sensor(sensor: KaptureSensor) -> str:
    numbers = [str(length) for length in sensor.size_wh] + [repr(float(value)) for value in sensor.params]
    return ", ".join([sensor.sensor, sensor.name, sensor.kind, sensor.model, *numbers])


def _record(record: KaptureRecord) -> str:
    return f"{record.timestamp}, {record.sensor}, {record.path}"


def _pose(pose: DevicePose) -> str:
    x, y, z, w = Rotation.from_matrix(pose.device_from[:3, :3]).as_quat(canonical=True)
    numbers = [w, x, y, z, *pose.device_from[:3, 3]]
    return ", ".join([str(pose.key), pose.device, *(repr(float(value)) for value in numbers)])
