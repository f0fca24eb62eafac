"""Cambridge Landmarks (spec 50 A2)."""

from __future__ import annotations

import os
from pathlib import Path

from mast3r_visloc.datasets.layout import existing_folder, find_pairs, find_scene
from mast3r_visloc.datasets.sfm_dataset import SfmDataset

SCENES = ("ShopFacade", "GreatCourt", "KingsCollege", "OldHospital", "StMarysChurch")


class VislocCambridgeLandmarks(SfmDataset):
    """Video frames of five places in Cambridge.

    Args:
        root: the folder ``Cambridge_Landmarks`` with ``<scene>``, ``mapping`` and ``kapture``.
        subscene: the scene, such as ``ShopFacade``.
        pairsfile: name of a file in ``<scene>/pairsfile/query``, without ``.txt``.
        topk: how many map images each query is matched with.
        cache_sfm: accepted as upstream's; does nothing.

    Raises:
        InputError: an unknown scene, or a file or folder is missing.
        ConfigError: `topk` is no positive whole number.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        subscene: str,
        pairsfile: str,
        topk: int = 1,
        cache_sfm: bool = False,
    ) -> None:
        folder = existing_folder(Path(root), "Cambridge Landmarks")
        scene = find_scene(folder, subscene, SCENES)
        super().__init__(
            f"Cambridge Landmarks, {scene}",
            model=folder / "mapping" / scene / "colmap" / "reconstruction",
            queries=folder / "kapture" / scene / "query",
            photos=folder / scene,
            pairs_file=find_pairs(folder / scene, pairsfile),
            topk=topk,
            cache_sfm=cache_sfm,
        )
