"""InLoc: phone photos in two buildings, mapped by a laser scanner (spec 50 A2, A3.5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path, PureWindowsPath

import numpy as np
from jaxtyping import Float64

from mast3r_model import ImageTransform, InputError
from mast3r_visloc.cameras import PixelConvention
from mast3r_visloc.datasets.contract import Query
from mast3r_visloc.datasets.kapture_images import LoadPoints, kapture_map, kapture_queries
from mast3r_visloc.datasets.layout import check_kapture, existing_folder, find_pairs
from mast3r_visloc.datasets.visloc_dataset import VislocDataset
from mast3r_visloc.formats import read_alignment, read_scan
from mast3r_visloc.maps import DensePoints, LocalizationMap, MapImage

BUILDINGS = ("DUC1", "DUC2")
PIXELS: PixelConvention = "centre"
"""Upstream takes the principal points of the kapture folder as they are (trap 2)."""


class VislocInLoc(VislocDataset):
    """Phone photos in the buildings DUC1 and DUC2.

    Args:
        root: the folder ``InLoc`` with ``mapping``, ``query`` and ``pairfiles``.
        pairsfile: name of a file in ``pairfiles/query``, without ``.txt``, in kapture's or hloc's form.
        topk: how many map images each query is matched with.

    Raises:
        InputError: a file or folder is missing.
        ConfigError: `topk` is no positive whole number.
    """

    _hloc_prefixes = ("query/", "database/cutouts/")

    def __init__(self, root: str | os.PathLike[str], pairsfile: str, topk: int = 1) -> None:
        folder = existing_folder(Path(root), "InLoc")
        super().__init__("InLoc", find_pairs(folder, pairsfile, ("pairfiles", "pairsfile")), topk)
        self._mapping = check_kapture(folder / "mapping")
        self._query_folder = check_kapture(folder / "query")

    def _read_map(self) -> LocalizationMap:
        # One small file a building, read when the first of its scans is.
        alignments = cache(partial(_read_building, self._mapping))

        def points_loader(image: MapImage) -> LoadPoints:
            return partial(_read_points, image, alignments)

        return kapture_map(self._mapping, PIXELS, points_loader)

    def _read_queries(self) -> Sequence[Query]:
        return kapture_queries(self._query_folder, PIXELS)


Alignments = dict[str, Float64[np.ndarray, "4 4"]]


def _read_building(mapping: Path, building: str) -> Alignments:
    return read_alignment(mapping / f"{building}_alignment" / "all_transformations.txt")


def _read_points(image: MapImage, alignments: Callable[[str], Alignments]) -> DensePoints:
    """The scan's points in the building's frame; the stored pose of the image is not needed."""
    building = BUILDINGS[0] if image.name.startswith(BUILDINGS[0]) else BUILDINGS[1]
    # Both separators count, as in upstream.
    parts = PureWindowsPath(image.name).parts
    scan_id = parts[1] if len(parts) > 2 else ""
    transformation = alignments(building).get(scan_id)
    if transformation is None:
        raise InputError(
            f"{image.name}: the alignment of {building} has no scan {scan_id!r}",
            "names of cutouts are BUILDING/SCAN/FILE",
        )
    points = read_scan(image.path.with_name(f"{image.path.name}.mat"))
    if image.camera is not None and points.shape[:2] != image.camera.shape:
        raise InputError(
            f"the scan of {image.name} has {points.shape[1]}x{points.shape[0]} points, its camera "
            f"{image.camera.width}x{image.camera.height} pixels"
        )
    world = points @ transformation[:3, :3].T + transformation[:3, 3]
    return DensePoints(world, ImageTransform.identity((points.shape[0], points.shape[1])))
