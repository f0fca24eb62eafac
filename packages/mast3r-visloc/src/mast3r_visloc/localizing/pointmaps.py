"""What the network says of where the points of map images lie as a query sees them (spec 50 D5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import EncodedImage, PairPrediction
from mast3r_visloc.maps import MapImage, NetworkPoints

from .options import LocalizationOptions
from .photos import FileTransform
from .point_matching import ImageDescriptors

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo

POINTS_PER_IMAGE = 3000
"""Of more, random ones are aligned."""

_FOCAL_ROUNDS = 10


@dataclass(frozen=True, eq=False)
class PlacedImage:
    """A map image that a query is to be aligned with.

    Attributes:
        image: of the map.
        encoded: its features.
        transform: between its file's pixels and the network's.
        points: what it sees, in network pixels; None if the map has no 3D of it.
    """

    image: MapImage
    encoded: EncodedImage
    transform: FileTransform
    points: NetworkPoints | None


@dataclass(frozen=True, eq=False)
class PredictedPoints:
    """Points of a map image as the network places them.

    Attributes:
        placed: the map image.
        map_xy: (n, 2) pixels of its file.
        own: (n, 3) in the frame of the upright query's camera, in the unit of `QueryGeometry.points`.
        xyz: (n, 3) the map's own, in its world frame; None if it has none.
        confidence: (n,) of the network, at least 1.
    """

    placed: PlacedImage
    map_xy: Float[np.ndarray, "n 2"]
    own: Float[np.ndarray, "n 3"]
    xyz: Float[np.ndarray, "n 3"] | None
    confidence: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of points."""
        return len(self.map_xy)

    def thinned(self, count: int, seed: int) -> PredictedPoints:
        """At most `count` of the points, any of them, the same for the same seed."""
        if len(self) <= count:
            return self
        rows = np.sort(np.random.default_rng(seed).permutation(len(self))[:count])
        return PredictedPoints(
            self.placed,
            self.map_xy[rows],
            self.own[rows],
            None if self.xyz is None else self.xyz[rows],
            self.confidence[rows],
        )


@dataclass(frozen=True, eq=False)
class QueryGeometry:
    """What the network says of a query, together with map images.

    Attributes:
        xy: (m, 2) network pixels of the query.
        points: (m, 3) what these show, in its own upright frame.
        confidence: (m,) of the network in them, at least 1.
        images: the map images.
    """

    xy: Float[np.ndarray, "m 2"]
    points: Float[np.ndarray, "m 3"]
    confidence: Float[np.ndarray, " m"]
    images: Sequence[PredictedPoints]

    def focal(self, shape: tuple[int, int]) -> float:
        """The focal length that the query's points imply, its principal point in the middle.

        It has the least sum of distances between pixels and where the points are seen (Weiszfeld).

        Args:
            shape: (height, width) of the network's input.

        Returns:
            Network pixels; not positive or NaN if the points imply none.
        """
        front = self.points[:, 2] > 0
        seen = self.points[front, :2] / self.points[front, 2:]
        pixels = self.xy[front] - (np.array(shape[::-1]) - 1) / 2
        weights = np.ones(len(seen))
        focal = np.nan
        for _ in range(_FOCAL_ROUNDS):
            across = (weights[:, None] * seen**2).sum()
            focal = float((weights[:, None] * seen * pixels).sum() / across) if across > 0 else np.nan
            weights = 1 / np.maximum(np.linalg.norm(pixels - focal * seen, axis=1), 1e-6)
        return focal


def file_focal(geometry: QueryGeometry, transform: FileTransform) -> float:
    """The focal length that the network's points of a query imply, in pixels of its file.

    Args:
        geometry: of the query.
        transform: between its file's pixels and the network's.

    Returns:
        Not positive or NaN if the points imply none.
    """
    scale = np.sqrt(np.prod(transform.upright.network_from_original[[0, 1], [0, 1]]))
    return float(geometry.focal(transform.network_shape) / scale)


@torch.no_grad()
def predict_geometry(
    model: AsymmetricCroCo3DStereo,
    query: EncodedImage,
    images: Sequence[PlacedImage],
    options: LocalizationOptions,
    *,
    query_stride: int | None = None,
) -> QueryGeometry:
    """Place the points of map images in the query's frame.

    Each pair of images comes out in a unit of its own; what both say of the query itself brings them to one.

    Args:
        model: the network.
        query: its features.
        images: map images, at least one.
        options: how.
        query_stride: network pixels between the query's points; None for the options' `map_stride`.
    """
    query_xy = _grid(query.image_shape, query_stride or options.map_stride)
    reference: np.ndarray | None = None
    sure = np.empty(0)
    found = []
    for placed, pair in zip(images, _decoded(model, query, images, options), strict=True):
        points, confidences = _sampled(pair.pts3d1, pair.conf1, query_xy)
        if reference is None:
            reference, sure = points, confidences
        unit = _ratio(points, reference)
        shape = placed.transform.network_shape
        xy = _grid(shape, options.map_stride) if placed.points is None else placed.points.xy
        own, confidence = _sampled(pair.pts3d2_in_view1, pair.conf2, xy)
        usable = np.isfinite(own).all(axis=1) & np.isfinite(unit)
        found.append(
            PredictedPoints(
                placed,
                placed.transform.points_to_original(xy[usable]),
                unit * own[usable],
                None if placed.points is None else placed.points.xyz[usable],
                confidence[usable],
            )
        )
    assert reference is not None
    return QueryGeometry(query_xy, reference, sure, found)


def _decoded(
    model: AsymmetricCroCo3DStereo,
    query: EncodedImage,
    images: Sequence[PlacedImage],
    options: LocalizationOptions,
) -> Iterator[PairPrediction]:
    features = [query, *(placed.encoded for placed in images)]
    pairs = [(0, row + 1) for row in range(len(images))]
    yield from model.decode_pairs(features, pairs, batch_size=options.batch_size)


def _grid(shape: tuple[int, int], stride: int) -> Float[np.ndarray, "n 2"]:
    """Pixels (x, y), every `stride`-th along both axes."""
    y, x = np.meshgrid(
        np.arange(stride // 2, shape[0], stride), np.arange(stride // 2, shape[1], stride), indexing="ij"
    )
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)


def _sampled(
    points: Tensor, confidence: Tensor | None, xy: Float[np.ndarray, "n 2"]
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
    """Points and confidences between pixels, float64; where the network gives none, confidence is 1."""
    known = torch.ones_like(points[..., 0]) if confidence is None else confidence
    places = torch.as_tensor(xy, dtype=torch.float32, device=points.device)
    values, sure = ImageDescriptors(points, known, "l2").at(places)
    return values.double().cpu().numpy(), sure.double().cpu().numpy()


def _ratio(points: Float[np.ndarray, "m 3"], reference: Float[np.ndarray, "m 3"]) -> float:
    """By what the points must be multiplied to be as large as the reference; NaN if nothing does that."""
    length, wanted = (np.linalg.norm(values, axis=1) for values in (points, reference))
    usable = np.isfinite(length) & np.isfinite(wanted) & (length > 0) & (wanted > 0)
    return float(np.median(wanted[usable] / length[usable])) if usable.any() else float("nan")
