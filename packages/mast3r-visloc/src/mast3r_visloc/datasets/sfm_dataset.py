"""Datasets whose map is a COLMAP model and whose queries are a kapture folder: Aachen, Cambridge."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mast3r_visloc.datasets.colmap_reconstruction import check_colmap_model, colmap_map
from mast3r_visloc.datasets.contract import Query
from mast3r_visloc.datasets.kapture_images import kapture_queries
from mast3r_visloc.datasets.layout import check_kapture, existing_folder
from mast3r_visloc.datasets.visloc_dataset import VislocDataset
from mast3r_visloc.maps import LocalizationMap

_logger = logging.getLogger("mast3r.visloc")


class SfmDataset(VislocDataset):
    """A COLMAP model with kapture queries, both with the first pixel's centre at 0.5.

    Args:
        name: for reports.
        model: folder of the COLMAP model, text or binary.
        queries: kapture folder of the queries.
        photos: folder of the photos of both.
        pairs_file: which map images to try for each query.
        topk: how many of them.
        cache_sfm: upstream's switch for a pickle beside the model; accepted, and does nothing.

    Raises:
        InputError: a folder or file is missing.
    """

    def __init__(
        self,
        name: str,
        *,
        model: Path,
        queries: Path,
        photos: Path,
        pairs_file: Path,
        topk: int,
        cache_sfm: bool,
    ) -> None:
        super().__init__(name, pairs_file, topk)
        self._model = check_colmap_model(model)
        self._photos = existing_folder(photos, "the photos")
        self._query_folder = check_kapture(queries)
        if cache_sfm:
            _logger.info("cache_sfm does nothing: %s is read safely each time, no pickle is kept", model)

    def _read_map(self) -> LocalizationMap:
        return colmap_map(self._model, self._photos)

    def _read_queries(self) -> Sequence[Query]:
        return kapture_queries(self._query_folder, "corner", self._photos)
