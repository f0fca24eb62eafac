"""Queries and map images from the records of a kapture folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera, PixelConvention
from mast3r_visloc.datasets.contract import Query
from mast3r_visloc.formats import Kapture, read_kapture
from mast3r_visloc.maps import ImagePoints, LocalizationMap, MapImage

LoadPoints = Callable[[], ImagePoints]


def kapture_queries(folder: Path, pixels: PixelConvention, photos: Path | None = None) -> tuple[Query, ...]:
    """The photos of a kapture folder as queries, in its order.

    Args:
        folder: with ``sensors/`` in it.
        pixels: what the principal points in its ``sensors.txt`` mean.
        photos: where the photos lie; by default in the kapture folder.

    Raises:
        InputError: the folder cannot be read, or holds no photo.
    """
    kapture = _with_photos(folder)
    photos = photos or kapture.records_folder
    cameras = _cameras(kapture, pixels)
    return tuple(
        Query(record.name, photos / record.name, cameras[record.sensor_id], kapture.cam2world(record))
        for record in kapture.photos
    )


def kapture_map(
    folder: Path,
    pixels: PixelConvention,
    loader: Callable[[MapImage], LoadPoints | None],
) -> LocalizationMap:
    """The photos of a kapture folder as a map.

    Args:
        folder: with ``sensors/`` in it.
        pixels: what the principal points in its ``sensors.txt`` mean.
        loader: gives for an image the function that reads its 3D points, None if it has none.

    Raises:
        InputError: the folder cannot be read, or holds no photo.
    """
    kapture = _with_photos(folder)
    cameras = _cameras(kapture, pixels)
    images = []
    for record in kapture.photos:
        path = kapture.records_folder / record.name
        bare = MapImage(record.name, path, cameras[record.sensor_id], kapture.cam2world(record))
        images.append(MapImage(bare.name, bare.path, bare.camera, bare.cam2world, loader(bare)))
    return LocalizationMap(tuple(images), folder, "kapture folder")


def _with_photos(folder: Path) -> Kapture:
    kapture = read_kapture(folder)
    if not kapture.photos:
        raise InputError(f"{folder / 'sensors' / 'records_camera.txt'} lists no photo of a camera")
    return kapture


def _cameras(kapture: Kapture, pixels: PixelConvention) -> dict[str, Camera | None]:
    cameras = {}
    for sensor in kapture.sensors.values():
        if sensor.kind == "camera":
            try:
                cameras[sensor.sensor_id] = sensor.camera(pixels)
            except InputError as error:
                place = kapture.folder / "sensors" / "sensors.txt"
                raise InputError(f"{place}, sensor {sensor.sensor_id}: {error.message}", error.hint) from None
    return cameras
