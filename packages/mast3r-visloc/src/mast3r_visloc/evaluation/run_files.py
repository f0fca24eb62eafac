"""The files of a run's folder: which there are, and the one that holds everything, ``report.json``.

| file | holds |
|---|---|
| poses.txt | ``name qw qx qy qz tx ty tz``, world to camera |
| report.json | schema, name, options, versions, thresholds, summary, and all queries |
| report.html | the same for people |
| records.jsonl | what is done so far, from which a killed run goes on |
| matches/NNNN.npz | correspondences of query NNNN, see `match_files` |
| pictures/NNNN.jpg | its match picture, as in report.html |

``report.json`` is one object: ``schema`` (``mast3r.visloc/1``), ``name`` of the run, ``complete`` (false if
it was interrupted), ``options``, ``versions`` of the packages, ``thresholds`` ([metres, degrees] pairs),
``summary`` (``queries``, ``localised``, ``without_truth``, ``median_position_m``, ``median_rotation_deg``,
``recalls`` in percent; null where nothing could be evaluated or the median is infinite), and ``queries``:
for each the fields of `QueryRecord`. Matrices are rows of numbers, poses are camera to world with x right,
y down, z forward, pixels of cameras are COLMAP's (the first pixel's centre is 0.5).
"""

from __future__ import annotations

import errno
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mast3r_model import InputError, OutputError, atomic_write, output_error
from mast3r_visloc.reasons import reason

from .aggregate import Summary
from .journal import JOURNAL, SCHEMA
from .records import QueryRecord

POSES, REPORT, PAGE = "poses.txt", "report.json", "report.html"
MATCHES, PICTURES, MODEL = "matches", "pictures", "colmap"
_PACKAGES = ("mast3r-model", "mast3r-match", "mast3r-visloc", "torch", "numpy", "poselib", "pycolmap")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a pose may depend on; none is imported."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_report(
    folder: Path,
    *,
    summary: Summary,
    options: Mapping[str, Any],
    versions: Mapping[str, str],
    records: Sequence[QueryRecord],
    complete: bool,
) -> None:
    """Write ``report.json``, a query on each line.

    Raises:
        OutputError: the file cannot be written.
    """
    head = {
        "schema": SCHEMA,
        "name": summary.name,
        "complete": complete,
        "options": dict(options),
        "versions": dict(versions),
        "thresholds": summary.thresholds,
        "summary": {
            "queries": summary.queries,
            "localised": summary.localised,
            "without_truth": summary.without_truth,
            "median_position_m": _finite(summary.median_position),
            "median_rotation_deg": _finite(summary.median_rotation),
            "recalls": summary.recalls,
        },
    }
    opened = _text(head, indent=1).removesuffix("\n}")
    with (
        atomic_write(folder / REPORT) as temporary,
        open(temporary, "w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(f'{opened},\n "queries": [')
        for number, record in enumerate(records):
            file.write(",\n  " if number else "\n  ")
            file.write(_text(record.to_json()))
        file.write("\n ]\n}\n")


def read_report(folder: Path) -> dict[str, Any]:
    """Read ``report.json``.

    Raises:
        InputError: it is missing, broken, or of another program.
    """
    path = folder / REPORT
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {reason(error)}", "give the folder of a visloc run") from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise InputError(f"{path} is no report of a visloc run: its schema is not {SCHEMA!r}")
    return report


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that a run cannot be written into; nothing is changed there.

    Args:
        folder: it may be missing.
        overwrite: whether an earlier run may be deleted.

    Raises:
        OutputError: it is a file, holds something else, or cannot be read.
    """
    try:
        if folder.exists():
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            _refuse_other_model(folder)
            if not overwrite and any(folder.iterdir()) and not (folder / JOURNAL).exists():
                raise OutputError(
                    f"the folder {folder} is not empty and holds no run that could go on",
                    "choose another folder, or --overwrite",
                )
    except OSError as error:
        raise output_error(folder, error) from error


def open_folder(folder: Path, *, overwrite: bool) -> None:
    """Make sure that a run can be written into a folder.

    Args:
        folder: made if it is missing.
        overwrite: delete the files of an earlier run; files of others are never deleted.

    Raises:
        OutputError: the folder holds something else, or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_folder(folder, overwrite=overwrite)
        if overwrite:
            _delete_run(folder)
    except OSError as error:
        raise output_error(folder, error) from error


def _refuse_other_model(folder: Path) -> None:
    """Refuse a folder where a run would delete a COLMAP project of the user's: ``colmap/`` is replaced whole.

    Raises:
        OutputError: ``colmap/`` holds more than a model, or lies beside no run.
    """
    model = folder / MODEL
    if not model.is_dir() or not any(model.iterdir()):
        return
    is_run = (folder / JOURNAL).exists() or (folder / REPORT).exists()
    if not is_run or any(path.is_dir() or path.suffix != ".bin" for path in model.iterdir()):
        raise OutputError(
            f"{model} holds files that no run wrote, and would be replaced", "choose another folder"
        )


def _delete_run(folder: Path) -> None:
    for name in (JOURNAL, POSES, REPORT, PAGE):
        (folder / name).unlink(missing_ok=True)
    patterns = ((MATCHES, "[0-9]*.npz"), (PICTURES, "[0-9]*.jpg"), (MODEL, "*.bin"))
    for subfolder, pattern in patterns:
        for path in (folder / subfolder).glob(pattern):
            path.unlink()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _text(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
