"""COLMAP models: from a scene, to files, and back to cameras and tracks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycolmap

from mast3r_sfm.cameras import PosedCameras
from mast3r_sfm.scene import Scene, Tracks

from .cameras import colmap_camera, intrinsics_of, is_distorted
from .convention import pixels_to_colmap
from .model_files import is_colmap_model as is_colmap_model
from .model_files import read_colmap_model as read_colmap_model
from .model_files import write_reconstruction as write_reconstruction

log = logging.getLogger(__name__)


def scene_reconstruction(scene: Scene) -> pycolmap.Reconstruction:
    """A scene of one group of images as COLMAP's own object, in the photos' pixels.

    Image i has the id i + 1; images of equal size and intrinsics share a PINHOLE camera. Every observation of
    a track is a 2D point. Points carry colours and mean reprojection errors.
    """
    reconstruction = pycolmap.Reconstruction()
    tracks = scene.tracks
    order = np.lexsort((tracks.track, tracks.image))
    observed = np.searchsorted(tracks.image[order], np.arange(len(scene.images) + 1))
    xy = pixels_to_colmap(tracks.xy)
    place = np.empty(len(order), np.int64)  # of an observation among the 2D points of its image
    cameras: dict[bytes, int] = {}
    for index, image in enumerate(scene.images):
        key = np.array(image.original_shape).tobytes() + image.intrinsics.tobytes()
        if key not in cameras:
            cameras[key] = len(cameras) + 1
            camera = colmap_camera(image.original_shape, image.intrinsics, camera_id=cameras[key])
            reconstruction.add_camera_with_trivial_rig(camera)
        own = order[observed[index] : observed[index + 1]]
        place[own] = np.arange(len(own))
        reconstruction.add_image_with_trivial_frame(
            pycolmap.Image(name=image.name, keypoints=xy[own], camera_id=cameras[key], image_id=index + 1),
            pycolmap.Rigid3d(image.world2cam[:3]),
        )
    _add_points(reconstruction, tracks, place)
    reconstruction.update_point_3d_errors()
    return reconstruction


def _add_points(reconstruction: pycolmap.Reconstruction, tracks: Tracks, place: np.ndarray) -> None:
    order = np.argsort(tracks.track, kind="stable")
    ends = np.searchsorted(tracks.track[order], np.arange(len(tracks) + 1)).tolist()
    images, places = (tracks.image[order] + 1).tolist(), place[order].tolist()
    for number, (position, color) in enumerate(zip(tracks.positions, tracks.colors, strict=True)):
        own = range(ends[number], ends[number + 1])
        elements = [pycolmap.TrackElement(images[k], places[k]) for k in own]
        reconstruction.add_point3D(position, pycolmap.Track(elements), color)


def reconstruction_cameras(reconstruction: pycolmap.Reconstruction) -> PosedCameras:
    """The registered images of a COLMAP model, by name.

    Lens distortion is left out, with a warning.

    Raises:
        InputError: an image has a fisheye or spherical camera.
    """
    images = [reconstruction.images[image_id] for image_id in reconstruction.reg_image_ids()]
    images.sort(key=lambda image: image.name)
    if any(is_distorted(reconstruction.cameras[image.camera_id]) for image in images):
        log.warning("the COLMAP model's lens distortion is left out: its cameras are taken as pinholes")
    cameras = [reconstruction.cameras[image.camera_id] for image in images]
    poses = [image.cam_from_world().inverse().matrix() for image in images]
    bottom = np.broadcast_to([0.0, 0.0, 0.0, 1.0], (len(images), 1, 4))
    return PosedCameras(
        tuple(image.name for image in images),
        tuple((camera.height, camera.width) for camera in cameras),
        np.array([intrinsics_of(camera) for camera in cameras]).reshape(-1, 3, 3),
        np.concatenate([np.array(poses).reshape(-1, 3, 4), bottom], axis=1),
    )


def read_colmap_cameras(folder: Path) -> PosedCameras:
    """The registered images of a COLMAP model in a folder; see `reconstruction_cameras`."""
    return reconstruction_cameras(read_colmap_model(folder))


def reconstruction_tracks(reconstruction: pycolmap.Reconstruction, names: Sequence[str]) -> Tracks:
    """The points of a COLMAP model with their observations.

    Args:
        reconstruction: the model.
        names: images by index; observations in others are left out, and points seen in less than two.
    """
    index_of = {name: index for index, name in enumerate(names)}
    image_of = {
        image_id: index_of[image.name]
        for image_id, image in reconstruction.images.items()
        if image.name in index_of and image.has_pose
    }
    pixels = {
        image_id: np.array([point.xy for point in reconstruction.images[image_id].points2D]).reshape(-1, 2)
        for image_id in image_of
    }
    positions: list[np.ndarray] = []
    colors, track, image, xy, errors = [], [], [], [], []
    for point_id in sorted(reconstruction.points3D):
        point = reconstruction.points3D[point_id]
        seen = [(e.image_id, e.point2D_idx) for e in point.track.elements if e.image_id in image_of]
        if len({image_id for image_id, _ in seen}) < 2:
            continue
        for image_id, place in seen:
            observed = pixels[image_id][place]
            projected = reconstruction.images[image_id].project_point(point.xyz)
            track.append(len(positions))
            image.append(image_of[image_id])
            xy.append(observed)
            errors.append(np.inf if projected is None else float(np.linalg.norm(projected - observed)))
        positions.append(point.xyz)
        colors.append(point.color)
    return Tracks(
        np.array(positions).reshape(-1, 3),
        np.array(colors, np.uint8).reshape(-1, 3),
        np.array(track, np.int64),
        np.array(image, np.int64),
        pixels_to_colmap(np.array(xy).reshape(-1, 2), inverse=True),
        np.array(errors),
    )
