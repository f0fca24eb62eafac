"""``matches/NNNN.npz``: the correspondences of a query (spec 50 D7).

| array | shape | is |
|---|---|---|
| query_xy | (n, 2) float32 | pixels of the query, an integer being a pixel's centre |
| map_image | (n,) int32 | index into the query's ``candidates`` in ``report.json`` |
| map_xy | (n, 2) float32 | pixels of that map image, likewise |
| xyz | (n, 3) float64 | in the map's world frame |
| confidence | (n,) float32 | of the match |
| inlier | (n,) bool | whether it agrees with the pose |
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mast3r_model import InputError, atomic_write
from mast3r_visloc.poses import Correspondences
from mast3r_visloc.reasons import reason

_DTYPES = {
    "query_xy": np.float32,
    "map_image": np.int32,
    "map_xy": np.float32,
    "xyz": np.float64,
    "confidence": np.float32,
    "inlier": np.bool_,
}


def match_path(folder: Path, index: int) -> Path:
    """The file of query number `index` in a run's folder."""
    return folder / "matches" / f"{index:04d}.npz"


def write_matches(path: Path, matches: Correspondences) -> None:
    """Write correspondences, uncompressed: numbers like these hardly get smaller, and time matters.

    Raises:
        OutputError: the file cannot be written.
    """
    arrays: dict[str, Any] = {
        name: np.asarray(getattr(matches, name), dtype=dtype) for name, dtype in _DTYPES.items()
    }
    with atomic_write(path) as temporary:
        np.savez(temporary, **arrays)


def read_matches(path: Path) -> Correspondences:
    """Read correspondences; pixels and confidences have single precision.

    Raises:
        InputError: the file is missing, broken or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in _DTYPES}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read the matches {path}: {reason(error)}") from error
    if len({len(array) for array in arrays.values()}) != 1:
        raise InputError(f"the arrays of {path} have different lengths")
    for name in ("query_xy", "map_xy", "confidence"):
        arrays[name] = arrays[name].astype(np.float64)
    return Correspondences(**arrays)
