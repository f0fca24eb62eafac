"""7-Scenes with depth registered to the colour camera (spec 50 A2, A3.5)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera, PixelConvention
from mast3r_visloc.datasets.contract import Query
from mast3r_visloc.datasets.kapture_images import LoadPoints, kapture_map, kapture_queries
from mast3r_visloc.datasets.layout import check_kapture, existing_folder, find_pairs, find_scene
from mast3r_visloc.datasets.visloc_dataset import VislocDataset
from mast3r_visloc.formats import read_depth
from mast3r_visloc.maps import DensePoints, LocalizationMap, MapImage, lift_depth

SCENES = ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs")
PIXELS: PixelConvention = "centre"
"""kapture's release has principal points such as (320, 240) that upstream takes as they are (trap 2)."""
_COLOUR, _DEPTH = "color.png", "depth.reg"


class VislocSevenScenes(VislocDataset):
    """Kinect frames of seven small rooms.

    Args:
        root: the folder ``7-scenes``.
        subscene: the scene, such as ``chess``; its folder holds ``mapping``, ``query`` and ``pairfiles``.
        pairsfile: name of a file in ``pairfiles/query``, without ``.txt``.
        topk: how many map images each query is matched with.

    Raises:
        InputError: an unknown scene, or a file or folder is missing.
        ConfigError: `topk` is no positive whole number.
    """

    def __init__(self, root: str | os.PathLike[str], subscene: str, pairsfile: str, topk: int = 1) -> None:
        folder = existing_folder(Path(root), "7-Scenes")
        folder = folder / find_scene(folder, subscene, SCENES)
        pairs_file = find_pairs(folder, pairsfile, ("pairfiles", "pairsfile"))
        super().__init__(f"7-Scenes, {subscene}", pairs_file, topk)
        self._mapping = check_kapture(folder / "mapping")
        self._query_folder = check_kapture(folder / "query")

    def _read_map(self) -> LocalizationMap:
        return kapture_map(self._mapping, PIXELS, _points_loader)

    def _read_queries(self) -> Sequence[Query]:
        return kapture_queries(self._query_folder, PIXELS)


def _points_loader(image: MapImage) -> LoadPoints | None:
    if image.camera is None or image.cam2world is None:
        return None
    return partial(_read_points, image.path, image.camera, image.cam2world)


def _read_points(path: Path, camera: Camera, cam2world: Float[np.ndarray, "4 4"]) -> DensePoints:
    if _COLOUR not in path.name:
        raise InputError(
            f"the depth map of {path} is not known", f"its name should contain {_COLOUR}, as 7-Scenes has it"
        )
    depth = read_depth(path.with_name(path.name.replace(_COLOUR, _DEPTH)), camera.shape)
    points = lift_depth(depth, camera, cam2world)
    return DensePoints(points.grid.astype(np.float32), points.transform)  # as precise as the depth itself
