"""Aachen Day-Night v1.1: the release's COLMAP model and query lists (spec 50 D8).

Raw, relative to the folder: photos in ``images_upright/`` or ``images/`` (``db``, ``query``, ``sequences``);
a COLMAP model, binary or text, in ``3D-models/aachen_v_1_1/`` (or one of `MODELS`); lists of queries
``queries/*_with_intrinsics.txt`` (or beside the photos' folder) with lines ``name MODEL w h params``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera
from mast3r_visloc.formats import read_query_list

from .colmap_models import image_names, model_suffix, place_text_model
from .contract import Piece, PreparationRequest, ScenePlan
from .kapture_writing import KaptureLists, KaptureRecord, KaptureSensor, write_kapture
from .placing import RawFile, inside, place_file

MODELS = (
    "3D-models/aachen_v_1_1",
    "3D-models/aachen_v1_1",
    "3D-models",
    "aachen_v_1_1",
    "mapping/colmap/reconstruction",
)
PHOTO_FOLDERS = ("images_upright", "images")
QUERY_LISTS = ("queries/*_with_intrinsics.txt", "*_with_intrinsics.txt")
QUERY_MODELS = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL")


def plan_aachen(request: PreparationRequest) -> list[ScenePlan]:
    """The plan of the whole release.

    Raises:
        InputError: no model, no photos, no lists of queries, or one that cannot be read; names what was
            looked for.
    """
    model = _find_model(request.raw)
    cameras = _queries(request.raw)
    photos = [request.raw / name for name in PHOTO_FOLDERS if (request.raw / name).is_dir()]
    if not photos:
        raise InputError(f"{request.raw} holds no photos: looked for {' and '.join(PHOTO_FOLDERS)}")
    names = image_names(model)
    out = request.out
    return [
        ScenePlan(
            "",
            [_piece(out / "images", name, photos) for name in dict.fromkeys([*names, *cameras])],
            [
                partial(place_text_model, out / "mapping" / "colmap" / "reconstruction", model),
                partial(write_queries, out / "kapture" / "query", cameras),
            ],
            queries={name: inside(out / "images", name) for name in cameras},
            map_photos={name: inside(out / "images", name) for name in names},
            pairs_folder=out / "pairsfile" / "query",
            expression=lambda pairs: (
                f"VislocAachenDayNight({str(out)!r}, subscene='all', pairsfile={pairs!r}, topk=20)"
            ),
        )
    ]


def _find_model(raw: Path) -> Path:
    for name in MODELS:
        if model_suffix(raw / name) is not None:
            return raw / name
    raise InputError(
        f"{raw} holds no COLMAP model: looked for cameras, images and points3D (.bin or .txt) in "
        f"{', '.join(MODELS)}",
        "unpack the release's 3D-models there",
    )


def _queries(raw: Path) -> dict[str, Camera]:
    """The cameras of all lists of queries, by the photo's name, in their order."""
    lists = next((found for pattern in QUERY_LISTS if (found := sorted(raw.glob(pattern)))), [])
    if not lists:
        raise InputError(f"{raw} holds no list of queries: looked for {' and '.join(QUERY_LISTS)}")
    cameras = read_query_list(lists)
    for name, camera in cameras.items():
        if camera.model not in QUERY_MODELS:
            raise InputError(
                f"the query {name} has a {camera.model} camera, expected {' or '.join(QUERY_MODELS)}"
            )
    return cameras


def _piece(target: Path, name: str, folders: Sequence[Path]) -> Piece:
    for folder in folders:
        if inside(folder, name).is_file():
            return Piece(inside(target, name), place_file, RawFile(inside(folder, name)))
    return Piece(
        inside(target, name), problem=f"not found: {' or '.join(str(folder / name) for folder in folders)}"
    )


def write_queries(folder: Path, cameras: Mapping[str, Camera]) -> list[Path]:
    """kapture's lists of queries without poses; equal cameras are one sensor."""
    sensors: dict[Camera, str] = {}
    for camera in cameras.values():
        sensors.setdefault(camera, f"cam{len(sensors):04d}")
    return write_kapture(
        folder,
        KaptureLists(
            sensors=[
                KaptureSensor(sensor, camera.model, (camera.width, camera.height), camera.params)
                for camera, sensor in sensors.items()
            ],
            photos=[
                KaptureRecord(time, sensors[camera], name)
                for time, (name, camera) in enumerate(cameras.items())
            ],
        ),
    )
