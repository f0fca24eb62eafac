"""A run's poses in the formats of others: ``mast3r visloc export RUN --format ...`` (spec 50 C1, C2, D7)."""

from __future__ import annotations

import csv
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mast3r_model import InputError, NothingFoundError, atomic_write, output_error

from .names import NameStyle, check_writable_name, styled_names
from .pose_files import OnFailure, write_poses
from .quaternions import pose_numbers
from .reading import Run
from .run import named_poses

CSV_COLUMNS = (
    "name", "status", "reason", "method", "qw", "qx", "qy", "qz", "tx", "ty", "tz", "x", "y", "z",
    "num_inliers", "num_points", "num_matches", "num_candidates", "best_image", "seconds", "position_error_m",
    "rotation_error_deg",
)  # fmt: skip
"""qw to tz are world to camera; x y z is the camera's place in the world; what is unknown is empty."""


def export_run(
    run: Run,
    output: Path,
    format: str,
    *,
    name_style: NameStyle | None = None,
    on_failure: OnFailure | None = None,
) -> int:
    """Write a run's poses in a format of `EXPORTS`.

    Args:
        run: see `read_run`.
        output: the file, or, for ``colmap``, the folder, which must be new or empty.
        format: ``ltvl`` (the long-term visual localization benchmark: base names, no failures), ``hloc``
            (the same with the nearest photo's pose for failures), ``colmap`` (a text model of the localised
            photos) or ``csv`` (a table of everything).
        name_style: how much of the names to write; None: ``base`` for ltvl and hloc, else ``full``.
        on_failure: what stands for a failure in ltvl and hloc; None as described.

    Returns:
        The number of photos written.

    Raises:
        InputError: an unknown format, names that are not unique, or a folder that holds something.
        NothingFoundError: a COLMAP model of a run without a pose.
        OutputError: the output cannot be written.
    """
    if format not in EXPORTS:
        raise InputError(f"unknown format {format!r}", f"the formats are {', '.join(EXPORTS)}")
    return EXPORTS[format](run, output, name_style, on_failure)


def _ltvl(run: Run, output: Path, name_style: NameStyle | None, on_failure: OnFailure | None) -> int:
    return write_poses(
        output, named_poses(run.records), name_style=name_style or "base", on_failure=on_failure or "skip"
    )


def _hloc(run: Run, output: Path, name_style: NameStyle | None, on_failure: OnFailure | None) -> int:
    return _ltvl(run, output, name_style, on_failure or "nearest")


def _csv(run: Run, output: Path, name_style: NameStyle | None, on_failure: OnFailure | None) -> int:
    names = styled_names((record.name for record in run.records), name_style or "full")
    with (
        atomic_write(output) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(CSV_COLUMNS)
        for name, record in zip(names, run.records, strict=True):
            pose = [""] * 10
            if record.cam2world is not None:
                matrix = np.array(record.cam2world)
                pose = [*map(repr, pose_numbers(matrix)), *map(repr, matrix[:3, 3].tolist())]
            errors = [record.error.position, record.error.rotation] if record.error else ["", ""]
            state = [record.status, record.reason or "", record.method or ""]
            points = "" if record.num_points is None else record.num_points
            counts = [record.num_inliers, points, record.num_matches, len(record.candidates)]
            last = [record.best_image or "", f"{record.seconds:.3f}", *errors]
            table.writerow([name, *state, *pose, *counts, *last])
    return len(run.records)


def _colmap(run: Run, output: Path, name_style: NameStyle | None, on_failure: OnFailure | None) -> int:
    """A text model: a camera for each photo, no points."""
    import pycolmap

    localised = [record for record in run.records if record.success]
    if not localised:
        raise NothingFoundError(f"{run.folder} has no localised photo")
    names = styled_names((record.name for record in localised), name_style or "full")
    model = pycolmap.Reconstruction()
    for number, (name, record) in enumerate(zip(names, localised, strict=True), 1):
        check_writable_name(name)
        model.add_camera_with_trivial_rig(record.camera.to_colmap(camera_id=number))
        world2cam = np.linalg.inv(np.array(record.cam2world))
        model.add_image_with_trivial_frame(
            pycolmap.Image(name=name, camera_id=number, image_id=number), pycolmap.Rigid3d(world2cam[:3])
        )
    _write_model(model.write_text, output)
    return len(localised)


def _write_model(write: Callable[[Path], None], folder: Path) -> None:
    """Write into a new folder beside, which takes the place of the missing or empty one in one step."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder", "choose another folder")
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        temporary.replace(folder)
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


EXPORTS: Mapping[str, Callable[[Run, Path, NameStyle | None, OnFailure | None], int]] = {
    "ltvl": _ltvl,
    "hloc": _hloc,
    "colmap": _colmap,
    "csv": _csv,
}
"""Writers by the name of their format."""
