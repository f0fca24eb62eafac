"""Focal length and pose of InLoc's cutouts, from the 3D that comes with every pixel (spec 50 A3.5, D8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from mast3r_model import InputError, atomic_write
from mast3r_visloc.formats import read_scan

from .contract import Placed
from .placing import read_lines

SAMPLES = 2000
LEAST_POINTS = 100
SCANS_MEASURED = 3
SCANS_TRIED = 20
HALF_VIEW_DEGREES = 30.0
"""The cutouts were rendered with 60 degrees across: where the search starts."""


@dataclass(frozen=True, eq=False)
class CutoutPoseJob:
    """A cutout whose pose is wanted.

    Attributes:
        scan: its ``.mat``.
        world_from_scan: 4x4.
    """

    scan: Path
    world_from_scan: Float[np.ndarray, "4 4"]


@dataclass(frozen=True, eq=False)
class _Resection:
    """The camera that sees a scan's points at their pixels."""

    focal: float
    scan2cam: Float[np.ndarray, "4 4"]


def measure_focal(scans: Sequence[Path], size_wh: tuple[int, int]) -> float:
    """Focal length in pixels of cutouts of one size: the median of a few scans with enough points.

    Args:
        scans: ``.mat`` files.
        size_wh: (width, height) of the cutouts.

    Raises:
        InputError: none of the first scans has enough points.
    """
    found: list[float] = []
    for scan in scans[:SCANS_TRIED]:
        resection = _resect(read_scan(scan), size_wh)
        if resection is not None:
            found.append(resection.focal)
        if len(found) == SCANS_MEASURED:
            break
    if not found:
        raise InputError(
            f"no focal length can be measured: too few 3D points in {scans[0]} and its neighbours"
        )
    return round(float(np.median(found)), 3)  # the solver's last digits differ from run to run


def write_cutout_pose(target: Path, job: CutoutPoseJob) -> Placed:
    """Write the pose of a cutout: ``qw qx qy qz tx ty tz``, camera from world; nothing if it is unknown.

    Raises:
        InputError: the scan cannot be read.
        OutputError: the target cannot be written.
    """
    points = read_scan(job.scan)
    resection = _resect(points, (points.shape[1], points.shape[0]))
    text = ""
    if resection is not None:
        # The alignment may scale by a hair; a camera must not.
        world2cam = resection.scan2cam @ np.linalg.inv(_rigid(job.world_from_scan))
        x, y, z, w = Rotation.from_matrix(world2cam[:3, :3]).as_quat(canonical=True)
        text = " ".join(repr(float(value)) for value in [w, x, y, z, *world2cam[:3, 3]])
    with atomic_write(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return "made"


def read_cutout_pose(path: Path) -> Float[np.ndarray, "4 4"] | None:
    """What `write_cutout_pose` wrote: camera from world; None if there is none."""
    values = [float(value) for line in (read_lines(path) if path.is_file() else []) for value in line.split()]
    if len(values) != 7:
        return None
    pose = np.eye(4)
    w, x, y, z = values[:4]
    pose[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    pose[:3, 3] = values[4:]
    return pose


def _resect(points: Float[np.ndarray, "h w 3"], size_wh: tuple[int, int]) -> _Resection | None:
    """The camera of a grid of points: principal point in the middle, no distortion; None with too few."""
    rows, columns = np.nonzero(np.isfinite(points).all(-1))
    if len(rows) < LEAST_POINTS:
        return None
    chosen = np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).astype(np.int64)
    rows, columns = rows[chosen], columns[chosen]
    width, height = size_wh
    focal = width / 2 / np.tan(np.radians(HALF_VIEW_DEGREES))
    camera = pycolmap.Camera.create_from_model_name(1, "SIMPLE_PINHOLE", focal, width, height)
    # The map's lists give width / 2 as an integer pixel's centre; COLMAP counts half a pixel more.
    camera.params = [focal, width / 2 + 0.5, height / 2 + 0.5]
    estimation = pycolmap.AbsolutePoseEstimationOptions()
    estimation.ransac.max_error = max(4.0, 0.05 * width)  # the focal length is a guess yet
    estimation.ransac.random_seed = 0
    refinement = pycolmap.AbsolutePoseRefinementOptions()
    refinement.refine_focal_length = True
    refinement.refine_extra_params = False
    found = pycolmap.estimate_and_refine_absolute_pose(
        np.stack([columns, rows], axis=1) + 0.5,
        points[rows, columns],
        camera,
        estimation,
        refinement,
    )
    if found is None or found["num_inliers"] < LEAST_POINTS:
        return None
    scan2cam = np.eye(4)
    scan2cam[:3] = found["cam_from_world"].matrix()
    return _Resection(float(camera.params[0]), scan2cam)


def _rigid(transform: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The nearest rotation and the translation of a transform."""
    rigid = np.eye(4)
    rigid[:3, :3] = Rotation.from_matrix(transform[:3, :3]).as_matrix()
    rigid[:3, 3] = transform[:3, 3]
    return rigid
