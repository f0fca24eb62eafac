"""Kinematic trees over images, and connected components (spec 30 section 6.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.cluster.hierarchy
import scipy.sparse
import scipy.sparse.csgraph
import torch
from jaxtyping import Float, Int
from scipy.spatial.distance import squareform
from torch import Tensor

from mast3r_model import InputError

from .problem import SparseProblem

#: A pair is as similar as can be when its matches cover this many times the anchors of its smaller image.
_FULL_SIMILARITY = 3


@dataclass(frozen=True)
class KinematicTree:
    """A rooted tree over images.

    Attributes:
        root: the image that moves all others.
        edges: (N - 1, 2) int64 (parent, child), breadth first from the root.
        levels: edges grouped by the child's distance from the root, each (n, 2).
    """

    root: int
    edges: Int[Tensor, "E 2"]
    levels: tuple[Int[Tensor, "n 2"], ...]

    @classmethod
    def from_edges(cls, root: int, edges: Int[Tensor, "E 2"]) -> KinematicTree:
        """A tree from (parent, child) edges in an order in which parents come first."""
        depth = {root: 0}
        for parent, child in edges.tolist():
            depth[child] = depth[parent] + 1
        level = torch.tensor([depth[child] for child in edges[:, 1].tolist()], dtype=torch.int64)
        count = int(level.max()) if len(level) else 0
        return cls(root, edges, tuple(edges[level.to(edges.device) == d + 1] for d in range(count)))


def connected_components(counts: Int[Tensor, "N N"]) -> list[list[int]]:
    """Groups of images connected by matches, the largest first; an image alone is a group of one.

    Args:
        counts: number of matches between images, symmetric.
    """
    graph = scipy.sparse.csr_array(counts.cpu().numpy())
    number, labels = scipy.sparse.csgraph.connected_components(graph, directed=False)
    groups = [np.flatnonzero(labels == label).tolist() for label in range(number)]
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def components(problem: SparseProblem) -> list[list[int]]:
    """Groups of images that a problem connects, the largest first; align each one by itself."""
    return connected_components(problem.match_counts())


def kinematic_tree(
    counts: Int[Tensor, "N N"],
    *,
    mode: str = "hclust-ward",
    shapes: Int[Tensor, "N 2"] | None = None,
    subsample: int = 8,
) -> KinematicTree:
    """The tree that upstream chains poses along.

    Args:
        counts: number of matches between images, symmetric.
        mode: ``mst`` (maximum spanning tree of the counts) or ``hclust-<linkage>`` with a linkage of scipy.
        shapes: (height, width) of the images; needed by ``hclust``.
        subsample: side of an anchor's block in pixels.

    Raises:
        InputError: unknown mode, or images that are not all connected.
    """
    groups = connected_components(counts)
    if len(groups) > 1:
        raise InputError(
            f"the images fall into {len(groups)} groups without matches between them: {groups[:5]}",
            "align each group by itself: components(problem) and problem.restricted_to(images)",
        )
    scores = counts.cpu().numpy().astype(np.float64)
    if len(scores) == 1:
        return KinematicTree.from_edges(0, torch.zeros(0, 2, dtype=torch.int64))
    if mode == "mst":
        weights = scores
    elif mode.startswith("hclust-"):
        if shapes is None:
            raise InputError("hierarchical trees need the images' shapes")
        merges = merge_order(cluster_similarity(scores, shapes, subsample), mode.removeprefix("hclust-"))
        weights = np.zeros_like(scores)
        for first, second, _ in merges:
            weights[first, second] = weights[second, first] = 1
    else:
        raise InputError(
            f"unknown kind of tree {mode!r}", "mst, hclust-ward, hclust-complete, hclust-average"
        )
    root, edges = _rooted(weights)
    return KinematicTree.from_edges(root, torch.tensor(edges, dtype=torch.int64))


def cluster_similarity(
    scores: Float[np.ndarray, "N N"], shapes: Int[Tensor, "N 2"], subsample: int
) -> Float[np.ndarray, "N N"]:
    """Similarity of images in 0..1 from their number of matches; 1 on the diagonal."""
    blocks = (shapes.cpu() // subsample).prod(-1).numpy()
    # Single precision, as upstream: ties between merges break the same way.
    full = np.float32(_FULL_SIMILARITY) * np.minimum.outer(blocks, blocks).astype(np.float32)
    similarity = np.minimum(np.float32(1), scores.astype(np.float32) / full)
    np.fill_diagonal(similarity, 1.0)
    return similarity


def cluster_distance(similarity: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N N"]:
    """1 - similarity; 2 where nothing matches."""
    distance = np.where(similarity == 0, np.float32(2), 1 - similarity)
    np.fill_diagonal(distance, 0.0)
    return distance


def merge_order(similarity: Float[np.ndarray, "N N"], linkage: str) -> list[tuple[int, int, int]]:
    """Merges (a, b, representative) of hierarchical clustering; clusters are named by representatives.

    Raises:
        InputError: scipy does not know the linkage.
    """
    condensed = squareform(cluster_distance(similarity))
    try:
        merged = scipy.cluster.hierarchy.linkage(condensed, method=linkage)
    except ValueError as error:
        raise InputError(f"unknown linkage {linkage!r}: {error}", "ward, complete, average, single") from None
    rows = similarity.copy()
    count = len(similarity)
    representatives = list(range(count))
    merges = []
    for left, right in merged[:, :2].astype(int):
        first, second = representatives[left], representatives[right]
        winner = first if rows[first].sum() > rows[second].sum() else second
        # Only the row: upstream leaves the columns as they were.
        rows[winner] = np.maximum(rows[first], rows[second])
        representatives.append(winner)
        merges.append((first, second, winner))
    return merges


def _rooted(weights: Float[np.ndarray, "N N"]) -> tuple[int, list[tuple[int, int]]]:
    """Root a maximum spanning tree in its middle; edges breadth first from there."""
    tree = scipy.sparse.csgraph.minimum_spanning_tree(scipy.sparse.csr_array(-weights))

    def breadth_first(start: int) -> tuple[np.ndarray, np.ndarray]:
        order, parents = scipy.sparse.csgraph.breadth_first_order(tree, start, directed=False)
        return order, parents

    def ranks(order: np.ndarray) -> np.ndarray:
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank

    first_end = breadth_first(0)[0][-1]
    from_first = breadth_first(first_end)[0]
    from_second = breadth_first(from_first[-1])[0]
    root = int(np.argmax(np.minimum(ranks(from_first), ranks(from_second))))
    order, parents = breadth_first(root)
    return root, [(int(parents[child]), int(child)) for child in order[1:]]
