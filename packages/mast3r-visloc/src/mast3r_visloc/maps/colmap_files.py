"""Whether the files of a COLMAP model are whole.

COLMAP trusts the counts in its binary files: a file that was cut short makes it take all memory. So the
counts are followed here first, without reading what lies between.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

import pycolmap

from mast3r_model import InputError

NEEDED = ("cameras", "images", "points3D")
OF_RIGS = ("rigs", "frames")

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_POSE_BYTES, _SENSOR_BYTES = 7 * 8, 4 + 4
_POINT2D_BYTES, _TRACK_ELEMENT_BYTES = 2 * 8 + 8, 4 + 4
_IMAGE_START_BYTES = 4 + _POSE_BYTES + 4
_POINT3D_START_BYTES = 8 + 3 * 8 + 3 + 8


def model_suffix(folder: Path) -> str | None:
    """``.bin`` or ``.txt``: which whole COLMAP model a folder holds; the binary one if both."""
    for suffix in (".bin", ".txt"):
        if all((folder / f"{name}{suffix}").is_file() for name in NEEDED):
            return suffix
    return None


def check_model_files(folder: Path, suffix: str) -> None:
    """See that a COLMAP model's files belong together and, if binary, are whole.

    Raises:
        InputError: only one of ``rigs`` and ``frames`` is there, or a file was cut short or is none.
    """
    with_rigs = [name for name in OF_RIGS if (folder / f"{name}{suffix}").is_file()]
    if len(with_rigs) == 1:
        missing = next(name for name in OF_RIGS if name not in with_rigs)
        raise InputError(
            f"{folder} holds {with_rigs[0]}{suffix}, but no {missing}{suffix}", "copy the whole model again"
        )
    if suffix == ".bin":
        for name in (*NEEDED, *with_rigs):
            _check_whole(folder / f"{name}.bin", _SKIP[name])


Skip = Callable[[mmap.mmap, int], int]
"""From where a record starts to where the next does."""


def _check_whole(path: Path, skip: Skip) -> None:
    """Follow the records of a file to its end."""
    size = path.stat().st_size
    try:
        if size < _U64.size:
            raise IndexError
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            (count,) = _U64.unpack_from(content, 0)
            position = _U64.size
            for _ in range(count):
                position = skip(content, position)
                if position > size:
                    raise IndexError
    except (IndexError, struct.error):
        raise InputError(f"{path} is cut short, or no file of COLMAP", "copy the model again") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if position != size:
        raise InputError(
            f"{path} has {size - position} bytes more than its {count} entries", "copy the model again"
        )


def _after_camera(content: mmap.mmap, start: int) -> int:
    (model,) = struct.unpack_from("<i", content, start + 4)
    count = _PARAMETER_COUNT.get(model)
    if count is None:
        raise IndexError
    return start + 4 + 4 + 8 + 8 + 8 * count


def _after_image(content: mmap.mmap, start: int) -> int:
    end_of_name = content.find(b"\0", start + _IMAGE_START_BYTES)
    if end_of_name < 0:
        raise IndexError
    (points,) = _U64.unpack_from(content, end_of_name + 1)
    return end_of_name + 1 + _U64.size + int(points) * _POINT2D_BYTES


def _after_point3d(content: mmap.mmap, start: int) -> int:
    length_at = start + _POINT3D_START_BYTES
    (length,) = _U64.unpack_from(content, length_at)
    return length_at + _U64.size + int(length) * _TRACK_ELEMENT_BYTES


def _after_rig(content: mmap.mmap, start: int) -> int:
    (sensors,) = _U32.unpack_from(content, start + 4)
    position = start + 4 + 4
    for number in range(sensors):
        position += _SENSOR_BYTES
        if number > 0:  # the first one is the reference, whose pose is the rig's
            position += 1 + (_POSE_BYTES if content[position] else 0)
    return position


def _after_frame(content: mmap.mmap, start: int) -> int:
    count_at = start + 4 + 4 + _POSE_BYTES
    (count,) = _U32.unpack_from(content, count_at)
    return count_at + _U32.size + int(count) * (_SENSOR_BYTES + 8)


_SKIP: dict[str, Skip] = {
    "cameras": _after_camera,
    "images": _after_image,
    "points3D": _after_point3d,
    "rigs": _after_rig,
    "frames": _after_frame,
}
_PARAMETER_COUNT = {
    int(model): len(pycolmap.Camera.create_from_model_name(1, name, 1.0, 1, 1).params)
    for name, model in pycolmap.CameraModelId.__members__.items()
    if name != "INVALID"
}
