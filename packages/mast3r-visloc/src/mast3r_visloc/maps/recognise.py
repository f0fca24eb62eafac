"""A map from a path, by what is found there (spec 50 D1)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mast3r_match import find_photos
from mast3r_model import InputError
from mast3r_visloc.formats import is_kapture

from .colmap_map import find_colmap_model, read_colmap_map
from .contents import LocalizationMap
from .kapture_map import read_kapture_map
from .nerfstudio_map import TRANSFORMS_FILE, read_nerfstudio_map
from .rgbd_map import is_rgbd_folder, read_rgbd_map
from .scene_map import is_scene, read_scene_map


@dataclass(frozen=True)
class MapFormat:
    """A format of maps.

    Attributes:
        what: for people: what is looked for.
        found: whether a folder holds one.
        read: reads it; the second argument is the folder of the photos, None if it is to be found.
    """

    what: str
    found: Callable[[Path], bool]
    read: Callable[[Path, Path | None], LocalizationMap]


FORMATS = (
    MapFormat("a scene of `mast3r sfm`", is_scene, read_scene_map),
    MapFormat("a COLMAP model", lambda folder: find_colmap_model(folder) is not None, read_colmap_map),
    MapFormat("a kapture folder", is_kapture, read_kapture_map),
    MapFormat(
        "nerfstudio's transforms.json",
        lambda folder: (folder / TRANSFORMS_FILE).is_file(),
        read_nerfstudio_map,
    ),
    MapFormat("RGB-D photos with poses", is_rgbd_folder, read_rgbd_map),
)
"""In the order in which they count: of a folder that holds several, the one that says most."""


def read_map(
    path: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    need_points: bool = True,
) -> LocalizationMap:
    """Read a map, whatever its format::

        map = read_map("reconstruction/", images="photos/")

    Args:
        path: a folder that holds one of `FORMATS`, or the file itself by which it is recognised.
        images: the folder of its photos; by default they are found beside the map. Photos that are not there
            are left out, with one warning.
        need_points: refuse a map of which no photo has 3D.

    Raises:
        InputError: nothing is there, nothing known, only photos, a broken file, or no photo.
    """
    given = Path(path)
    if not given.exists():
        raise InputError(f"there is no map {given}", "check the path")
    folder = given if given.is_dir() else given.parent
    known = next((format_ for format_ in FORMATS if format_.found(folder)), None)
    if known is None:
        raise _unknown(folder)
    found = known.read(folder, None if images is None else Path(images))
    if len(found.index_of) == 0 or (need_points and not any(image.load_points for image in found.images)):
        raise InputError(
            f"{folder} ({found.kind}) has no photo with 3D points or depth",
            "localising needs some 3D: reconstruct the photos with `mast3r sfm DIR -o MAP`",
        )
    return found


def _unknown(folder: Path) -> InputError:
    expected = ", ".join(format_.what for format_ in FORMATS)
    try:
        photos = len(find_photos([folder], recursive=True))
    except InputError:
        return InputError(f"{folder} holds no map", f"expected one of: {expected}")
    return InputError(
        f"{folder} holds {photos} photos, but no map of them",
        f"make one with `mast3r sfm {folder} -o MAP`, then give MAP",
    )
