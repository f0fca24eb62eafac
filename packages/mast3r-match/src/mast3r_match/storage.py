"""Matches in files.

``.npz`` holds ``keypoints0``, ``keypoints1`` (n, 2) and ``scores`` (n,), float32, the 3D points where there
are any, and one JSON string ``about`` that says the rest: photos, sizes, transforms, model and options.
``.json`` holds the same as one object, ``.csv`` a row per match, ``.h5`` what hloc reads (`hloc_files`).
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mast3r_model import ImageTransform, InputError, atomic_write

from .hloc_files import read_hloc, require_h5py, write_hloc
from .matches import Matches

SCHEMA = "mast3r.matches/1"
ARRAYS = ("keypoints0", "keypoints1", "scores", "points3d0", "points3d1")


def save_matches(matches: Matches, path: str | Path) -> None:
    """Write matches in the format that the suffix names; see `Matches.save`."""
    write = _WRITERS[checked_suffix(path)]
    with atomic_write(path) as temporary:
        write(matches, temporary)


def load_matches(path: str | Path) -> Matches:
    """Read an .npz, .json or .h5 file of matches; see `Matches.load`."""
    suffix = Path(path).suffix.lower()
    if suffix not in _READERS:
        raise InputError(f"cannot read matches from {path}", f"expected {' or '.join(_READERS)}")
    try:
        values = _READERS[suffix](Path(path))
        return _matches(values, values["about"])
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (KeyError, ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no matches of ours ({error})") from error


def checked_suffix(path: str | Path) -> str:
    """The lower-case suffix of a file to write matches to.

    Raises:
        InputError: no format has it.
        ConfigError: what writes it is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise InputError(
            f"unknown format of {path}: {suffix or 'no suffix'}", f"use one of {', '.join(_WRITERS)}"
        )
    if suffix == ".h5":
        require_h5py()
    return suffix


def about(matches: Matches) -> dict[str, object]:
    """What a file says beside the arrays."""
    described: dict[str, object] = {"schema": SCHEMA, "count": len(matches)}
    for side in (0, 1):
        transform: ImageTransform | None = getattr(matches, f"transform{side}")
        described[f"image{side}"] = {
            "name": getattr(matches, f"name{side}"),
            "shape": list(getattr(matches, f"image_shape{side}")),
            "network_shape": None if transform is None else list(transform.network_shape),
            "network_from_original": (
                None if transform is None else transform.network_from_original.tolist()
            ),
        }
    described["made_with"] = dict(matches.made_with)
    return described


def arrays(matches: Matches) -> dict[str, np.ndarray]:
    """The arrays that are there."""
    found = {name: getattr(matches, name) for name in ARRAYS}
    return {name: values for name, values in found.items() if values is not None}


def _write_npz(matches: Matches, path: Path) -> None:
    text = json.dumps(about(matches), ensure_ascii=False)
    np.savez_compressed(path, allow_pickle=False, about=np.array(text), **arrays(matches))


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        values: dict[str, Any] = {name: file[name] for name in file.files}
    values["about"] = json.loads(str(values["about"]))
    return values


def _write_json(matches: Matches, path: Path) -> None:
    # NaN, a 3D point that is not known, is null in JSON.
    lists = {name: _with_nulls(values) for name, values in arrays(matches).items()}
    document = json.dumps({**about(matches), **lists}, ensure_ascii=False, allow_nan=False)
    path.write_text(document, encoding="utf-8")


def _with_nulls(values: np.ndarray) -> list[Any]:
    listed = values.astype(object)
    listed[~np.isfinite(values)] = None
    return listed.tolist()


def _read_json(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    return {**document, "about": document}


def _write_csv(matches: Matches, path: Path) -> None:
    header = ["x0", "y0", "x1", "y1", "score"]
    columns = [matches.keypoints0, matches.keypoints1, matches.scores[:, None]]
    for side, points in ((0, matches.points3d0), (1, matches.points3d1)):
        if points is not None:
            header += [f"X{side}", f"Y{side}", f"Z{side}"]
            columns.append(points)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([f"{value:.9g}" for value in row] for row in np.concatenate(columns, axis=1))


def _matches(values: Mapping[str, Any], described: Mapping[str, Any]) -> Matches:
    if described["schema"] != SCHEMA:
        raise ValueError(f"schema {described['schema']!r}, expected {SCHEMA!r}")
    sides: dict[str, Any] = {}
    for side in (0, 1):
        image = described[f"image{side}"]
        shape = (int(image["shape"][0]), int(image["shape"][1]))
        sides |= {f"name{side}": str(image["name"]), f"image_shape{side}": shape}
        if image["network_shape"] is not None:
            matrix = np.array(image["network_from_original"], dtype=np.float64)
            sides[f"transform{side}"] = ImageTransform(shape, tuple(image["network_shape"]), matrix)
    widths = {"keypoints0": 2, "keypoints1": 2, "points3d0": 3, "points3d1": 3}
    shaped: dict[str, Any] = {
        name: np.asarray(values[name], np.float32).reshape(-1, width)
        for name, width in widths.items()
        if name in values
    }
    return Matches(scores=values["scores"], made_with=described["made_with"], **shaped, **sides)


_WRITERS: dict[str, Callable[[Matches, Path], None]] = {
    ".npz": _write_npz,
    ".json": _write_json,
    ".csv": _write_csv,
    ".h5": lambda matches, path: write_hloc(path, about(matches), arrays(matches)),
}
_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".npz": _read_npz,
    ".json": _read_json,
    ".h5": read_hloc,
}
