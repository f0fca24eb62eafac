"""Which images meet: scene graphs, prefilters, lists of pairs in files (spec 30 section 2).

A pair is two indices into the list of images. Graphs are found by name in ``registry("pair_graphs")``.
"""

from .edges import filter_edges_seq, filter_pairs_seq
from .farthest import farthest_points, retrieval_pairs
from .files import PairFormat, PairList, pair_indices, read_pairs, write_pairs
from .request import GraphRequest, Pair, Similarity
from .selection import both_ways, check_graph, filter_pairs, graph_pairs
from .upstream import make_pairs

__all__ = [
    "GraphRequest",
    "Pair",
    "PairFormat",
    "PairList",
    "Similarity",
    "both_ways",
    "check_graph",
    "farthest_points",
    "filter_edges_seq",
    "filter_pairs",
    "filter_pairs_seq",
    "graph_pairs",
    "make_pairs",
    "pair_indices",
    "read_pairs",
    "retrieval_pairs",
    "write_pairs",
]
