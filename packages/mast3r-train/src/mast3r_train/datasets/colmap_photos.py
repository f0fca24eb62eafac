"""Photos and cameras of a COLMAP model, with depth maps of COLMAP's or of anybody's."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from mast3r_model import ConfigError, InputError
from mast3r_train.errors import SampleError
from mast3r_train.geometry import scaled_intrinsics

from .colmap_depth import depth_file, depth_folder, read_depth
from .colmap_model import cam2world_of, find_model, intrinsics_of, read_model, undistorted_images
from .files import missing_layout, read_rgb
from .photo_sources import Geometry, PhotoSource

LOGGER = logging.getLogger("mast3r.train")

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
        self.depth_folder = depth_folder(folder, depth)
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
        found = undistorted_images(read_model(model_folder))
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
        self.cam2world = np.stack([cam2world_of(image) for image in chosen])
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
            for image in read_model(self.model_folder).images.values()
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
