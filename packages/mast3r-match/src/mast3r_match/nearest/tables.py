"""Nearest neighbours between the pixels of two descriptor maps, looked up by pixel index.

A reciprocal walk only ever asks "which pixel of the other image is nearest to this one?". The answer may come
from a whole table (one pass over all pairs of pixels: accelerators) or be found when first asked for and
remembered (CPU), shared by all walks over the same two maps; the answers are the same (spec 20 section 8).
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mast3r_model import InputError

from .backends import BackendName
from .metric import Metric, Precision
from .search import DescriptorIndex, nearest_neighbors

FULL_TABLE_SHARE = 0.5
"""Seeds over pixels from which one pass for both tables costs less than the row queries of a walk."""


class NeighborTable(Protocol):
    """Nearest pixel of another image for flat pixel indices ``x + width * y``; -1 where there is none."""

    def __call__(self, pixels: Int[Tensor, " n"], /) -> Int[Tensor, " n"]: ...


class FullTable:
    """A table that was filled beforehand.

    Args:
        nearest: (pixels,) int64, nearest pixel in the other image, or -1.
    """

    def __init__(self, nearest: Int[Tensor, " pixels"]) -> None:
        self.nearest = nearest

    def __call__(self, pixels: Int[Tensor, " n"], /) -> Int[Tensor, " n"]:
        return self.nearest[pixels]


class LazyTable:
    """A table whose entries are computed when first asked for, each once.

    Args:
        descriptors: (pixels, dim) of the image that is asked about.
        index: the other image.
        allowed: (pixels,) False where a pixel may not match.
    """

    _UNKNOWN = -2

    def __init__(
        self,
        descriptors: Float[Tensor, "pixels dim"],
        index: DescriptorIndex,
        allowed: Bool[Tensor, " pixels"] | None = None,
    ) -> None:
        self._descriptors, self._index, self._allowed = descriptors, index, allowed
        self._nearest = torch.full(
            (len(descriptors),), self._UNKNOWN, dtype=torch.int64, device=descriptors.device
        )

    def __call__(self, pixels: Int[Tensor, " n"], /) -> Int[Tensor, " n"]:
        found = self._nearest[pixels]
        unknown = torch.unique(pixels[found == self._UNKNOWN])
        if not len(unknown):
            return found
        allowed = None if self._allowed is None else self._allowed[unknown]
        self._nearest[unknown] = self._index.query(self._descriptors[unknown], allowed=allowed).index
        return self._nearest[pixels]


class NeighborTables:
    """Both tables between image 1 and image 2.

    Attributes:
        forward: nearest pixel in image 2 of a pixel of image 1.
        backward: nearest pixel in image 1 of a pixel of image 2.
        shape1: (height, width) of image 1.
        shape2: (height, width) of image 2.
    """

    def __init__(
        self,
        forward: NeighborTable,
        backward: NeighborTable,
        shape1: tuple[int, int],
        shape2: tuple[int, int],
        device: torch.device,
    ) -> None:
        self.forward, self.backward = forward, backward
        self.shape1, self.shape2, self.device = shape1, shape2, device

    def swapped(self) -> NeighborTables:
        """The same tables with the images' roles exchanged; what one finds, the other knows."""
        return NeighborTables(self.backward, self.forward, self.shape2, self.shape1, self.device)


@torch.no_grad()
def neighbor_tables(
    descriptors1: Float[Tensor, "h1 w1 dim"],
    descriptors2: Float[Tensor, "h2 w2 dim"],
    *,
    seeds: int | None = None,
    metric: Metric = "dot",
    allowed1: Bool[Tensor, "h1 w1"] | None = None,
    allowed2: Bool[Tensor, "h2 w2"] | None = None,
    precision: Precision = "fp32",
    backend: BackendName = "auto",
    threads: int | None = None,
) -> NeighborTables:
    """Tables of nearest neighbours between two descriptor maps, for walks in both directions.

    Args:
        descriptors1: (h1, w1, dim).
        descriptors2: (h2, w2, dim), same device.
        seeds: how many pixels the walks will start from; None for few. It decides between whole tables and
            tables that are filled as they are asked, never the answers.
        metric: ``dot`` or ``l2``, as in `nearest_neighbors`, as are the other options.
        allowed1: False where a pixel of image 1 may not match.
        allowed2: the same for image 2.
        precision: of the descriptors' values.
        backend: who computes.
        threads: CPU threads.

    Raises:
        InputError: the maps or masks do not fit.
    """
    shape1, shape2 = _map_shape(descriptors1, allowed1), _map_shape(descriptors2, allowed2)
    flat1, flat2 = descriptors1.detach().flatten(0, 1), descriptors2.detach().flatten(0, 1)
    flags1 = None if allowed1 is None else allowed1.flatten().to(flat1.device)
    flags2 = None if allowed2 is None else allowed2.flatten().to(flat2.device)
    many = seeds is not None and seeds > FULL_TABLE_SHARE * min(len(flat1), len(flat2))
    if backend != "kdtree" and (many or flat1.device.type != "cpu"):
        found = nearest_neighbors(
            flat1,
            flat2,
            metric=metric,
            both_directions=True,
            queries_allowed=flags1,
            database_allowed=flags2,
            precision=precision,
            backend=backend,
            threads=threads,
        )
        assert found.column_index is not None
        return NeighborTables(
            FullTable(found.row_index), FullTable(found.column_index), shape1, shape2, flat1.device
        )

    def index(database: Tensor, allowed: Tensor | None) -> DescriptorIndex:
        return DescriptorIndex(
            database, allowed=allowed, metric=metric, precision=precision, backend=backend, threads=threads
        )

    return NeighborTables(
        LazyTable(flat1, index(flat2, flags2), flags1),
        LazyTable(flat2, index(flat1, flags1), flags2),
        shape1,
        shape2,
        flat1.device,
    )


def _map_shape(descriptors: Tensor, allowed: Tensor | None) -> tuple[int, int]:
    if descriptors.ndim != 3:
        raise InputError(f"a descriptor map is (height, width, dim), got shape {tuple(descriptors.shape)}")
    shape = (descriptors.shape[0], descriptors.shape[1])
    if allowed is not None and tuple(allowed.shape) != shape:
        raise InputError(f"a mask must have its map's size {shape}, got {tuple(allowed.shape)}")
    return shape
