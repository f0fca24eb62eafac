"""The Kinect's depth as its colour camera sees it, for 7-Scenes (spec 50 D8, trap 27)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt16

from mast3r_model import InputError
from mast3r_visloc.formats import write_depth

from .contract import Placed
from .placing import RawFile

SHAPE = (480, 640)
"""(height, width) of both cameras."""
DEPTH_FOCAL = 585.0
COLOUR_FOCAL = 525.0
CENTRE_XY = (320.0, 240.0)
"""Principal point of both, an integer being a pixel's centre."""
NO_RETURN = 65535
"""Of the depth PNGs, besides 0."""
COLOUR_FROM_DEPTH = np.array(
    [
        [0.99996518012567637, 0.0026765126468950343, -0.0079041012313000904, -0.025558943178152542],
        [-0.00274093112813167, 0.99996302803027592, -0.0081504520778013286, 0.00010109636268061706],
        [0.0078819942130445332, 0.0081718328771890631, 0.99993554558014031, 0.0020318321729487039],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""4x4 in metres, as kapture's release has it."""


@dataclass(frozen=True)
class Pinhole:
    """Focal lengths and principal point, in pixels; an integer is a pixel's centre."""

    fx: float
    fy: float
    cx: float
    cy: float


DEPTH_CAMERA = Pinhole(DEPTH_FOCAL, DEPTH_FOCAL, *CENTRE_XY)
COLOUR_CAMERA = Pinhole(COLOUR_FOCAL, COLOUR_FOCAL, *CENTRE_XY)

# kapture's importer takes the numbers (f, cx, cy, cy) of "f cx cy" for (fx, fy, cx, cy).
LEGACY_DEPTH_CAMERA = Pinhole(DEPTH_FOCAL, CENTRE_XY[0], CENTRE_XY[1], CENTRE_XY[1])
LEGACY_COLOUR_CAMERA = Pinhole(COLOUR_FOCAL, CENTRE_XY[0], CENTRE_XY[1], CENTRE_XY[1])


@dataclass(frozen=True)
class RegistrationJob:
    """A depth map to register.

    Attributes:
        source: the depth PNG.
        legacy: as kapture's importer does it.
    """

    source: RawFile
    legacy: bool


def write_registered_depth(target: Path, job: RegistrationJob) -> Placed:
    """Write ``*.depth.reg``: raw little-endian float32 metres, row by row, 0 = unknown (spec 50 A3.6).

    Raises:
        InputError: the PNG cannot be read, or is none of a Kinect.
        OutputError: the target cannot be written.
    """
    depth = read_depth_png(job.source)
    registered = register_depth_legacy(depth) if job.legacy else register_depth(depth)
    write_depth(target, registered)
    return "made"


def read_depth_png(source: RawFile) -> Float[np.ndarray, "480 640"]:
    """A depth PNG (millimetres) in metres, 0 where there is none.

    Raises:
        InputError: the PNG cannot be read, or is none of a Kinect.
    """
    try:
        millimetres = cv2.imdecode(np.frombuffer(source.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # an empty file
        millimetres = None
    if millimetres is None:
        raise InputError(f"cannot read {source}: it is no PNG", "download or unpack it again")
    if millimetres.dtype != np.uint16 or millimetres.shape != SHAPE:
        raise InputError(
            f"{source} is no depth map of 7-Scenes: expected 640x480 pixels of 16 bits, "
            f"got {millimetres.dtype} {millimetres.shape}"
        )
    return _metres(millimetres)


def _metres(millimetres: UInt16[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    return np.where(millimetres == NO_RETURN, 0, millimetres) / 1000.0


def register_depth(depth: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Depth of the colour camera's pixels: right intrinsics, the nearest surface wins, zeros are skipped.

    Args:
        depth: z in metres of the depth camera's pixels, 0 = unknown.

    Returns:
        z in metres in the colour camera's frame at the nearest pixel, 0 = unknown.
    """
    rows, columns = np.nonzero(depth > 0)
    lifted = _lift(columns, rows, depth[rows, columns], DEPTH_CAMERA)
    x, y, z, seen = _project(lifted, COLOUR_CAMERA, depth.shape)
    registered = np.full(depth.shape, np.inf)
    np.minimum.at(registered, (y[seen], x[seen]), z[seen])
    registered[np.isinf(registered)] = 0
    return registered.astype(np.float32)


def register_depth_legacy(depth: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """The same as kapture's importer does it: wrong intrinsics, later pixels (row by row) overwrite.

    Args:
        depth: z in metres of the depth camera's pixels, 0 = unknown.

    Returns:
        As `register_depth`, up to 8 px off in x and 25 px in y.
    """
    rows, columns = (index.ravel() for index in np.indices(depth.shape))
    lifted = _lift(columns, rows, depth.ravel(), LEGACY_DEPTH_CAMERA)
    x, y, z, seen = _project(lifted, LEGACY_COLOUR_CAMERA, depth.shape)
    registered = np.zeros(depth.shape)
    registered[y[seen], x[seen]] = z[seen]  # of equal pixels numpy keeps the last
    return registered.astype(np.float32)


def _lift(
    x: Int[np.ndarray, " n"], y: Int[np.ndarray, " n"], z: Float[np.ndarray, " n"], camera: Pinhole
) -> Float[np.ndarray, "n 3"]:
    return np.stack([(x - camera.cx) * z / camera.fx, (y - camera.cy) * z / camera.fy, z], axis=1)


def _project(
    points: Float[np.ndarray, "n 3"], camera: Pinhole, shape: tuple[int, ...]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Pixels and depth in the colour camera of points in the depth camera's frame, and which are in view."""
    x, y, z = (points @ COLOUR_FROM_DEPTH[:3, :3].T + COLOUR_FROM_DEPTH[:3, 3]).T
    safe = np.where(z > 0, z, np.nan)
    with np.errstate(invalid="ignore"):
        u = np.rint(camera.fx * x / safe + camera.cx)  # half to even
        v = np.rint(camera.fy * y / safe + camera.cy)
        seen = (u >= 0) & (u < shape[1]) & (v >= 0) & (v < shape[0])  # False for NaN
    u, v = (np.where(seen, value, 0).astype(np.int64) for value in (u, v))
    return u, v, z, seen
