"""Correspondences of two views in numpy, as the pair pipeline takes them (spec 40 section 3.9).

The twin of :mod:`.correspondences` for single pairs of numpy maps, in the float32 arithmetic of the goldens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from .correspondences import Correspondences, sample_correspondences
from .pointmaps import columns_times_matrix

_INT32 = np.float32(2.0**31)


@dataclass(frozen=True)
class PointView:
    """What correspondences need of a view.

    Attributes:
        points: world points of its pixels.
        intrinsics: pixel centres at integers.
        cam2world: its pose.
        valid: pixels whose depth is known.
    """

    points: Float[np.ndarray, "height width 3"]
    intrinsics: Float[np.ndarray, "3 3"]
    cam2world: Float[np.ndarray, "4 4"]
    valid: Bool[np.ndarray, "height width"]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)"""
        return self.points.shape[0], self.points.shape[1]


@dataclass(frozen=True)
class PixelPairs:
    """The pixels of two views that are each other's nearest.

    Attributes:
        forward: for each pixel of view 1 the pixel of view 2 that its point falls on (linear, row-major).
        pixels1: the reciprocal ones of view 1, increasing.
        shape1, shape2: (height, width) of the views.
    """

    forward: Int[np.ndarray, " pixels1"]
    pixels1: Int[np.ndarray, " matches"]
    shape1: tuple[int, int]
    shape2: tuple[int, int]

    @property
    def pixels2(self) -> Int[np.ndarray, " matches"]:
        """The partners of ``pixels1``."""
        return self.forward[self.pixels1]

    def __len__(self) -> int:
        return len(self.pixels1)

    def coordinates(self) -> tuple[Int[np.ndarray, "matches 2"], Int[np.ndarray, "matches 2"]]:
        """(x, y) of the matches in both views."""
        return _xy(self.pixels1, self.shape1[1]), _xy(self.pixels2, self.shape2[1])

    def sample(self, count: int, negatives: float, rng: np.random.Generator) -> Correspondences:
        """Draw matches and negatives; see `sample_correspondences`."""
        return sample_correspondences(
            self.forward,
            _mask(self.pixels1, self.shape1),
            _mask(self.pixels2, self.shape2),
            (self.shape1[1], self.shape2[1]),
            count,
            negatives,
            rng,
        )


def reciprocal_pixels(view1: PointView, view2: PointView, *, require_valid: bool = True) -> PixelPairs:
    """The pixels of two views whose points fall on each other.

    Args:
        require_valid: leave out pairs in which a pixel has no depth. Upstream keeps them: all such pixels lie
            at the camera's centre (or, for sky, behind it), and the pairs are no matches.
    """
    forward = nearest_pixels(view1.points, view2)
    backward = nearest_pixels(view2.points, view1)
    is_match = backward[forward] == np.arange(len(forward))
    if require_valid:
        is_match &= view1.valid.ravel() & view2.valid.ravel()[forward]
    return PixelPairs(forward, np.flatnonzero(is_match), view1.shape, view2.shape)


def nearest_pixels(points: Float[np.ndarray, "h w 3"], view: PointView) -> Int[np.ndarray, " pixels"]:
    """The pixel of a view nearest to where each world point projects; as `correspondences.reproject`."""
    height, width = view.shape
    projection = view.intrinsics @ np.linalg.inv(view.cam2world)[:3]
    x, y, z = columns_times_matrix(points, projection[:, :3])
    column = _whole_pixels(x, z, projection[:, 3], width, axis=0)
    row = _whole_pixels(y, z, projection[:, 3], height, axis=1)
    row *= width
    row += column
    return row


def _whole_pixels(
    along: np.ndarray, z: np.ndarray, offset: np.ndarray, size: int, *, axis: int
) -> Int[np.ndarray, " pixels"]:
    """One coordinate of projected points: divided, rounded, clipped to the image."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        pixel = (along + offset[axis]) / (z + offset[2])
        np.rint(pixel, out=pixel)
        pixel[~(np.abs(pixel) < _INT32)] = 0  # also what is not finite
    np.clip(pixel, 0, size - 1, out=pixel)
    whole: np.ndarray = pixel.astype(np.int32)
    return whole


def _xy(pixels: np.ndarray, width: int) -> np.ndarray:
    return np.stack([pixels % width, pixels // width], axis=-1).astype(np.int64)


def _mask(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape[0] * shape[1], dtype=bool)
    mask[pixels] = True
    return mask
