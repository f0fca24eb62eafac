"""Sensors of a kapture folder: ``sensors/sensors.txt`` (spec 50 A3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera, PixelConvention
from mast3r_visloc.formats.lines import content_lines, finite_numbers
from mast3r_visloc.reasons import reason

UNKNOWN = "UNKNOWN_CAMERA"
NEWEST = 1.1
_VERSION = "# kapture format:"
_PARAMETERS = {
    UNKNOWN: "",
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k",
    "SIMPLE_RADIAL_FISHEYE": "f cx cy k",
    "RADIAL": "f cx cy k1 k2",
    "RADIAL_FISHEYE": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
    "FOV": "fx fy cx cy omega",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
    "THIN_PRISM_FISHEYE": "fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sx2",
}


@dataclass(frozen=True)
class KaptureSensor:
    """A camera, a depth sensor, or something else that rides along.

    Attributes:
        sensor_id: unique in its folder.
        name: for people; may be empty.
        kind: ``camera``, ``depth``, or what else the file says.
        model: COLMAP's name of the camera model or ``UNKNOWN_CAMERA``; empty for other kinds.
        width: in pixels; 0 for other kinds.
        height: in pixels; 0 for other kinds.
        params: in COLMAP's order. What pixel the principal point means is the dataset's convention.
    """

    sensor_id: str
    name: str
    kind: str
    model: str = ""
    width: int = 0
    height: int = 0
    params: tuple[float, ...] = ()

    def camera(self, pixels: PixelConvention) -> Camera | None:
        """The camera, None if it is unknown.

        Args:
            pixels: what the principal point in this dataset means.

        Raises:
            InputError: the parameters make no camera.
        """
        if self.model in ("", UNKNOWN):
            return None
        return Camera.from_sensor(self.model, (self.width, self.height), self.params, pixels)


def read_sensors(path: Path) -> dict[str, KaptureSensor]:
    """Read ``sensors.txt``.

    Returns:
        The sensors by id, in the file's order.

    Raises:
        InputError: no or a newer version, an unknown model, a wrong count of numbers, an id given twice.
    """
    _check_version(path)
    sensors: dict[str, KaptureSensor] = {}
    for line in content_lines(path):
        fields = [field.strip() for field in line.text.split(",")]
        if len(fields) < 3:
            raise InputError(f"{line.place}: expected 'sensor_id, name, sensor_type, params...'")
        sensor_id, name, kind, *params = fields
        if sensor_id in sensors:
            raise InputError(f"{line.place}: the sensor {sensor_id!r} is given twice")
        if kind in ("camera", "depth"):
            sensors[sensor_id] = _image_sensor(sensor_id, name, kind, params, line.place)
        else:
            sensors[sensor_id] = KaptureSensor(sensor_id, name, kind)
    return sensors


def _check_version(path: Path) -> None:
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {reason(error)}", "expected a kapture folder") from None
    try:
        version = float(first.removeprefix(_VERSION)) if first.startswith(_VERSION) else float("nan")
    except ValueError:
        version = float("nan")
    if not version <= NEWEST:
        raise InputError(
            f"{path}, line 1: expected '{_VERSION} X.Y' with X.Y at most {NEWEST}, got {first!r}"
        )


def _image_sensor(sensor_id: str, name: str, kind: str, fields: list[str], place: str) -> KaptureSensor:
    model = fields[0] if fields else ""
    if model not in _PARAMETERS:
        raise InputError(
            f"{place}: unknown camera model {model!r}", f"kapture's models: {', '.join(_PARAMETERS)}"
        )
    expected = ["w", "h", *_PARAMETERS[model].split()]
    if len(fields) - 1 != len(expected):
        raise InputError(
            f"{place}: {model} needs {len(expected)} numbers ({' '.join(expected)}), got {len(fields) - 1}"
        )
    width, height, *params = finite_numbers(fields[1:], place)
    if width < 1 or height < 1 or width % 1 or height % 1:
        raise InputError(f"{place}: the size must be whole numbers of pixels, got {width} x {height}")
    return KaptureSensor(sensor_id, name, kind, model, int(width), int(height), tuple(params))
