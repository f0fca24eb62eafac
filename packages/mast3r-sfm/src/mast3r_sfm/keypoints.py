"""Matched pixels as keypoints with tracks, for COLMAP (spec 30 section 11.2), on flat arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mast3r_match import Correspondences
from mast3r_model import ImageTransform, InputError

from .colmap.convention import pixels_to_colmap

PairMatches = Mapping[tuple[int, int], Correspondences]
"""Matches of pairs of images in network pixels; their order decides the order of keypoints."""


@dataclass(frozen=True, eq=False)
class KeypointGraph:
    """Keypoints of all images, and matches between them. A keypoint is a pixel of a network input.

    Attributes:
        shapes: (height, width) of every image.
        image: (k,) int64, image of a keypoint; ascending.
        pixel: (k,) int64, flat index ``x + width * y`` in its image; keypoints of an image stand in the
            order in which they first occur in the matches.
        count: (k,) int64, in how many matches it occurs.
        pairs: (p, 2) int64, images of every pair, the one that ranks first in front.
        matches: (m, 2) int64, indices of keypoints (0..k-1) in the first and second image of the pair.
        pair: (m,) int64, which pair a match belongs to; ascending.
    """

    shapes: tuple[tuple[int, int], ...]
    image: Int[np.ndarray, " k"]
    pixel: Int[np.ndarray, " k"]
    count: Int[np.ndarray, " k"]
    pairs: Int[np.ndarray, "p 2"]
    matches: Int[np.ndarray, "m 2"]
    pair: Int[np.ndarray, " m"]

    def __len__(self) -> int:
        """Number of keypoints."""
        return len(self.image)

    @property
    def offsets(self) -> Int[np.ndarray, " images+1"]:
        """Keypoints of image i are ``offsets[i]:offsets[i + 1]``."""
        return np.searchsorted(self.image, np.arange(len(self.shapes) + 1))

    @property
    def xy(self) -> Int[np.ndarray, "k 2"]:
        """(x, y) of every keypoint, in network pixels."""
        width = np.array([shape[1] for shape in self.shapes], np.int64)[self.image]
        return np.stack([self.pixel % width, self.pixel // width], axis=1)

    def tracks(self) -> Int[np.ndarray, " k"]:
        """The number of every keypoint's track: keypoints that matches connect, directly or not."""
        size = len(self)
        edges = coo_array((np.ones(len(self.matches), np.bool_), tuple(self.matches.T)), shape=(size, size))
        return connected_components(edges, directed=False)[1].astype(np.int64)

    def track_lengths(self) -> Int[np.ndarray, " k"]:
        """How many keypoints every keypoint's track has (an image may give several)."""
        labels = self.tracks()
        return np.bincount(labels)[labels] if len(labels) else labels

    def subset(
        self, keypoints: Bool[np.ndarray, " k"], matches: Bool[np.ndarray, " m"] | None = None
    ) -> KeypointGraph:
        """Only some keypoints, and of the matches between them only some; pairs left empty go."""
        kept = keypoints[self.matches].all(1)
        if matches is not None:
            kept &= matches
        new_keypoint = np.cumsum(keypoints) - 1
        used, pair = np.unique(self.pair[kept], return_inverse=True)
        return KeypointGraph(
            self.shapes,
            self.image[keypoints],
            self.pixel[keypoints],
            self.count[keypoints],
            self.pairs[used],
            new_keypoint[self.matches[kept]],
            pair.astype(np.int64),
        )

    def with_tracks_of(self, min_length: int) -> KeypointGraph:
        """Only the keypoints whose track has at least so many."""
        return self.subset(self.track_lengths() >= min_length)

    def pair_matches(self, number: int) -> Int[np.ndarray, "n 2"]:
        """Matches of one pair, as indices into the keypoints of its two images."""
        start, stop = np.searchsorted(self.pair, [number, number + 1])
        return self.matches[start:stop] - self.offsets[self.pairs[number]]


def keypoint_graph(
    shapes: Sequence[tuple[int, int]], pairs: PairMatches, *, ranks: Sequence[int] | None = None
) -> KeypointGraph:
    """Collect the keypoints of all matches.

    Args:
        shapes: (height, width) of every network input.
        pairs: matches by pair of image indices.
        ranks: of every image (COLMAP's image id); the image of lower rank comes first in a pair. Default:
            its index.

    Raises:
        InputError: a pair names an image that is not there, or the same one twice.
    """
    shapes = tuple((int(shape[0]), int(shape[1])) for shape in shapes)
    rank = np.arange(len(shapes)) if ranks is None else np.asarray(ranks)
    images, pixels, sides = [], [], []
    for (image0, image1), found in pairs.items():
        if image0 == image1 or min(image0, image1) < 0 or max(image0, image1) >= len(shapes):
            raise InputError(f"no pair of {len(shapes)} images: ({image0}, {image1})")
        flat = (
            _flat_pixels(found.xy0.cpu().numpy(), shapes[image0]),
            _flat_pixels(found.xy1.cpu().numpy(), shapes[image1]),
        )
        for owner, side in zip((image0, image1), flat, strict=True):
            images.append(np.full(len(side), owner, np.int64))
            pixels.append(side)
        sides.append(len(flat[0]))
    image, pixel, count, keypoint = _number(_joined(images), _joined(pixels))
    first, second, start = [], [], 0
    for length in sides:
        first.append(keypoint[start : start + length])
        second.append(keypoint[start + length : start + 2 * length])
        start += 2 * length
    matches = np.stack([_joined(first), _joined(second)], axis=1)
    pair = np.repeat(np.arange(len(sides)), sides)
    ends = np.array(list(pairs), np.int64).reshape(-1, 2)
    swap = rank[ends[:, 0]] > rank[ends[:, 1]]
    ends[swap] = ends[swap, ::-1]
    matches[swap[pair]] = matches[swap[pair], ::-1]
    order = np.lexsort((pixel[matches[:, 1]], pixel[matches[:, 0]], pair))
    matches, pair = matches[order], pair[order]
    repeated = np.zeros(len(matches), bool)
    repeated[1:] = (matches[1:] == matches[:-1]).all(1) & (pair[1:] == pair[:-1])
    graph = KeypointGraph(shapes, image, pixel, count, ends, matches[~repeated], pair[~repeated])
    return graph.subset(np.ones(len(graph), bool))


def _flat_pixels(xy: Float[np.ndarray, "n 2"], shape: tuple[int, int]) -> Int[np.ndarray, " n"]:
    x, y = (np.clip(np.round(xy[:, axis]), 0, shape[1 - axis] - 1).astype(np.int64) for axis in (0, 1))
    return x + shape[1] * y


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _number(
    image: Int[np.ndarray, " n"], pixel: Int[np.ndarray, " n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Image, pixel and count of every different keypoint in the order wanted, and each entry's keypoint."""
    stride = int(pixel.max(initial=0)) + 1
    keys, first, entry, count = np.unique(
        image * stride + pixel, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, keys // stride))
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    keys = keys[order]
    return keys // stride, keys % stride, count[order], position[entry]


def colmap_keypoints(
    graph: KeypointGraph, transforms: Sequence[ImageTransform]
) -> list[Float[np.ndarray, "n 2"]]:
    """Keypoints of every image in its photo's pixels, float32, in COLMAP's convention.

    Clipped to the photo: [0, width - 0.01] x [0, height - 0.01].
    """
    offsets, xy = graph.offsets, graph.xy.astype(np.float64)
    keypoints = []
    for image, transform in enumerate(transforms):
        photo = pixels_to_colmap(transform.points_to_original(xy[offsets[image] : offsets[image + 1]]))
        height, width = transform.original_shape
        keypoints.append(np.clip(photo, 0, [width - 0.01, height - 0.01]).astype(np.float32))
    return keypoints
