"""The camera of a frame of nerfstudio's ``transforms.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera

_FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")
_PERSPECTIVE = (
    "OPENCV",
    "PERSPECTIVE",
    "PINHOLE",
    "SIMPLE_PINHOLE",
    "SIMPLE_RADIAL",
    "RADIAL",
    "FULL_OPENCV",
)


def frame_camera(frame: Mapping[str, Any], file_shape: tuple[int, int]) -> Camera:
    """The camera of a frame.

    Args:
        frame: its keys, those of the whole file included: ``camera_model``, ``w``, ``h``, ``fl_x`` (``fl_y``)
            or ``camera_angle_x``, ``cx``, ``cy``, ``k1`` to ``k4``, ``p1``, ``p2``.
        file_shape: (height, width) of the photo, where the frame does not say.

    Raises:
        InputError: a model that is not known here, no focal length, or a number that is none.
    """
    model = str(frame.get("camera_model", "OPENCV")).upper()
    if model not in (*_FISHEYE, *_PERSPECTIVE):
        raise InputError(f"unknown camera_model {model!r}", "known: OPENCV, PINHOLE, OPENCV_FISHEYE")
    try:
        numbers = {name: float(frame[name]) for name in _NUMBERS if frame.get(name) is not None}
    except (TypeError, ValueError) as error:
        raise InputError(f"the camera is no list of numbers: {error}") from None
    width, height = numbers.get("w", file_shape[1]), numbers.get("h", file_shape[0])
    if width % 1 or height % 1:
        raise InputError(f"the size must be whole numbers of pixels, got {width} x {height}")
    focal_x, focal_y = _focals(numbers, width, height)
    basic = (focal_x, focal_y, numbers.get("cx", width / 2), numbers.get("cy", height / 2))
    kind, distortion = _distortion(numbers, fisheye=model in _FISHEYE)
    return Camera(kind, int(width), int(height), (*basic, *distortion))


_NUMBERS = (
    *("w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y"),
    *("k1", "k2", "k3", "k4", "p1", "p2"),
)


def _focals(numbers: Mapping[str, float], width: float, height: float) -> tuple[float, float]:
    def focal(name: str, angle: str, side: float) -> float | None:
        if name in numbers:
            return numbers[name]
        return side / 2 / math.tan(numbers[angle] / 2) if numbers.get(angle) else None

    along_x = focal("fl_x", "camera_angle_x", width)
    along_y = focal("fl_y", "camera_angle_y", height)
    along_x, along_y = along_x or along_y, along_y or along_x
    if along_x is None or along_y is None:
        raise InputError("there is neither fl_x nor camera_angle_x")
    return along_x, along_y


def _distortion(numbers: Mapping[str, float], *, fisheye: bool) -> tuple[str, tuple[float, ...]]:
    """COLMAP's model and its distortion parameters."""
    k1, k2, k3, k4, p1, p2 = (numbers.get(name, 0.0) for name in ("k1", "k2", "k3", "k4", "p1", "p2"))
    if fisheye:
        return "OPENCV_FISHEYE", (k1, k2, k3, k4)
    if k4:
        raise InputError(
            "k4 of a perspective camera is a term that COLMAP's models lack", "undistort the photos first"
        )
    if k3:
        return "FULL_OPENCV", (k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)
    return ("OPENCV", (k1, k2, p1, p2)) if any((k1, k2, p1, p2)) else ("PINHOLE", ())
