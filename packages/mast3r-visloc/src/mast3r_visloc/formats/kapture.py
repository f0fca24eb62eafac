"""Kapture folders: sensors, rigs, trajectories and records (spec 50 A3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from mast3r_model import InputError
from mast3r_visloc.formats.kapture_sensors import KaptureSensor, read_sensors
from mast3r_visloc.formats.lines import (
    Line,
    comma_fields,
    content_lines,
    finite_numbers,
    relative_name,
    whole_number,
)

DEEPEST_RIG = 10
_POSE = ("qw", "qx", "qy", "qz", "tx", "ty", "tz")

Matrix = Float64[np.ndarray, "4 4"]


@dataclass(frozen=True)
class KaptureRecord:
    """A file that a sensor recorded.

    Attributes:
        timestamp: when.
        sensor_id: which sensor.
        name: the file, relative to `Kapture.records_folder`; sure to stay inside.
    """

    timestamp: int
    sensor_id: str
    name: str


@dataclass(frozen=True, eq=False)
class Kapture:
    """What the text files of a kapture folder say; no photo or depth map is opened.

    Attributes:
        folder: the one that holds ``sensors/``.
        sensors: by id.
        photos: of all cameras: in the order of the first record of their timestamp, then of their sensor.
        depth_maps: of all depth sensors, in the same order.
        sensor_from_world: 4x4 float64 of sensors by (timestamp, sensor id), rigs resolved.
    """

    folder: Path
    sensors: Mapping[str, KaptureSensor]
    photos: tuple[KaptureRecord, ...]
    depth_maps: tuple[KaptureRecord, ...]
    sensor_from_world: Mapping[tuple[int, str], Matrix]

    @property
    def records_folder(self) -> Path:
        """Where the recorded files lie."""
        return self.folder / "sensors" / "records_data"

    def cam2world(self, record: KaptureRecord) -> Matrix | None:
        """4x4 float64, camera axes x right, y down, z forward; None if the pose is unknown."""
        pose = self.sensor_from_world.get((record.timestamp, record.sensor_id))
        return None if pose is None else np.linalg.inv(pose)


def is_kapture(folder: Path) -> bool:
    """Whether a folder is a kapture dataset."""
    return (folder / "sensors" / "sensors.txt").is_file()


def read_kapture(folder: Path) -> Kapture:
    """Read the text files of a kapture folder.

    Raises:
        InputError: no kapture folder, a newer version, or a line that breaks the format; names file and line.
    """
    if not is_kapture(folder):
        raise InputError(
            f"{folder} is no kapture folder: there is no {folder / 'sensors' / 'sensors.txt'}",
            "check the dataset's layout",
        )
    files = folder / "sensors"
    sensors = read_sensors(files / "sensors.txt")
    riders = _read_rigs(files / "rigs.txt", sensors)
    poses = _read_trajectories(files / "trajectories.txt", {*sensors, *riders})
    return Kapture(
        folder,
        sensors,
        _read_records(files / "records_camera.txt", _of_kind(sensors, "camera")),
        _read_records(files / "records_depth.txt", _of_kind(sensors, "depth")),
        _without_rigs(poses, riders, files / "rigs.txt"),
    )


def _of_kind(sensors: Mapping[str, KaptureSensor], kind: str) -> set[str]:
    return {sensor.sensor_id for sensor in sensors.values() if sensor.kind == kind}


def _optional_lines(path: Path) -> list[Line]:
    return list(content_lines(path)) if path.exists() else []


def _read_rigs(path: Path, sensors: Mapping[str, KaptureSensor]) -> dict[str, dict[str, Matrix]]:
    """Rig id -> id of each known device on it -> device from rig."""
    lines = [(line, comma_fields(line, "rig_id", "sensor_id", *_POSE)) for line in _optional_lines(path)]
    riders: dict[str, dict[str, Matrix]] = {fields[0]: {} for _, fields in lines}
    for line, (rig, device, *pose) in lines:
        if rig in sensors:
            raise InputError(f"{line.place}: {rig!r} is the id of a rig and of a sensor")
        device_from_rig = _pose(pose, line.place)
        if (device in sensors or device in riders) and device_from_rig is not None:
            riders[rig][device] = device_from_rig
    return riders


def _read_trajectories(path: Path, devices: set[str]) -> dict[tuple[int, str], Matrix]:
    """Device from world by (timestamp, device id); devices that are not known are left out."""
    poses = {}
    for line in _optional_lines(path):
        time, device, *fields = comma_fields(line, "timestamp", "device_id", *_POSE)
        timestamp = whole_number(time, "timestamp", line.place)
        pose = _pose(fields, line.place)
        if device in devices and pose is not None:
            poses[timestamp, device] = pose
    return poses


def _read_records(path: Path, sensor_ids: set[str]) -> tuple[KaptureRecord, ...]:
    """Grouped by timestamp, in the order in which the timestamps first appear."""
    records: dict[int, dict[str, KaptureRecord]] = {}
    names: set[str] = set()
    for line in _optional_lines(path):
        time, sensor_id, file = comma_fields(line, "timestamp", "device_id", "path")
        timestamp, name = whole_number(time, "timestamp", line.place), relative_name(file, line.place)
        if sensor_id not in sensor_ids:
            continue
        at_once = records.setdefault(timestamp, {})
        if sensor_id in at_once or name in names:
            raise InputError(
                f"{line.place}: a second record of {sensor_id!r} at {timestamp}, or of the file {name!r}"
            )
        at_once[sensor_id] = KaptureRecord(timestamp, sensor_id, name)
        names.add(name)
    return tuple(record for at_once in records.values() for record in at_once.values())


def _without_rigs(
    poses: dict[tuple[int, str], Matrix], riders: Mapping[str, Mapping[str, Matrix]], path: Path
) -> dict[tuple[int, str], Matrix]:
    """Hand every pose of a rig down to what rides on it, and on from there while that is a rig itself."""
    for _ in range(DEEPEST_RIG + 1):
        of_rigs = [key for key in poses if key[1] in riders]
        if not of_rigs:
            return poses
        for timestamp, rig in of_rigs:
            rig_from_world = poses.pop((timestamp, rig))
            for device, device_from_rig in riders[rig].items():
                poses[timestamp, device] = device_from_rig @ rig_from_world
    raise InputError(f"{path}: rigs contain one another in a circle, or more than {DEEPEST_RIG} deep")


def _pose(fields: list[str], place: str) -> Matrix | None:
    """The 4x4 of ``qw qx qy qz tx ty tz``; None where the rotation or the translation is left empty."""
    for part in (fields[:4], fields[4:]):
        if any(part) and not all(part):
            raise InputError(f"{place}: a rotation or translation is given in part: {', '.join(part)}")
    known = finite_numbers([field for field in fields if field], place)
    if len(known) < len(fields):
        return None
    w, x, y, z, *translation = known
    if w == x == y == z == 0:
        raise InputError(f"{place}: the quaternion is zero")
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    pose[:3, 3] = translation
    return pose
