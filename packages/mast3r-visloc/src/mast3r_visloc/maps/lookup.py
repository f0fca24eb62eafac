"""The 3D point behind a pixel of a map image (spec 50 B trap 8, C1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from .contents import DensePoints, ImagePoints, SparsePoints

MAX_DEPTH_JUMP = 0.03
"""Between the four pixels around a place, relative to the nearest: with more they are of two surfaces. One
surface that is seen at 4 degrees through a lens of 500 pixels has this step."""

MAX_SPACING = 10.0
"""For points whose camera is not known: how much farther than usual in its image two neighbours of one
surface may be apart."""

SPREAD_CELL = 16
"""Network pixels: a subset of points takes one from each such cell before it takes a second."""

_SPACING_SAMPLE = 8
_CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
"""Steps (x, y) to the four pixels around a place."""


class PixelTransform(Protocol):
    """Between a photo's pixels and the network's, as `mast3r_model.ImageTransform` is."""

    @property
    def network_shape(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        ...

    def points_to_network(self, points: Float[np.ndarray, "n 2"], /) -> Float[np.ndarray, "n 2"]:
        """Pixels (x, y) of the photo as network pixels."""
        ...

    def points_to_original(self, points: Float[np.ndarray, "n 2"], /) -> Float[np.ndarray, "n 2"]:
        """Network pixels as pixels of the photo."""
        ...


@dataclass(frozen=True, eq=False)
class NetworkPoints:
    """What a map image sees, at places of the network's input.

    Attributes:
        xy: (n, 2) float64 network pixels (x, y), an integer being a pixel's centre.
        xyz: (n, 3) float64 in the map's world frame, finite.
        point_ids: (n,) sparse: the map's number of each point, the same in other images. Dense: unique in
            this image, the number of the network pixel in row-major order, or beyond these of the map's own.
        numbered: whether equal `point_ids` of two images are one point: those of sparse points.
    """

    xy: Float[np.ndarray, "n 2"]
    xyz: Float[np.ndarray, "n 3"]
    point_ids: Int[np.ndarray, " n"]
    numbered: bool = True

    def __len__(self) -> int:
        """Number of points."""
        return len(self.xy)

    def spread(self, count: int) -> NetworkPoints:
        """At most `count` of the points, spread over the image as evenly as they lie, the same every time."""
        if len(self) <= count:
            return self
        order = np.random.default_rng(0).permutation(len(self))
        cells = np.unique(np.floor(self.xy[order] / SPREAD_CELL), axis=0, return_inverse=True)[1].ravel()
        by_cell = np.argsort(cells, kind="stable")
        starts = np.searchsorted(cells[by_cell], cells[by_cell])
        place = np.empty(len(self), dtype=np.int64)  # of a point among those of its cell
        place[by_cell] = np.arange(len(self)) - starts
        rows = np.sort(order[np.argsort(place, kind="stable")[:count]])
        return NetworkPoints(self.xy[rows], self.xyz[rows], self.point_ids[rows], self.numbered)


def network_points(
    points: ImagePoints,
    transform: PixelTransform,
    *,
    stride: int = 4,
    cam2world: Float[np.ndarray, "4 4"] | None = None,
) -> NetworkPoints:
    """What a map image sees, as the network sees the image.

    Sparse points stay at their float positions. Of dense points the centres of every `stride`-th network
    pixel are looked up (`lookup`), along both axes, from the middle of the first step on; where the map says
    how sure each of its points is, the surest one of each such step is added (spec 50 D3.4).

    Args:
        points: of the photo.
        transform: between the photo's pixels and the network's.
        stride: network pixels, at least 1; of no effect for sparse points.
        cam2world: see `lookup`.

    Returns:
        Points inside the network's image, those without 3D left out.
    """
    height, width = transform.network_shape
    if isinstance(points, SparsePoints):
        xy = transform.points_to_network(np.asarray(points.xy, dtype=np.float64))
        inside = ((xy >= -0.5) & (xy < np.array([width, height]) - 0.5)).all(axis=1)
        return NetworkPoints(xy[inside], points.xyz[inside], points.point_ids[inside])
    rows, columns = np.arange(stride // 2, height, stride), np.arange(stride // 2, width, stride)
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    xy = np.stack([x, y], axis=1).astype(np.float64)
    xyz = lookup(points, transform.points_to_original(xy), cam2world=cam2world)
    known = np.isfinite(xyz).all(axis=1)
    middles = NetworkPoints(xy[known], xyz[known], (y * width + x)[known], numbered=False)
    if points.confidence is None:
        return middles
    surest = _surest(points, points.confidence, transform, stride)
    return NetworkPoints(
        np.concatenate([middles.xy, surest.xy]),
        np.concatenate([middles.xyz, surest.xyz]),
        np.concatenate([middles.point_ids, surest.point_ids + height * width]),
        numbered=False,
    )


def _surest(
    points: DensePoints, confidence: Float[np.ndarray, "h w"], transform: PixelTransform, stride: int
) -> NetworkPoints:
    """Of each `stride` x `stride` cell of the network's image the grid point that the map is surest of."""
    height, width = transform.network_shape
    rows = np.flatnonzero(np.isfinite(points.grid).all(axis=-1).ravel() & np.isfinite(confidence).ravel())
    y, x = np.divmod(rows, points.grid.shape[1])
    in_photo = points.transform.points_to_original(np.stack([x, y], axis=1).astype(np.float64))
    xy = transform.points_to_network(in_photo)
    inside = ((xy >= -0.5) & (xy < np.array([width, height]) - 0.5)).all(axis=1)
    rows, xy = rows[inside], xy[inside]
    column, line = np.floor((xy + 0.5) / stride).astype(np.int64).T
    cell = line * -(-width // stride) + column
    order = np.lexsort((-confidence.ravel()[rows], cell))
    best = np.sort(order[np.unique(cell[order], return_index=True)[1]])
    return NetworkPoints(
        xy[best], points.grid.reshape(-1, 3)[rows[best]].astype(np.float64), rows[best], False
    )


def lookup(
    points: ImagePoints,
    xy: Float[np.ndarray, "n 2"],
    *,
    cam2world: Float[np.ndarray, "4 4"] | None = None,
    radius: float = 2.0,
) -> Float[np.ndarray, "n 3"]:
    """The 3D points behind pixels of the photo.

    Dense points: interpolated between the four grid points around the pixel if all are known and lie on one
    surface; else the nearest of the four, if that one is known. With the camera, one surface means a small
    step in depth (`MAX_DEPTH_JUMP`), and the interpolation is exact for planes; without, it means that
    neighbours are not much farther apart than elsewhere in the image (`MAX_SPACING`), and the interpolation
    is linear in the grid. Sparse points: that of the nearest observation.

    Args:
        points: of the photo.
        xy: (n, 2) pixels of the photo, an integer being a pixel's centre.
        cam2world: 4x4, where a photo with dense points was taken; None if unknown.
        radius: how far away a sparse observation may be, in pixels of the photo.

    Returns:
        (n, 3) float64 in the map's world frame, NaN where nothing is known, or outside the photo.
    """
    xy = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
    if isinstance(points, SparsePoints):
        return _nearest_observation(points, xy, radius)
    return _interpolated(points, xy, cam2world)


def _nearest_observation(points: SparsePoints, xy: np.ndarray, radius: float) -> np.ndarray:
    found = np.full((len(xy), 3), np.nan)
    asked = np.isfinite(xy).all(axis=1)
    if len(points) and asked.any():
        distance, index = cKDTree(points.xy).query(xy[asked])
        found[asked] = np.where((distance <= radius)[:, None], points.xyz[index], np.nan)
    return found


def _interpolated(points: DensePoints, xy: np.ndarray, cam2world: np.ndarray | None) -> np.ndarray:
    found = np.full((len(xy), 3), np.nan)
    places = points.transform.points_to_network(xy)
    height, width = points.grid.shape[:2]
    inside = ((places >= -0.5) & (places <= np.array([width, height]) - 0.5)).all(axis=1)
    places = places[inside]
    # At the rim the last two pixels are continued for half a pixel, so that planes stay exact.
    first = np.clip(np.floor(places), 0, np.maximum([width - 2, height - 2], 0)).astype(np.int64)
    fraction = places - first
    corner = np.minimum(first[:, None] + _CORNERS, [width - 1, height - 1])
    xyz = points.grid[corner[..., 1], corner[..., 0]].astype(np.float64)
    weights = np.where(_CORNERS == 1, fraction[:, None], 1 - fraction[:, None]).prod(axis=-1)
    if cam2world is None:
        smooth = _closely_spaced(xyz, points.grid)
    else:
        depth = (xyz - cam2world[:3, 3]) @ cam2world[:3, 2]
        smooth = _small_step(depth)
        with np.errstate(divide="ignore", invalid="ignore"):
            # 1 / depth is linear in the pixels of a plane, and so is point / depth.
            weights = weights / depth
            weights = weights / weights.sum(axis=1, keepdims=True)
    nearest = np.rint(np.clip(fraction, 0, 1)).astype(np.int64) @ [1, 2]
    result = xyz[np.arange(len(xyz)), nearest]
    result[smooth] = np.einsum("nk,nkc->nc", weights[smooth], xyz[smooth])
    result[~np.isfinite(result).all(axis=1)] = np.nan
    found[inside] = result
    return found


def _small_step(depth: Float[np.ndarray, "n 4"]) -> Bool[np.ndarray, " n"]:
    nearest, farthest = depth.min(axis=1), depth.max(axis=1)  # NaN where one is NaN, which fails below
    return (nearest > 0) & (farthest - nearest <= MAX_DEPTH_JUMP * nearest)


def _closely_spaced(
    xyz: Float[np.ndarray, "n 4 3"], grid: Float[np.ndarray, "h w 3"]
) -> Bool[np.ndarray, " n"]:
    sample = grid[::_SPACING_SAMPLE]
    steps = np.linalg.norm(np.diff(sample, axis=1), axis=-1)
    steps = steps[np.isfinite(steps)]
    if not len(steps):
        return np.zeros(len(xyz), dtype=bool)
    sides = xyz[:, [1, 3, 2, 3]] - xyz[:, [0, 2, 0, 1]]
    longest = np.linalg.norm(sides, axis=-1).max(axis=1)
    return longest <= MAX_SPACING * float(np.median(steps))
