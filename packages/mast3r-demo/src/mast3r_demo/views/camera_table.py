"""The cameras as a table, for the page and as CSV (spec 60 D2)."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mast3r_model import atomic_write

if TYPE_CHECKING:
    from jaxtyping import Float

    from mast3r_sfm import Scene, SceneImage

CAMERA_COLUMNS = (
    "photo",
    "focal (px)",
    "x",
    "y",
    "z",
    "yaw (°)",
    "pitch (°)",
    "roll (°)",
    "mean confidence",
    "error (px)",
    "group",
)
"""Headings of `camera_rows`."""

CSV_COLUMNS = (
    *("photo", "file", "group", "width", "height", "fx", "fy", "cx", "cy", "x", "y", "z"),
    *("yaw_deg", "pitch_deg", "roll_deg", "qw", "qx", "qy", "qz", "mean_confidence", "reprojection_error_px"),
)


def camera_rows(scene: Scene, names: Mapping[str, str] | None = None) -> list[list[str | float | int | None]]:
    """One row for each placed photo, under `CAMERA_COLUMNS`.

    Focal length and errors are in pixels of the photos; the centre is in world units. Yaw turns to the right,
    pitch up, roll clockwise as seen by the camera, applied in this order to a camera that looks along the
    world's z with its y down. The error is the mean distance of the photo's sparse points from where they
    project to, None where it has none.

    Args:
        scene: whole.
        names: what to call files, by `SceneImage.name`'s last part; others are called by their names.
    """
    errors = _errors(scene)
    rows: list[list[str | float | int | None]] = []
    for image, error in zip(scene.images, errors, strict=True):
        centre = [round(float(value), 3) for value in image.cam2world[:3, 3]]
        angles = [round(angle, 1) + 0.0 for angle in yaw_pitch_roll(image.cam2world)]
        rows.append(
            [
                shown_name(image.name, names),
                round(float(image.intrinsics[0, 0]), 1),
                *centre,
                *angles,
                float(f"{_mean_confidence(image):.3g}"),
                None if error is None else round(error, 2),
                image.component + 1,
            ]
        )
    return rows


def write_camera_csv(scene: Scene, path: Path, names: Mapping[str, str] | None = None) -> None:
    """Write all that is known of the cameras, at full precision.

    Intrinsics are in the upright photo's pixels, (0, 0) at the centre of the first one; x, y, z, the
    quaternion and the angles are those of cam2world (camera axes: x right, y down, z forward).

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for image, error in zip(scene.images, _errors(scene), strict=True):
            K = image.intrinsics
            values = [
                *(K[0, 0], K[1, 1], K[0, 2], K[1, 2]),
                *image.cam2world[:3, 3],
                *yaw_pitch_roll(image.cam2world),
                *quaternion_wxyz(image.cam2world),
                _mean_confidence(image),
            ]
            height, width = image.original_shape
            shown = _harmless(shown_name(image.name, names))
            known = [f"{float(value):.9g}" for value in values]
            last = "" if error is None else f"{error:.6g}"
            writer.writerow([shown, image.name, image.component + 1, width, height, *known, last])


def shown_name(name: str, names: Mapping[str, str] | None) -> str:
    """What a visitor calls a photo."""
    last = name.rsplit("/", 1)[-1]
    return (names or {}).get(last, name)


def yaw_pitch_roll(cam2world: Float[np.ndarray, "4 4"]) -> tuple[float, float, float]:
    """Degrees, see `camera_rows`."""
    R = cam2world[:3, :3]
    yaw = math.atan2(R[0, 2], R[2, 2])
    pitch = math.asin(max(-1.0, min(1.0, -float(R[1, 2]))))
    roll = math.atan2(R[1, 0], R[1, 1])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def quaternion_wxyz(cam2world: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, " 4"]:
    """Of the rotation, with w >= 0."""
    import pycolmap

    x, y, z, w = pycolmap.Rotation3d(np.ascontiguousarray(cam2world[:3, :3])).quat
    return np.array([w, x, y, z]) * (1.0 if w >= 0 else -1.0)


def _mean_confidence(image: SceneImage) -> float:
    used = image.confidence[image.confidence > 0]
    return float(used.mean()) if len(used) else 0.0


def _errors(scene: Scene) -> list[float | None]:
    tracks = scene.tracks
    counts = np.bincount(tracks.image, minlength=len(scene.images))
    sums = np.bincount(tracks.image, tracks.reprojection_error, minlength=len(scene.images))
    return [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]


def _harmless(name: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name
