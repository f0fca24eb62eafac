"""Photos, depth and cameras from the folder that ``mast3r sfm`` wrote.

Everything is in ``scene.safetensors``, whatever ``--export`` said: depth, confidence and colours in the
network's pixels, intrinsics in the photo's, and the transform between the two. The photos themselves are not
needed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image
from safetensors import SafetensorError, safe_open

from mast3r_model import ImageTransform, InputError
from mast3r_train.errors import SampleError

from .photo_sources import Geometry, PhotoSource

STATE_FILE = "scene.safetensors"
SCHEMA = "mast3r.scene/1"


class ScenePhotos(PhotoSource):
    """The placed photos of a scene.

    Args:
        folder: that ``mast3r sfm`` wrote.
        min_conf: depth whose confidence is not above is unknown; None: the threshold that the reconstruction
            had for its points.

    Raises:
        InputError: the scene is broken, or none of its photos could be placed.
    """

    def __init__(self, folder: Path, min_conf: float | None) -> None:
        self.path = folder / STATE_FILE
        about = self._about()
        try:
            entries = about["images"]
            order = sorted(range(len(entries)), key=lambda number: str(entries[number]["name"]))
            self.names = tuple(str(entries[number]["name"]) for number in order)
            self.group = np.array([int(entries[number]["component"]) for number in order], dtype=np.int64)
            cameras = [self._camera(number, entries[number]) for number in order]
            chosen = about["report"].get("min_confidence") if min_conf is None else min_conf
            self.min_conf = 0.0 if chosen is None else float(chosen)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{self.path} is broken: {error!r}") from error
        if not order:
            raise InputError(f"{folder} is a scene without a placed photo")
        self.stored_as = np.array(order, dtype=np.int64)
        self.intrinsics = np.stack([K for K, _ in cameras])
        self.cam2world = np.stack([pose for _, pose in cameras])

    def geometry(self, number: int) -> Geometry:
        """Depth above the confidence threshold, and intrinsics, in network pixels."""
        depth = self._array(number, "depth")
        sure = self._array(number, "confidence") > self.min_conf
        return np.where(sure, depth, np.float32(0)), self.intrinsics[number]

    def image(self, number: int) -> Image.Image:
        """The network's input."""
        return Image.fromarray(self._array(number, "color"))

    def tracks(self) -> Int[np.ndarray, "m 2"]:
        """From the scene's tracks."""
        place = np.empty(len(self.names), dtype=np.int64)
        place[self.stored_as] = np.arange(len(self.names))
        image, track = (self._read(f"tracks.{name}") for name in ("image", "track"))
        return np.stack([place[image], track], axis=1)

    def signature(self) -> str:
        """The state file's size and time, and the threshold."""
        about = self.path.stat()
        return f"{about.st_size} {about.st_mtime_ns} {self.min_conf}"

    def _about(self) -> dict[str, Any]:
        try:
            with safe_open(self.path, framework="numpy") as file:
                about = json.loads((file.metadata() or {})["about"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"{self.path} is broken, or was not written by `mast3r sfm`: {error}") from error
        if not isinstance(about, dict) or about.get("schema") != SCHEMA:
            raise InputError(f"{self.path} is no scene of the kind {SCHEMA}")
        return about

    def _camera(
        self, number: int, entry: dict[str, Any]
    ) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]:
        original, network = (tuple(shape) for shape in entry["transform_shapes"])
        matrix = self._read(f"images.{number}.network_from_original")
        transform = ImageTransform(original, network, matrix)
        K = transform.intrinsics_to_network(self._read(f"images.{number}.intrinsics"))
        return np.asarray(K, np.float64), self._read(f"images.{number}.cam2world").astype(np.float64)

    def _array(self, number: int, name: str) -> np.ndarray:
        try:
            return self._read(f"images.{self.stored_as[number]}.{name}")
        except InputError as error:
            raise SampleError(error.message) from error

    def _read(self, name: str) -> np.ndarray:
        try:
            with safe_open(self.path, framework="numpy") as file:
                array: np.ndarray = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{self.path}: cannot read {name}: {error}") from error
        return array
