"""Matches in one HDF5 file, laid out as hloc lays out its two (spec 60 F4).

A group per photo holds ``keypoints`` (n, 2), in pixels of the photo, whose centres are integers. The group
of the pair, ``<name 0>/<name 1>`` with slashes in names turned into dashes, holds ``matches0`` (n,), the row
of the other photo's keypoints or -1, and ``matching_scores0`` (n,). hloc takes the file for its features and
for its matches alike. The attribute ``about`` says the rest, as in the other formats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import numpy as np

from mast3r_model import ConfigError


def write_hloc(path: Path, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write matches of one pair.

    Args:
        path: of the file, which is replaced.
        about: what the file says beside the arrays; names its photos.
        arrays: of the matches, by name.

    Raises:
        ConfigError: h5py is not installed.
    """
    h5py = require_h5py()
    names = _photo_names(str(about["image0"]["name"]), str(about["image1"]["name"]))
    count = len(arrays["scores"])
    with h5py.File(path, "w") as file:
        file.attrs["about"] = json.dumps(about, ensure_ascii=False)
        for side, name in enumerate(names):
            photo = file.create_group(name)
            photo["keypoints"] = arrays[f"keypoints{side}"]
            if f"points3d{side}" in arrays:
                photo["points3d"] = arrays[f"points3d{side}"]
        pair = file.create_group(_pair_name(names))
        pair["matches0"] = np.arange(count, dtype=np.int32)
        pair["matching_scores0"] = arrays["scores"]


def read_hloc(path: Path) -> dict[str, Any]:
    """What `write_hloc` wrote: the arrays by name, and ``about``.

    Raises:
        ConfigError: h5py is not installed.
        KeyError: the file is another one.
        OSError: the same.
    """
    h5py = require_h5py()
    with h5py.File(path, "r") as file:
        about = json.loads(file.attrs["about"])
        names = _photo_names(str(about["image0"]["name"]), str(about["image1"]["name"]))
        values: dict[str, Any] = {"about": about, "scores": file[_pair_name(names)]["matching_scores0"][()]}
        for side, name in enumerate(names):
            for key in ("keypoints", "points3d"):
                if key in file[name]:
                    values[f"{key}{side}"] = file[name][key][()]
    return values


def _photo_names(name0: str, name1: str) -> tuple[str, str]:
    """Names as hloc has them, relative to its folder of photos: with as many folders as tell them apart."""
    parts0, parts1 = (tuple(part for part in PurePath(name).parts if part != "/") for name in (name0, name1))
    for length in range(1, max(len(parts0), len(parts1)) + 1):
        shortened = "/".join(parts0[-length:]), "/".join(parts1[-length:])
        if shortened[0] != shortened[1]:
            return shortened
    return f"0/{'/'.join(parts0)}", f"1/{'/'.join(parts1)}"  # a photo with itself


def _pair_name(names: tuple[str, str]) -> str:
    first, second = (name.replace("/", "-") for name in names)
    return f"{first}/{second}"


def require_h5py() -> ModuleType:
    """The library that reads and writes such files.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise ConfigError(
            "files of .h5 need h5py, which is not installed", "pip install 'mast3r-match[hloc]'"
        ) from None
    module: ModuleType = h5py
    return module
