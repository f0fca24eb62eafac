"""The camera of a photo that was resized or turned by quarters (spec 50 D4)."""

from __future__ import annotations

import dataclasses
import math

from mast3r_model import InputError

from .camera import Camera

_DISTORTION_VECTORS = {
    "OPENCV": (("p2", "p1"),),
    "FULL_OPENCV": (("p2", "p1"),),
    "THIN_PRISM_FISHEYE": (("p2", "p1"), ("sx1", "sy1")),
    "RAD_TAN_THIN_PRISM_FISHEYE": (("p0", "p1"), ("s0", "s2"), ("s1", "s3")),
}
"""Coefficients that push pixels along x and along y: they turn with the photo. The others are radial."""


def scaled(camera: Camera, size_wh: tuple[int, int]) -> Camera:
    """The camera of the photo resized to `size_wh` = (width, height).

    Distortion does not change. A model with one focal length takes the mean of both sides' scales.

    Raises:
        InputError: a size below one pixel.
    """
    if min(size_wh) < 1:
        raise InputError(f"cannot resize a camera to {size_wh[0]}x{size_wh[1]} pixels")
    resized = camera.to_colmap()
    resized.rescale(*size_wh)
    return Camera.from_colmap(resized)


def turned(camera: Camera, quarter_turns: int) -> Camera:
    """The camera of the photo turned counter-clockwise, as `numpy.rot90` turns arrays.

    Its axes turn too: a point (x, y, z) of the old frame is (y, -x, z) after one turn.

    Args:
        camera: of the photo as it is.
        quarter_turns: by 90 degrees each; negative ones are clockwise.
    """
    for _ in range(quarter_turns % 4):
        camera = _turned_once(camera)
    return camera


def _turned_once(camera: Camera) -> Camera:
    names = [name.strip() for name in camera.to_colmap().params_info.split(",")]
    old = dict(zip(names, camera.params, strict=True))
    new = dict(old)
    if "fx" in old:
        new["fx"], new["fy"] = old["fy"], old["fx"]
    new["cx"], new["cy"] = old["cy"], camera.width - old["cx"]
    for along_x, along_y in _DISTORTION_VECTORS.get(camera.model, ()):
        new[along_x], new[along_y] = old[along_y], -old[along_x]
    return dataclasses.replace(
        camera, width=camera.height, height=camera.width, params=tuple(new[name] for name in names)
    )


def with_focal(camera: Camera, focal: float) -> Camera:
    """The camera with another focal length in pixels, along both axes.

    Raises:
        InputError: a focal length that is not positive.
    """
    if not (math.isfinite(focal) and focal > 0):
        raise InputError(f"a focal length must be a positive number of pixels, got {focal}")
    changed = list(camera.params)
    for index in camera.to_colmap().focal_length_idxs():
        changed[index] = focal
    return dataclasses.replace(camera, params=tuple(changed))
