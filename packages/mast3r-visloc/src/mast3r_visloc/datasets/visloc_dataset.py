"""What the four benchmark datasets share: pairs, and upstream's access by index (spec 50 A2)."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_model import ConfigError, InputError
from mast3r_visloc.datasets.contract import Candidate, Query, Thresholds
from mast3r_visloc.formats import Pair, read_pairs
from mast3r_visloc.maps import LocalizationMap

if TYPE_CHECKING:
    from mast3r_visloc.reference.views import ReferenceView

THRESHOLDS: Thresholds = ((0.1, 1.0), (0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
"""(metres, degrees) of upstream's summary (spec 50 A8)."""


class VislocDataset(abc.ABC):
    """A benchmark: exact data by the properties, upstream's roundings only through ``dataset[i]``.

    Args:
        name: for reports.
        pairs_file: which map images to try for each query.
        topk: how many of them `candidates` gives at most.

    Attributes:
        name: for reports.
        thresholds: (metres, degrees) of the benchmark's table.
        pairs_file: the file that `candidates` is read from.
        topk: how many candidates a query gets at most.
        maxdim: longest side of the network's input in pixels, once `set_resolution` was called.

    Raises:
        ConfigError: `topk` is no positive whole number.
    """

    thresholds: Thresholds = THRESHOLDS
    _hloc_prefixes = ("", "")

    def __init__(self, name: str, pairs_file: Path, topk: int) -> None:
        if not isinstance(topk, int) or isinstance(topk, bool) or topk < 1:
            raise ConfigError(f"topk must be a whole number from 1, got {topk!r}")
        self.name = name
        self.pairs_file = pairs_file
        self.topk = topk
        self.maxdim: int | None = None

    @cached_property
    def map(self) -> LocalizationMap:
        """The map, read on first use; the photos and 3D points of its images are not read yet.

        Raises:
            InputError: a file of the map cannot be read.
        """
        return self._read_map()

    @cached_property
    def queries(self) -> Sequence[Query]:
        """The photos to localise, in the order of their records.

        Raises:
            InputError: a file of the queries cannot be read.
        """
        return self._read_queries()

    @cached_property
    def _pairs(self) -> Mapping[str, Sequence[Pair]]:
        return read_pairs(self.pairs_file, hloc_prefixes=self._hloc_prefixes)

    @abc.abstractmethod
    def _read_map(self) -> LocalizationMap: ...

    @abc.abstractmethod
    def _read_queries(self) -> Sequence[Query]: ...

    def candidates(self, query: int) -> Sequence[Candidate]:
        """At most `topk` map images to try for query number `query`, best first; equal scores in file order.

        Raises:
            IndexError: there is no such query.
            InputError: the query has no pairs, or one of them is not in the map.
        """
        name = self.queries[query].name
        pairs = self._pairs.get(name)
        if pairs is None:
            raise InputError(
                f"{self.pairs_file} has no pairs for the query {name}", "give a pairs file with all queries"
            )
        best = pairs[: self.topk]
        for pair in best:
            if pair.map_image not in self.map.index_of:
                raise InputError(
                    f"{self.pairs_file} pairs {name} with {pair.map_image}, which is not in the map "
                    f"{self.map.source}"
                )
        return tuple(Candidate(pair.map_image, pair.score) for pair in best)

    def set_resolution(self, model: Any) -> None:
        """Upstream's way to fix the size of the network's input, before ``dataset[i]`` is asked for.

        Args:
            model: a MASt3R or DUSt3R model.
        """
        self.maxdim = max(model.patch_embed.img_size)

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.queries)

    def __getitem__(self, query: int) -> list[ReferenceView]:
        """Upstream's views of query number `query`, then of its map images (spec 50 A2).

        Raises:
            ConfigError: `set_resolution` was not called.
            IndexError: there is no such query.
            InputError: as `mast3r_visloc.reference.views.reference_views` says.
        """
        from mast3r_visloc.reference.views import reference_views

        if self.maxdim is None:
            raise ConfigError(
                "the size of the network's input is not known yet", "call set_resolution(model) first"
            )
        return reference_views(self, query, self.maxdim)
