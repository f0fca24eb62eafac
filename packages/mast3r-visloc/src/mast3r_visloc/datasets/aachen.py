"""Aachen Day-Night v1.1 (spec 50 A2)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mast3r_model import InputError
from mast3r_visloc.datasets.contract import Query
from mast3r_visloc.datasets.layout import existing_folder, find_pairs
from mast3r_visloc.datasets.sfm_dataset import SfmDataset

SUBSCENES = ("all", "day", "night")


class VislocAachenDayNight(SfmDataset):
    """Photos of Aachen by day and by night; only queries that the pairs file names.

    Args:
        root: the folder ``Aachen-Day-Night-v1.1`` with ``images``, ``mapping``, ``kapture``, ``pairsfile``.
        subscene: ``day`` or ``night`` for the queries with that word in their name, else all.
        pairsfile: name of a file in ``pairsfile/query``, without ``.txt``.
        topk: how many map images each query is matched with.
        cache_sfm: accepted as upstream's; does nothing.

    Raises:
        InputError: another subscene, or a file or folder is missing.
        ConfigError: `topk` is no positive whole number.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        subscene: str | None,
        pairsfile: str,
        topk: int = 1,
        cache_sfm: bool = False,
    ) -> None:
        if subscene and subscene not in SUBSCENES:
            raise InputError(
                f"Aachen has no subscene {subscene!r}", f"subscene is one of: {', '.join(SUBSCENES)}"
            )
        folder = existing_folder(Path(root), "Aachen Day-Night v1.1")
        self._word = "" if subscene in (None, "all") else subscene
        super().__init__(
            f"Aachen Day-Night v1.1, {subscene or 'all'}",
            model=folder / "mapping" / "colmap" / "reconstruction",
            queries=folder / "kapture" / "query",
            photos=folder / "images",
            pairs_file=find_pairs(folder, pairsfile),
            topk=topk,
            cache_sfm=cache_sfm,
        )

    def _read_queries(self) -> Sequence[Query]:
        return tuple(
            query
            for query in super()._read_queries()
            if query.name in self._pairs and (not self._word or self._word in query.name)
        )
