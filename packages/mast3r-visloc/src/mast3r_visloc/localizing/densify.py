"""3D for map images that have none: the network's points, in the map's unit (spec 50 D1, ``--densify``).

A map image of known pose is looked at as `alignment` looks at a query, but its pose is not asked for:
the network predicts its points together with those of map images that see the same, and only their unit is
found, by the 3D points of these, or else by how far away their cameras are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import threading
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from mast3r_model import atomic_write
from mast3r_visloc.maps import (
    DensePoints,
    ImagePoints,
    LocalizationMap,
    SparsePoints,
    network_points,
    turn_points,
)

from .covisible import CovisibleImages
from .index import MapIndex
from .map_unit import unit_of_points
from .options import LocalizationOptions
from .photos import FileTransform
from .pointmaps import PlacedImage, predict_geometry

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo

log = logging.getLogger("mast3r.visloc")

FOLDER = "densified"
"""In the index: what was predicted."""

LEAST_CONFIDENCE = 1.5
"""Of the network: less sure points are left out, as in pictures of a scene."""


class Densifier:
    """Predicts what map images without 3D see.

    An image is predicted when its points are asked for first, and kept in the index's folder. Images without
    pose, mirrored ones, and those of which no neighbour tells the unit, stay without points.

    Args:
        localization_map: the map.
        model: the network; whoever asks for points takes care that nobody else uses it meanwhile.
        index: of the map.
        options: how many points are predicted at a time, PnP's for cameras, and the seed.
    """

    def __init__(
        self,
        localization_map: LocalizationMap,
        model: AsymmetricCroCo3DStereo,
        index: MapIndex,
        options: LocalizationOptions,
    ) -> None:
        self._map, self._model, self._index, self._options = localization_map, model, index, options
        self._covisible = CovisibleImages(localization_map)
        self._lock = threading.Lock()
        self._used: set[Path] = set()

    @property
    def missing(self) -> list[int]:
        """Numbers of the images that points are predicted for."""
        return [
            number
            for number, image in enumerate(self._map.images)
            if image.load_points is None and image.cam2world is not None
        ]

    def predict_all(self, progress: Callable[[int], None] | None = None) -> int:
        """Predict the points of all those images, and delete what the folder keeps beside them.

        Args:
            progress: called with the number of images just done.

        Returns:
            How many of them have points now.

        Raises:
            OutputError: they cannot be kept.
            InputError: a map's camera that does not fit its photo.
        """
        count = 0
        for number in self.missing:
            points = self.points(number)
            count += isinstance(points, DensePoints) and bool(np.isfinite(points.grid).any())
            if progress is not None:
                progress(1)
        for stale in set((self._index.folder / FOLDER).glob("*.npz")) - self._used:
            stale.unlink(missing_ok=True)
        return count

    def completed(self) -> LocalizationMap:
        """The map, with points of those images; each is predicted when it is asked for."""
        images = list(self._map.images)
        for number in self.missing:
            images[number] = dataclasses.replace(images[number], load_points=partial(self.points, number))
        return dataclasses.replace(self._map, images=tuple(images))

    def points(self, number: int) -> ImagePoints:
        """What a map image sees, by the network; all NaN where the unit cannot be found.

        Args:
            number: of the image.

        Raises:
            OutputError: it cannot be kept.
            InputError: a map's camera that does not fit its photo.
        """
        with self._lock:
            own = self._index.get([number]).get(number)
            turns = None if own is None else own.transform.quarter_turns
            if own is None or turns is None:
                return SparsePoints(np.empty((0, 2)), np.empty((0, 3)), np.empty(0, np.int64))
            neighbours = self._covisible.of(number)
            path = self._index.folder / FOLDER / f"{self._key(number, neighbours)}.npz"
            self._used.add(path)
            grid = _read(path)
            if grid is None:
                grid = self._predicted(number, own.transform, neighbours)
                _write(path, grid)
        upright = own.transform.upright
        return turn_points(DensePoints(grid, upright), -turns, upright.original_shape)

    def _key(self, number: int, neighbours: Sequence[int]) -> str:
        """Of all that the points depend on, but for the network and its size, which the folder is for."""
        digest = hashlib.sha256(f"{LEAST_CONFIDENCE} {self._options.seed}".encode())
        for each in (number, *neighbours):
            image = self._map.images[each]
            digest.update(self._index.file_of(each).encode())
            digest.update(np.ascontiguousarray(image.cam2world, dtype=np.float64).tobytes())
            digest.update(repr(image.camera).encode())
            digest.update(self._covisible.sample(each).tobytes())
        return digest.hexdigest()[:32]

    def _predicted(
        self, number: int, transform: FileTransform, neighbours: Sequence[int]
    ) -> Float[np.ndarray, "h w 3"]:
        """(h, w, 3) float32 in the map's world frame, for the network's pixels."""
        image = self._map.images[number]
        grid = np.full((*transform.network_shape, 3), np.nan, dtype=np.float32)
        features = self._index.get([number, *neighbours])
        own = features.pop(number)
        placed = []
        for neighbour, found in features.items():
            known = self._map.images[neighbour]
            points = None
            if known.load_points is not None:
                points = network_points(
                    known.load_points(),
                    found.transform,
                    stride=self._options.map_stride,
                    cam2world=known.cam2world,
                ).spread(self._options.points_per_image)
            placed.append(PlacedImage(known, found.encoded, found.transform, points))
        if not placed or image.cam2world is None:
            return grid
        pose = image.cam2world.copy()  # of the upright photo's camera
        pose[:3, :2] = pose[:3, :2] @ transform.upright_from_file[:2, :2].T
        geometry = predict_geometry(self._model, own.encoded, placed, self._options, query_stride=1)
        unit = unit_of_points(geometry.images, pose, self._options)
        if unit is None:
            log.info("%s: no points, as no neighbour tells how large the network's are", image.name)
            return grid
        sure = (geometry.confidence >= LEAST_CONFIDENCE) & (geometry.points[:, 2] > 0)
        x, y = geometry.xy[sure].astype(np.int64).T
        grid[y, x] = unit * geometry.points[sure] @ pose[:3, :3].T + pose[:3, 3]
        return grid


def _write(path: Path, grid: Float[np.ndarray, "h w 3"]) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, points=grid)


def _read(path: Path) -> Float[np.ndarray, "h w 3"] | None:
    """None if there is no such file, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as content:
            grid: np.ndarray = content["points"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return grid if grid.ndim == 3 and grid.shape[-1] == 3 and grid.dtype == np.float32 else None
