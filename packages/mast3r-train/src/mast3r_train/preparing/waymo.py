"""``mast3r data prepare waymo``: from Perception 1.4.2 to the folder of `Waymo` (spec 41 section 9).

Neither TensorFlow nor Waymo's package is needed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError

from mast3r_model import InputError
from mast3r_train.datasets.files import missing_layout
from mast3r_train.datasets.waymo import PAIRS_FILE, SUFFIXES, load_waymo_pairs
from mast3r_train.geometry import rescale

from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .published_pairs import missing_files, published_list
from .saving import save_copy, save_exr, save_jpeg, save_npz
from .tfrecords import RecordSpan, index_records, read_record
from .waymo_lidar import LidarPoints, lidar_points, matrix_of, transform
from .waymo_messages import decode

CAMERAS = (1, 2, 3, 4, 5)
LONG_SIDE = 512
JPEG_QUALITY = 80

OPENCV_FROM_WAYMO = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
"""Waymo's cameras look along x, y left, z up; ours along z, x right, y down."""


@dataclass(frozen=True)
class _Job:
    """One record of a file, the five images of a moment."""

    span: RecordSpan
    out: Path

    def stem(self, camera: int) -> Path:
        """Files of an image, without their suffix."""
        return self.out / f"{self.span.number:05d}_{camera}"


def plan(request: PrepareRequest) -> Preparation:
    """One unit of work per moment, with the images of all cameras.

    Raises:
        InputError: there are no tfrecord files, or the list of pairs is broken.
    """
    pair_list = published_list(request, (PAIRS_FILE,))
    scenes, frame_names, pairs = load_waymo_pairs(pair_list)
    found = (
        path
        for folder in ("", "training", "validation")
        for path in (request.raw / folder).glob("*.tfrecord")
    )
    files = sorted(path for path in found if path.is_file())
    if not files:
        raise missing_layout(
            "Waymo",
            request.raw,
            "training/*.tfrecord",
            "--raw is the folder of Perception 1.4.2's tfrecord files",
        )
    frames: list[Frame] = []
    for path in files:
        out = request.out / path.name
        try:
            jobs = [_Job(span, out) for span in index_records(path)]
        except InputError as error:
            frames.append(Frame.broken(path.name, error.message))
            continue
        for number, job in enumerate(jobs):
            marker = _file(job.stem(CAMERAS[-1]), ".npz")
            frames.append(Frame(f"{path.name}, frame {number}", marker, job))

    def missing() -> Iterator[str]:
        stems = (f"{scenes[scene]}/{frame_names[frame]}" for scene, *both in pairs.tolist() for frame in both)
        return missing_files(request.out, stems, SUFFIXES)

    return Preparation(frames, make, lambda: save_copy(request.out / PAIRS_FILE, pair_list), missing)


def make(job: _Job) -> None:
    """Prepare the five images of a moment.

    Raises:
        InputError: the file is damaged, or something is missing in it.
    """
    where = f"{job.span.path}, frame {job.span.number}"
    frame = decode("Frame", read_record(job.span), where)
    images = {image.name: image for image in frame.images}
    calibrations = {calibration.name: calibration for calibration in frame.context.camera_calibrations}
    if lacking := [camera for camera in CAMERAS if camera not in images or camera not in calibrations]:
        raise InputError(f"{where}: no image or no calibration of camera {', '.join(map(str, lacking))}")
    lidar = lidar_points(frame, where)
    for camera in CAMERAS:
        at = f"{where}, camera {camera}"
        _make_image(images[camera], calibrations[camera], lidar, job.stem(camera), at)


def _make_image(image: Any, calibration: Any, lidar: LidarPoints, stem: Path, where: str) -> None:
    photo = _decode_jpeg(image.image, where)
    if len(calibration.intrinsic) != 9:
        raise InputError(f"{where}: {len(calibration.intrinsic)} intrinsics, expected 9")
    fx, fy, cx, cy, *distortion = calibration.intrinsic
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    camera_to_vehicle = matrix_of(calibration.extrinsic, where)
    is_seen = lidar.projections[:, 0] == calibration.name
    depth = transform(OPENCV_FROM_WAYMO @ np.linalg.inv(camera_to_vehicle), lidar.points[is_seen])[:, 2]
    target = (LONG_SIDE, 1) if photo.width >= photo.height else (1, LONG_SIDE)
    scaled, _, new_K = rescale(photo, None, K, target)
    depthmap = splat(depth, lidar.projections[is_seen, 1:3], new_K @ np.linalg.inv(K), scaled.size)
    cam2world = matrix_of(image.pose, where) @ camera_to_vehicle @ np.linalg.inv(OPENCV_FROM_WAYMO)
    save_jpeg(_file(stem, ".jpg"), scaled, quality=JPEG_QUALITY)
    save_exr(_file(stem, ".exr"), depthmap)
    save_npz(_file(stem, ".npz"), intrinsics=new_K, cam2world=cam2world, distortion=np.array(distortion))


def splat(
    depth: Float[np.ndarray, " n"],
    pixels: Float[np.ndarray, "n 2"],
    scaling: Float[np.ndarray, "3 3"],
    size_wh: tuple[int, int],
) -> Float[np.ndarray, "h w"]:
    """A map with the depth of each point at its pixel; later points replace earlier ones.

    Args:
        depth: z in metres; points that are not in front of the camera are left out.
        pixels: (x, y) in the original image.
        scaling: from its pixels to those of the map.
        size_wh: of the map; points outside go to its border.
    """
    width, height = size_wh
    depth, pixels = depth[depth > 0], pixels[depth > 0]
    x, y = np.round(pixels @ scaling[:2, :2].T + scaling[:2, 2]).astype(np.int64).T
    depthmap = np.zeros((height, width), dtype=np.float32)
    depthmap[y.clip(0, height - 1), x.clip(0, width - 1)] = depth
    return depthmap


def _decode_jpeg(content: bytes, where: str) -> Image.Image:
    try:
        with Image.open(io.BytesIO(content)) as opened:
            return opened.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise InputError(f"{where}: the image cannot be read: {error}") from error


def _file(stem: Path, suffix: str) -> Path:
    return stem.with_name(f"{stem.name}{suffix}")


prepare = prepare_command(
    "waymo",
    plan,
    help="Waymo Perception 1.4.2, without TensorFlow, to the folder of Waymo.",
    raw="Folder of the tfrecord files, or the one above `training`.",
    pairs="The published waymo_pairs.npz.",
)
