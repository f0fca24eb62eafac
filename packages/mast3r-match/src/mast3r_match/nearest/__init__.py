"""Exact nearest neighbours between two sets of descriptors, in memory that grows with their number only."""

from __future__ import annotations

from .backends import BACKENDS, Backend, BackendName, SearchOptions
from .metric import Metric, Precision
from .result import NearestNeighbors
from .search import DescriptorIndex, nearest_neighbors
from .tables import FullTable, LazyTable, NeighborTable, NeighborTables, neighbor_tables

__all__ = [
    "BACKENDS",
    "Backend",
    "BackendName",
    "DescriptorIndex",
    "FullTable",
    "LazyTable",
    "Metric",
    "NearestNeighbors",
    "NeighborTable",
    "NeighborTables",
    "Precision",
    "SearchOptions",
    "nearest_neighbors",
    "neighbor_tables",
]
