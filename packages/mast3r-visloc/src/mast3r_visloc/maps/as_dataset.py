"""Maps of one's own as localisation datasets, for `mast3r visloc evaluate` (spec 50 D6)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera
from mast3r_visloc.datasets import Candidate, Query, Thresholds
from mast3r_visloc.formats import Pair, read_pairs, read_query_list
from mast3r_visloc.formats.lines import content_lines, relative_name

from .colmap_map import read_colmap_map
from .contents import LocalizationMap, MapImage
from .rgbd_map import read_rgbd_map

PathLike = str | os.PathLike[str]


class _OwnMap:
    """A map and listed photos. Those that are of the map are taken out of it: their poses are known."""

    thresholds: Thresholds = ((0.1, 1.0), (0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
    kind: ClassVar[str]

    def __init__(
        self,
        path: PathLike,
        images: PathLike | None = None,
        queries: PathLike | Sequence[str] = (),
        pairsfile: PathLike | None = None,
        topk: int = 20,
        query_images: PathLike | None = None,
    ) -> None:
        """Only the arguments are kept; everything is read on first use.

        Args:
            path: the map's folder.
            images: the folder of its photos; None: found beside it.
            queries: names of photos, or a file with a name a line; hloc's form ``name MODEL width height
                params...`` gives their cameras too.
            pairsfile: which map images to try for each query, in kapture's or hloc's form.
            topk: how many of them.
            query_images: the folder of the queries; None: that of the map's photos.

        Raises:
            InputError: `topk` below 1.
        """
        if topk < 1:
            raise InputError(f"topk must be at least 1, got {topk}")
        self._path = Path(path)
        self._images = None if images is None else Path(images)
        self._queries = queries
        self._pairsfile = None if pairsfile is None else Path(pairsfile)
        self._topk = topk
        self._query_images = None if query_images is None else Path(query_images)
        self.name = f"{self.kind}({self._path.name})"

    def _read(self, path: Path, images: Path | None) -> LocalizationMap:
        raise NotImplementedError

    @cached_property
    def map(self) -> LocalizationMap:
        """The map, without the queries."""
        listed = set(self._listed)
        kept = tuple(image for image in self._whole.images if image.name not in listed)
        if not kept:
            raise InputError(f"{self._path}: every photo of the map is a query", "list fewer queries")
        return dataclasses.replace(self._whole, images=kept)

    @cached_property
    def queries(self) -> Sequence[Query]:
        """The listed photos, in the list's order."""
        return tuple(self._query(name, camera) for name, camera in self._listed.items())

    def candidates(self, query: int) -> Sequence[Candidate]:
        """The best map images of the pairs file for a query, at most `topk`.

        Raises:
            InputError: there is no pairs file, or the query is not in it.
        """
        name = self.queries[query].name
        pairs = [pair for pair in self._pairs.get(name, ()) if pair.map_image in self.map.index_of]
        if not pairs:
            raise InputError(
                f"{self.name}: the query {name!r} has no pairs",
                "give pairsfile=..., or choose map images with --retrieval",
            )
        return tuple(Candidate(pair.map_image, pair.score) for pair in pairs[: self._topk])

    @cached_property
    def _whole(self) -> LocalizationMap:
        return self._read(self._path, self._images)

    @cached_property
    def _pairs(self) -> Mapping[str, Sequence[Pair]]:
        return {} if self._pairsfile is None else read_pairs(self._pairsfile)

    @cached_property
    def _listed(self) -> dict[str, Camera | None]:
        """Cameras of the queries, None where the list has none, by name."""
        if not isinstance(self._queries, str | os.PathLike):
            return dict.fromkeys(relative_name(name, self.name) for name in self._queries)
        path = Path(self._queries)
        lines = list(content_lines(path))
        if not lines:
            raise InputError(f"no query in {path}", "expected a name a line")
        if all(len(line.text.split()) == 1 for line in lines):
            return dict.fromkeys(relative_name(line.text, line.place) for line in lines)
        return {relative_name(name, str(path)): camera for name, camera in read_query_list(path).items()}

    def _query(self, name: str, camera: Camera | None) -> Query:
        index = self._whole.index_of.get(name)
        known: MapImage | None = None if index is None else self._whole.images[index]
        if known is not None and self._query_images is None:
            return Query(name, known.path, camera or known.camera, known.cam2world)
        path = self._folder_of_queries() / name
        if not path.is_file():
            raise InputError(
                f"{self.name}: there is no query {path}", "give their folder as query_images=..."
            )
        if known is None:
            return Query(name, path, camera)
        return Query(name, path, camera or known.camera, known.cam2world)

    def _folder_of_queries(self) -> Path:
        if self._query_images is not None:
            return self._query_images
        first = self._whole.images[0]
        return first.path.parents[len(Path(first.name).parts) - 1]


class ColmapMap(_OwnMap):
    """A COLMAP model and photos to localise in it::

    mast3r visloc evaluate "ColmapMap('/data/house/sparse/0', queries='held_out.txt')"
    """

    kind = "ColmapMap"

    def _read(self, path: Path, images: Path | None) -> LocalizationMap:
        return read_colmap_map(path, images)


class RgbdFolder(_OwnMap):
    """Posed photos with depth (`mast3r_visloc.maps.rgbd_map` says how) and photos to localise among them."""

    kind = "RgbdFolder"

    def _read(self, path: Path, images: Path | None) -> LocalizationMap:
        return read_rgbd_map(path, images)
