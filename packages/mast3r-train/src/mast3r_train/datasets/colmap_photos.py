"""Photos and cameras of a COLMAP model, with depth maps of COLMAP's or of anybody's."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from mast3r_model import ConfigError, InputError
from mast3r_train.errors import SampleError
from mast3r_train.preparing.extras import import_extra

from .colmap_depth import read_depth
from .files import missing_layout, read_rgb
from .photo_sources import Geometry, PhotoSource, scaled_intrinsics

LOGGER = logging.getLogger("mast3r.train")

PIXEL_CENTRE = 0.5
"""COLMAP's coordinate of the first pixel's centre; ours is 0."""

MODEL_FOLDERS = (".", "sparse", "sparse/0")
UNDISTORTED = ("PINHOLE", "SIMPLE_PINHOLE")
DENSE_WORKSPACE = "stereo/depth_maps"
SUFFIXES = (".npy", ".png", ".exr")
LARGEST_ASPECT_DIFFERENCE = 0.02


class ColmapPhotos(PhotoSource):
    """The registered photos of a COLMAP model that have a depth map.

    Args:
        folder: with the model in it, in ``sparse`` or in ``sparse/0``.
        images: folder of the photos; default: ``images``.
        depth: folder of the depth maps; default: ``stereo/depth_maps`` of COLMAP's dense workspace, else
            ``depth``.
        png_unit: of depth in 16-bit PNG files, in the model's unit.
        min_conf: depth whose number in ``confidence/`` is not above is unknown; None: no such files are read.

    Raises:
        InputError: there is no such model or folder, a camera is distorted, or no photo has depth.
        ConfigError: ``min_conf`` without a folder ``confidence``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        images: Path | None = None,
        depth: Path | None = None,
        png_unit: float = 0.001,
        min_conf: float | None = None,
    ) -> None:
        model_folder = find_model(folder)
        assert model_folder is not None
        self.model_folder = model_folder
        self.images = folder / (images or "images")
        self.depth_folder = _depth_folder(folder, depth)
        self.png_unit = png_unit
        self.min_conf = min_conf
        confidence = folder / "confidence"
        if min_conf is not None and not confidence.is_dir():
            raise ConfigError(
                f"min_conf={min_conf} needs confidence maps, and {folder} has no folder confidence",
                hint="leave out min_conf: COLMAP's own depth maps come without confidence",
            )
        if not self.images.is_dir():
            raise missing_layout("PosedPhotos", folder, str(self.images), "give images='...'")
        model = self._model()
        found = sorted((image for image in model.images.values() if image.has_pose), key=lambda im: im.name)
        _refuse_distorted(model, found)
        depths = {image.name: depth_file(self.depth_folder, image.name) for image in found}
        chosen = [image for image in found if depths[image.name] is not None]
        if not chosen:
            raise InputError(
                f"none of the {len(found)} photos of {model_folder} has a depth map in {self.depth_folder}",
                hint="COLMAP writes NAME.geometric.bin by patch_match_stereo with geom_consistency; files of "
                "one's own are depth/NAME.npy, .png or .exr",
            )
        if len(chosen) < len(found):
            LOGGER.warning("%d photos have no depth map and are left out", len(found) - len(chosen))
        self.names = tuple(image.name for image in chosen)
        self.depths = tuple(depths[name] or Path() for name in self.names)
        self.confidences = tuple(
            depth_file(confidence, name) if min_conf is not None else None for name in self.names
        )
        self.sizes = tuple((int(image.camera.width), int(image.camera.height)) for image in chosen)
        self.intrinsics = np.stack([intrinsics_of(image.camera) for image in chosen])
        self.cam2world = np.stack([_cam2world(image) for image in chosen])
        self.group = np.zeros(len(chosen), dtype=np.int64)

    def geometry(self, number: int) -> Geometry:
        """Depth and its intrinsics: depth maps may be smaller than the photos."""
        depth = read_depth(self.depths[number], self.png_unit)
        size = (depth.shape[1], depth.shape[0])
        expected = self.sizes[number]
        if abs(size[0] * expected[1] / (size[1] * expected[0]) - 1) > LARGEST_ASPECT_DIFFERENCE:
            raise SampleError(
                f"{self.depths[number]} has {size[0]}x{size[1]} pixels, which is no scaled version of the "
                f"camera's {expected[0]}x{expected[1]}"
            )
        if self.min_conf is not None:
            depth = self._sure(number, depth)
        return depth, scaled_intrinsics(self.intrinsics[number], expected, size)

    def image(self, number: int) -> Image.Image:
        """The photo."""
        path = self.images / self.names[number]
        image = read_rgb(path)
        if image.size != self.sizes[number]:
            width, height = self.sizes[number]
            raise SampleError(
                f"{path} has {image.width}x{image.height} pixels, its camera in {self.model_folder} "
                f"{width}x{height}"
            )
        return image

    def tracks(self) -> Int[np.ndarray, "m 2"]:
        """From the model's points; read again, for it is needed once."""
        place = {name: number for number, name in enumerate(self.names)}
        rows = [
            (place[image.name], point.point3D_id)
            for image in self._model().images.values()
            if image.name in place
            for point in image.get_observation_points2D()
        ]
        return np.array(rows, dtype=np.int64).reshape(-1, 2)

    def signature(self) -> str:
        """Sizes and times of the depth maps, and the options that change them."""
        digest = hashlib.sha256(f"{self.png_unit} {self.min_conf}".encode())
        for path in self.depths:
            about = path.stat()
            digest.update(f"{path.name} {about.st_size} {about.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _model(self) -> Any:
        pycolmap = import_extra("pycolmap", extra="colmap", purpose="reading a COLMAP model")
        try:
            return pycolmap.Reconstruction(self.model_folder)
        except Exception as error:  # pycolmap raises RuntimeError, ValueError and IndexError for broken files
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"{self.model_folder} holds a broken COLMAP model: {reason}") from error

    def _sure(self, number: int, depth: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
        path = self.confidences[number]
        if path is None:
            raise SampleError(f"{self.names[number]} has no confidence map")
        confidence = read_depth(path, 1.0)
        if confidence.shape != depth.shape:
            raise SampleError(
                f"{path} has {confidence.shape[1]}x{confidence.shape[0]} pixels, the depth "
                f"{depth.shape[1]}x{depth.shape[0]}"
            )
        assert self.min_conf is not None
        return np.where(confidence > self.min_conf, depth, np.float32(0))


def find_model(folder: Path) -> Path | None:
    """The folder of the model's files, binary or text; None if there is none."""
    for name in MODEL_FOLDERS:
        for suffix in (".bin", ".txt"):
            if all((folder / name / f"{kind}{suffix}").is_file() for kind in ("cameras", "images")):
                return folder / name
    return None


def intrinsics_of(camera: Any) -> Float[np.ndarray, "3 3"]:
    """Of a pinhole camera of pycolmap's, with pixel centres at integers."""
    K = np.array(camera.calibration_matrix(), dtype=np.float64)
    K[:2, 2] -= PIXEL_CENTRE
    return K


def depth_file(folder: Path, name: str) -> Path | None:
    """The depth map of a photo, if there is one; its name is the photo's, with or without suffix, and its own."""
    stem = PurePosixPath(name).with_suffix("")
    candidates = [f"{name}.geometric.bin", *(f"{base}{end}" for base in (name, stem) for end in SUFFIXES)]
    return next((folder / each for each in candidates if (folder / each).is_file()), None)


def _depth_folder(folder: Path, given: Path | None) -> Path:
    candidates: Sequence[Path] = [folder / DENSE_WORKSPACE, folder / "depth"]
    if given is not None:
        candidates = [folder / given]
    found = next((path for path in candidates if path.is_dir()), None)
    if found is None:
        expected = " or ".join(str(path.relative_to(folder)) for path in candidates if given is None)
        raise missing_layout(
            "PosedPhotos", folder, expected or str(given), "it needs depth maps of the photos"
        )
    return found


def _refuse_distorted(model: Any, images: Iterable[Any]) -> None:
    for image in images:
        if image.camera.model_name not in UNDISTORTED:
            raise InputError(
                f"{image.name} has a {image.camera.model_name} camera; training needs photos without lens "
                f"distortion ({' or '.join(UNDISTORTED)})",
                hint="undistort them: colmap image_undistorter --image_path IMAGES --input_path SPARSE "
                "--output_path DENSE, and give ROOT='DENSE'",
            )


def _cam2world(image: Any) -> Float[np.ndarray, "4 4"]:
    world2cam = np.eye(4)
    world2cam[:3] = image.cam_from_world().matrix()
    return np.linalg.inv(world2cam)
