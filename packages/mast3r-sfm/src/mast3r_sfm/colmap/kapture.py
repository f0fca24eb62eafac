"""Photos, cameras and poses of a kapture folder (spec 50 A3), as far as mapping needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from mast3r_model import InputError

PHOTOS_FOLDER = Path("sensors") / "records_data"
UNKNOWN = "UNKNOWN_CAMERA"
NEWEST = 1.1
DEEPEST_RIG = 10


@dataclass(frozen=True, eq=False)
class KapturePhoto:
    """A photo of a kapture folder.

    Attributes:
        name: relative to ``sensors/records_data``.
        sensor: id of its camera; photos of one sensor share it.
        calibration: of that camera, in COLMAP's terms; None if it is unknown.
        cam2world: 4x4 float64; None if it is unknown.
    """

    name: str
    sensor: str
    calibration: pycolmap.Camera | None
    cam2world: Float[np.ndarray, "4 4"] | None


def is_kapture(folder: Path) -> bool:
    """Whether a folder is a kapture dataset with photos."""
    return all((folder / "sensors" / f"{name}.txt").is_file() for name in ("sensors", "records_camera"))


def read_kapture(folder: Path) -> tuple[KapturePhoto, ...]:
    """Read the list of photos with cameras and poses; the photos themselves are not opened.

    Returns:
        All photos of cameras, in the order of time, then of sensors, as they first appear.

    Raises:
        InputError: it is no kapture folder, of a newer version, or a line cannot be read.
    """
    if not is_kapture(folder):
        raise InputError(
            f"{folder} is no kapture folder", "expected sensors/sensors.txt and sensors/records_camera.txt"
        )
    sensors = folder / "sensors"
    _check_version(sensors / "sensors.txt")
    cameras = _cameras(sensors / "sensors.txt")
    poses = _sensor_poses(sensors)
    records: dict[int, list[KapturePhoto]] = {}
    for place, fields in _lines(sensors / "records_camera.txt", least=3):
        time, sensor, name = _integer(fields[0], place), fields[1], fields[2]
        if sensor in cameras:
            sensor2world = poses.get((time, sensor))
            records.setdefault(time, []).append(KapturePhoto(name, sensor, cameras[sensor], sensor2world))
    photos = tuple(photo for at_once in records.values() for photo in at_once)
    if len({photo.name for photo in photos}) != len(photos):
        raise InputError(f"{sensors / 'records_camera.txt'} lists a photo twice")
    return photos


def _lines(path: Path, least: int) -> list[tuple[str, list[str]]]:
    """The fields of every line with where it stands; a file that is not there has none."""
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            fields = [field.strip() for field in line.split(",")]
            place = f"{path}, line {number}"
            if len(fields) < least:
                raise InputError(f"{place}: expected {least} fields or more, got {line.strip()!r}")
            found.append((place, fields))
    return found


def _check_version(path: Path) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline().strip()
    prefix = "# kapture format:"
    try:
        version = float(first.removeprefix(prefix)) if first.startswith(prefix) else np.nan
    except ValueError:
        version = np.nan
    if not version <= NEWEST:
        raise InputError(f"{path} begins with {first!r}", f"expected '{prefix} X.Y', at most {NEWEST}")


def _cameras(path: Path) -> dict[str, pycolmap.Camera | None]:
    """Every camera by its id; other sensors are left out."""
    cameras: dict[str, pycolmap.Camera | None] = {}
    for place, fields in _lines(path, least=3):
        if fields[2] == "camera":
            cameras[fields[0]] = _camera(fields[3:], place)
    return cameras


def _camera(fields: list[str], place: str) -> pycolmap.Camera | None:
    """kapture's models are COLMAP's, and so are its pixels."""
    if len(fields) < 3:
        raise InputError(f"{place}: expected a camera model, width, height and parameters")
    model, (width, height, *params) = fields[0], _numbers(fields[1:], place)
    if model == UNKNOWN:
        return None
    try:
        camera = pycolmap.Camera.create_from_model_name(1, model, 1.0, int(width), int(height))
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{place}: unknown camera model {model!r}") from error
    if len(camera.params) != len(params):
        raise InputError(f"{place}: {model} has {len(camera.params)} parameters, got {len(params)}")
    camera.params = params
    camera.has_prior_focal_length = True
    return camera


def _sensor_poses(sensors: Path) -> Mapping[tuple[int, str], Float[np.ndarray, "4 4"]]:
    """cam2world of sensors by time, those that ride on rigs included."""
    riders: dict[str, list[tuple[str, np.ndarray]]] = {}
    for place, fields in _lines(sensors / "rigs.txt", least=9):
        sensor_from_rig = _pose(fields[2:9], place)
        if sensor_from_rig is not None:
            riders.setdefault(fields[0], []).append((fields[1], sensor_from_rig))
    world2device = {}
    for place, fields in _lines(sensors / "trajectories.txt", least=9):
        pose = _pose(fields[2:9], place)
        if pose is not None:
            world2device[_integer(fields[0], place), fields[1]] = pose
    for _ in range(DEEPEST_RIG):
        rigs = [key for key in world2device if key[1] in riders]
        for time, rig in rigs:
            world2rig = world2device.pop((time, rig))
            for sensor, sensor_from_rig in riders[rig]:
                world2device[time, sensor] = sensor_from_rig @ world2rig
    return {key: np.linalg.inv(pose) for key, pose in world2device.items()}


def _pose(fields: list[str], place: str) -> Float[np.ndarray, "4 4"] | None:
    """The 4x4 of ``qw qx qy qz tx ty tz``; None where a part is left empty."""
    if not all(fields):
        return None
    w, x, y, z, *translation = _numbers(fields, place)
    if w == x == y == z == 0:
        raise InputError(f"{place}: the quaternion is zero")
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    pose[:3, 3] = translation
    return pose


def _numbers(fields: list[str], place: str) -> list[float]:
    try:
        numbers = [float(field) for field in fields]
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
    if not np.isfinite(numbers).all():
        raise InputError(f"{place}: a number is not finite")
    return numbers


def _integer(field: str, place: str) -> int:
    try:
        return int(field)
    except ValueError:
        raise InputError(f"{place}: the timestamp {field!r} is no whole number") from None
