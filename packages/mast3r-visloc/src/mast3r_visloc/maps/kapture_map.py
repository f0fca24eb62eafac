"""Maps that are kapture folders (spec 50 A3, D1)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from mast3r_visloc.cameras import Camera, PixelConvention
from mast3r_visloc.formats import Kapture, KaptureRecord, KaptureSensor, read_depth, read_kapture

from .contents import DensePoints, LocalizationMap, MapImage
from .depth_lifting import lift_depth
from .photo_files import find_photo_files, photo_folders
from .turning import in_file_pixels

log = logging.getLogger("mast3r.visloc")

_SAME_POSE = 1e-6


def read_kapture_map(
    folder: Path, images: Path | None = None, *, pixels: PixelConvention = "corner"
) -> LocalizationMap:
    """Read the photos of a kapture folder, with the depth maps that are registered to them.

    A depth map belongs to the photo of the same timestamp whose camera has the depth sensor's parameters and
    pose. Depth maps of other cameras are not used. Photos without a pose are left out.

    Args:
        folder: holds ``sensors/sensors.txt``.
        images: folder of the photos; None: ``sensors/records_data``.
        pixels: what a principal point means. Folders made from COLMAP models have COLMAP's convention; those
            of 7-Scenes and InLoc OpenCV's, which their dataset classes know.

    Raises:
        InputError: no kapture folder, a line that breaks the format, or photos that are not its own.
    """
    kapture = read_kapture(folder)
    posed = [record for record in kapture.photos if kapture.cam2world(record) is not None]
    if len(posed) < len(kapture.photos):
        log.warning(
            "%s: %d of %d photos have no pose and are left out",
            folder,
            len(kapture.photos) - len(posed),
            len(kapture.photos),
        )
    names = [record.name for record in posed]
    folders = photo_folders(images, [kapture.records_folder, folder])
    files = find_photo_files(names, folders, folder)
    depth_of = _registered_depth(kapture, posed)
    return LocalizationMap(
        tuple(
            in_file_pixels(
                _map_image(kapture, record, files[record.name].path, depth_of.get(record.name), pixels),
                files[record.name],
                upright=False,
            )
            for record in posed
            if record.name in files
        ),
        folder,
        "kapture folder",
    )


def _map_image(
    kapture: Kapture,
    record: KaptureRecord,
    path: Path,
    depth: KaptureRecord | None,
    pixels: PixelConvention,
) -> MapImage:
    camera = kapture.sensors[record.sensor_id].camera(pixels)
    cam2world = kapture.cam2world(record)
    load = None
    if depth is not None and camera is not None and cam2world is not None:
        load = partial(_load_points, kapture.records_folder / depth.name, camera, cam2world)
    return MapImage(record.name, path, camera, cam2world, load)


def _load_points(path: Path, camera: Camera, cam2world: np.ndarray) -> DensePoints:
    return lift_depth(read_depth(path, camera.shape), camera, cam2world)


def _registered_depth(kapture: Kapture, photos: Iterable[KaptureRecord]) -> Mapping[str, KaptureRecord]:
    """The depth map of each photo that has one, by the photo's name."""
    at_time: dict[int, list[KaptureRecord]] = {}
    for record in kapture.depth_maps:
        at_time.setdefault(record.timestamp, []).append(record)
    found: dict[str, KaptureRecord] = {}
    for photo in photos:
        fitting = [depth for depth in at_time.get(photo.timestamp, []) if _registered(kapture, photo, depth)]
        if fitting:
            found[photo.name] = fitting[0]
    if kapture.depth_maps and not found:
        log.warning("%s: no depth map has a photo's camera and pose, so none is used", kapture.folder)
    return found


def _registered(kapture: Kapture, photo: KaptureRecord, depth: KaptureRecord) -> bool:
    def view(sensor: KaptureSensor) -> tuple[object, ...]:
        return sensor.model, sensor.width, sensor.height, sensor.params

    if view(kapture.sensors[photo.sensor_id]) != view(kapture.sensors[depth.sensor_id]):
        return False
    of_photo, of_depth = kapture.cam2world(photo), kapture.cam2world(depth)
    return (
        of_photo is not None
        and of_depth is not None
        and bool(np.allclose(of_photo, of_depth, rtol=0, atol=_SAME_POSE))
    )
