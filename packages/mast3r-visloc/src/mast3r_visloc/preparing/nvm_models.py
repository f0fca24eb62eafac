"""A COLMAP text model from the part of an NVM file that belongs to the map (spec 50 D8)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from .colmap_models import FILES, image_names, model_suffix
from .nvm import NvmCamera, NvmPoints, read_nvm_points
from .placing import write_lines

LOGGER = logging.getLogger("mast3r.visloc")
SUSPICIOUS_PIXELS = 4.0


@dataclass(frozen=True, eq=False)
class PosedPhoto:
    """A photo with its camera in the NVM file.

    Attributes:
        name: of the photo's file.
        row: of the camera in the file.
        camera: from the file.
        size_wh: (width, height) in pixels.
    """

    name: str
    row: int
    camera: NvmCamera
    size_wh: tuple[int, int]

    @property
    def params(self) -> tuple[float, float, float, float]:
        """COLMAP's SIMPLE_RADIAL: f, cx, cy, k; the first pixel's centre is 0.5."""
        width, height = self.size_wh
        return self.camera.focal, width / 2, height / 2, self.camera.radial(self.size_wh)


@dataclass(frozen=True, eq=False)
class MapPoints:
    """The points that two or more photos of the map see, observations sorted by photo.

    Attributes:
        xyz: (p, 3) float64.
        rgb: (p, 3).
        photo: (n,) which photo sees; ascending.
        point: (n,) which point is seen.
        xy: (n, 2) in COLMAP's pixels.
    """

    xyz: Float[np.ndarray, "p 3"]
    rgb: Int[np.ndarray, "p 3"]
    photo: Int[np.ndarray, " n"]
    point: Int[np.ndarray, " n"]
    xy: Float[np.ndarray, "n 2"]


def map_points(points: NvmPoints, photos: Sequence[PosedPhoto], cameras: int) -> MapPoints:
    """What photos of the map see of an NVM's points.

    Args:
        points: of the whole file.
        photos: of the map.
        cameras: how many the file has.
    """
    photo_of = np.full(cameras, -1)
    photo_of[[photo.row for photo in photos]] = np.arange(len(photos))
    photo, point = photo_of[points.camera], points.point
    # VisualSFM may list a feature of one photo twice in a track: photos are counted, not observations.
    pairs = np.unique(np.stack([point, photo])[:, photo >= 0], axis=1)
    kept_points = np.bincount(pairs[0], minlength=len(points.xyz)) >= 2
    kept = np.flatnonzero((photo >= 0) & kept_points[point])
    kept = kept[np.argsort(photo[kept], kind="stable")]
    middles = np.array([photo.size_wh for photo in photos], dtype=np.float64).reshape(-1, 2) / 2
    new_point = np.cumsum(kept_points) - 1
    return MapPoints(
        points.xyz[kept_points],
        points.rgb[kept_points].astype(np.int64),
        photo[kept],
        new_point[point[kept]],
        points.offset_xy[kept] + middles[photo[kept]],
    )


def write_nvm_model(target: Path, nvm: Path, photos: Sequence[PosedPhoto]) -> list[Path]:
    """Write the map's COLMAP model with the file's own points.

    Returns:
        The files that were written; none if a model of the same photos is there.

    Raises:
        InputError: the NVM file is damaged.
        OutputError: a file cannot be written.
    """
    if is_model_of(target, photos):
        return []
    points = read_nvm_points(nvm)
    cameras = 1 + max([int(points.camera.max(initial=0)), *(photo.row for photo in photos)])
    seen = map_points(points, photos, cameras)
    errors = reprojection_errors(seen, photos)
    if len(errors) and np.median(errors) > SUSPICIOUS_PIXELS:
        LOGGER.warning(
            "%s: its points lie %.1f px (median) from where its cameras see them: are the photos of the size "
            "that the model was made with?",
            nvm,
            np.median(errors),
        )
    contents = {
        "cameras": _camera_lines(photos),
        "images": _image_lines(photos, seen),
        "points3D": _point_lines(seen, errors),
    }
    return [path for name in FILES for path in write_lines(target / f"{name}.txt", contents[name])]


def is_model_of(folder: Path, photos: Sequence[PosedPhoto]) -> bool:
    """Whether a folder holds a text model of exactly these photos."""
    names = sorted(photo.name for photo in photos)
    return model_suffix(folder) == ".txt" and sorted(image_names(folder)) == names


def reprojection_errors(seen: MapPoints, photos: Sequence[PosedPhoto]) -> Float[np.ndarray, " n"]:
    """Pixels between every observation and where its point projects; inf behind the camera."""
    if not len(seen.xy):
        return np.zeros(0)
    poses = np.array([photo.camera.world2cam for photo in photos])[seen.photo]
    params = np.array([photo.params for photo in photos])[seen.photo]
    points = np.einsum("nij,nj->ni", poses[:, :3, :3], seen.xyz[seen.point]) + poses[:, :3, 3]
    front = points[:, 2] > 0
    plane = points[:, :2] / np.where(front, points[:, 2], 1)[:, None]
    factor = params[:, :1] * (1 + params[:, 3:] * (plane**2).sum(1, keepdims=True))
    errors = np.linalg.norm(plane * factor + params[:, 1:3] - seen.xy, axis=1)
    return np.where(front, errors, np.inf)


def _camera_lines(photos: Sequence[PosedPhoto]) -> Iterator[str]:
    yield "# Camera list with one line of data per camera:"
    yield "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"
    yield f"# Number of cameras: {len(photos)}"
    for number, photo in enumerate(photos, start=1):
        width, height = photo.size_wh
        yield f"{number} SIMPLE_RADIAL {width} {height} {_numbers(photo.params)}"


def _image_lines(photos: Sequence[PosedPhoto], seen: MapPoints) -> Iterator[str]:
    yield "# Image list with two lines of data per image:"
    yield "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME"
    yield "#   POINTS2D[] as (X, Y, POINT3D_ID)"
    mean = len(seen.xy) / max(1, len(photos))
    yield f"# Number of images: {len(photos)}, mean observations per image: {mean}"
    starts = np.searchsorted(seen.photo, np.arange(len(photos) + 1))
    for index, photo in enumerate(photos):
        x, y, z, w = Rotation.from_matrix(photo.camera.world2cam[:3, :3]).as_quat(canonical=True)
        pose = _numbers([w, x, y, z, *photo.camera.world2cam[:3, 3]])
        yield f"{index + 1} {pose} {index + 1} {photo.name}"
        own = slice(starts[index], starts[index + 1])
        observed = zip(seen.xy[own].tolist(), seen.point[own].tolist(), strict=True)
        yield " ".join(f"{x} {y} {point + 1}" for (x, y), point in observed)


def _point_lines(seen: MapPoints, errors: Float[np.ndarray, " n"]) -> Iterator[str]:
    yield "# 3D point list with one line of data per point:"
    yield "#   POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)"
    yield f"# Number of points: {len(seen.xyz)}, mean track length: {len(seen.xy) / max(1, len(seen.xyz))}"
    first = np.searchsorted(seen.photo, np.arange(seen.photo.max(initial=0) + 1))
    place = np.arange(len(seen.photo)) - first[seen.photo] if len(seen.photo) else seen.photo
    order = np.argsort(seen.point, kind="stable")
    starts = np.searchsorted(seen.point[order], np.arange(len(seen.xyz) + 1))
    images, places, sorted_errors = (
        (seen.photo + 1)[order].tolist(),
        place[order].tolist(),
        np.where(np.isfinite(errors), errors, 0)[order],
    )
    for index, (xyz, rgb) in enumerate(zip(seen.xyz.tolist(), seen.rgb.tolist(), strict=True)):
        own = range(starts[index], starts[index + 1])
        error = sorted_errors[starts[index] : starts[index + 1]].mean()
        track = " ".join(f"{images[k]} {places[k]}" for k in own)
        yield f"{index + 1} {_numbers(xyz)} {rgb[0]} {rgb[1]} {rgb[2]} {float(error)} {track}"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
