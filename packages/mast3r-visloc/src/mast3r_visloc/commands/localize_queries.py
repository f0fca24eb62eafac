"""Which photos ``mast3r visloc localize`` is to localise, and what is known of each beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_match import find_photos
from mast3r_model import InputError
from mast3r_visloc.cameras import Camera, parse_camera
from mast3r_visloc.datasets import Query
from mast3r_visloc.evaluation import read_truth
from mast3r_visloc.evaluation.names import styled_names
from mast3r_visloc.formats import read_query_list
from mast3r_visloc.formats.lines import relative_name
from mast3r_visloc.maps import LocalizationMap

if TYPE_CHECKING:
    from .localize_command import LocalizeRequest


def find_queries(request: LocalizeRequest, localization_map: LocalizationMap) -> list[Query]:
    """The photos with their names, cameras and, where known, true poses.

    Args:
        request: what the user asked for.
        localization_map: that ``--camera-from`` and ``--camera-id`` speak of.

    Raises:
        InputError: no photos, two with one name in ``poses.txt``, or nothing known of them in a file that
            should say it.
    """
    cameras = read_query_list(request.queries) if request.queries else {}
    named = _named_photos(request, cameras)
    names = list(named)
    styled_names(names, request.name_style)  # two that are the same are known before the work is done
    known = _by_name(cameras, names)
    if request.queries and request.photos and not known:
        raise InputError(
            f"{request.queries[0]} names none of the photos",
            f"it names {next(iter(cameras), 'nothing')}, ...",
        )
    shared = _shared_camera(request, localization_map)
    truth = {} if request.truth is None else read_truth(request.truth).of(names)
    source = "given" if request.camera is not None else "of the map"
    return [
        Query(name, path, known.get(name, shared), truth.get(name), None if name in known else source)
        for name, path in named.items()
    ]


def _named_photos(request: LocalizeRequest, cameras: Mapping[str, Camera]) -> dict[str, Path]:
    """Photos by name: as short as the names of all of them stay different.

    Raises:
        InputError: no photo at all, or a list that names photos outside its folder.
    """
    if not request.photos:
        folder = request.queries[0].parent
        return {name: folder / relative_name(name, str(request.queries[0])) for name in cameras}
    photos = find_photos(list(request.photos), recursive=request.recursive)
    if not photos:
        raise InputError(f"{request.photos[0]} names no photo", "expected a file name a line")
    short = [photo.name for photo in photos]
    if len(set(short)) == len(short):
        return dict(zip(short, photos, strict=True))
    if len(request.photos) == 1 and request.photos[0].is_dir():
        return {photo.relative_to(request.photos[0]).as_posix(): photo for photo in photos}
    return {str(photo): photo for photo in photos}


def _by_name(cameras: Mapping[str, Camera], names: Sequence[str]) -> dict[str, Camera]:
    """Cameras of photos by the listed name, else by the file's name where only one has it."""
    short: dict[str, list[Camera]] = {}
    for listed, camera in cameras.items():
        short.setdefault(Path(listed).name, []).append(camera)
    found = {}
    for name in names:
        if name in cameras:
            found[name] = cameras[name]
        elif len(short.get(Path(name).name, [])) == 1:
            found[name] = short[Path(name).name][0]
    return found


def _shared_camera(request: LocalizeRequest, localization_map: LocalizationMap) -> Camera | None:
    """The camera that took all photos, if the user says which.

    Raises:
        InputError: more than one is given, or the map has no such photo or camera.
    """
    given = [request.camera, request.camera_from, request.camera_id]
    if sum(value is not None for value in given) > 1:
        raise InputError("--camera, --camera-from and --camera-id all name the camera", "give one of them")
    if request.camera is not None:
        return parse_camera(request.camera)
    if request.camera_from is not None:
        return _camera_of_photo(localization_map, request.camera_from)
    if request.camera_id is not None:
        return _camera_of_model(localization_map, request.camera_id)
    return None


def _camera_of_photo(localization_map: LocalizationMap, name: str) -> Camera:
    number = localization_map.index_of.get(name)
    camera = None if number is None else localization_map.images[number].camera
    if camera is None:
        known = next((image.name for image in localization_map.images if image.camera is not None), "none")
        raise InputError(f"the map has no photo {name!r} with a camera", f"a photo there: {known}")
    return camera


def _camera_of_model(localization_map: LocalizationMap, camera_id: int) -> Camera:
    from mast3r_visloc.maps import open_colmap_model

    if localization_map.colmap_model is None:
        raise InputError(
            f"--camera-id needs a COLMAP model, got a {localization_map.kind}", "use --camera-from"
        )
    cameras = open_colmap_model(localization_map.colmap_model).cameras
    if camera_id not in cameras:
        raise InputError(f"the map has no camera {camera_id}", f"its cameras: {sorted(cameras)[:20]}")
    return Camera.from_colmap(cameras[camera_id])
