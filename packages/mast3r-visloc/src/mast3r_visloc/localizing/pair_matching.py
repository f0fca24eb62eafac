"""A query against map images, at the network's resolution (spec 50 D3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mast3r_model import EncodedImage, PairDescriptors, PairPrediction
from mast3r_visloc.maps import NetworkPoints

from .evidence import ImageEvidence
from .options import LocalizationOptions
from .photos import FileTransform
from .point_matching import ImageDescriptors, PointMatches, match_points

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo


SURE = 1e9
"""The confidence of a network that gives none. Finite, so that it can be interpolated."""


PAIRS_ON_CPU = 2
"""More pairs at a time leave the caches: 8 take a fifth longer each (benchmarks/localisation.py)."""


@dataclass(frozen=True, eq=False)
class KnownImage:
    """A map image that a query is matched with.

    Attributes:
        encoded: its features.
        transform: between its file's pixels and the network's.
        points: what it sees, in network pixels.
    """

    encoded: EncodedImage
    transform: FileTransform
    points: NetworkPoints


@torch.no_grad()
def match_known_images(
    model: AsymmetricCroCo3DStereo,
    query: EncodedImage,
    query_transform: FileTransform,
    images: Sequence[KnownImage],
    options: LocalizationOptions,
) -> Iterator[ImageEvidence]:
    """Find the points of map images in a query: one decoding for each image, in batches.

    Args:
        model: the network.
        query: its features.
        query_transform: between the query's file and the network's pixels.
        images: the map images.
        options: how to match.

    Yields:
        What each image says, in their order.
    """
    features = [query, *(image.encoded for image in images)]
    pairs = [(0, number + 1) for number in range(len(images))]
    described = describe_pairs(model, features, pairs, options.batch_size)
    for image, (seen, known) in zip(images, described, strict=True):
        found = match_points(
            seen,
            known,
            image.points.xy,
            pixel_tolerance=options.pixel_tolerance,
            subpixel=options.subpixel,
        )
        yield _evidence(found, image, query_transform, options.min_confidence)


def describe_pairs(
    model: AsymmetricCroCo3DStereo,
    features: Sequence[EncodedImage],
    pairs: Sequence[tuple[int, int]],
    batch_size: int,
) -> Iterator[tuple[ImageDescriptors, ImageDescriptors]]:
    """What the network says of both images of each pair, that is to be compared.

    Networks without descriptors are compared by the points they predict.

    Args:
        model: the network.
        features: of images.
        pairs: of them.
        batch_size: pairs at a time; on a CPU at most `PAIRS_ON_CPU`.
    """
    if features and features[0].tokens.device.type == "cpu":
        batch_size = min(batch_size, PAIRS_ON_CPU)
    if model.config.desc_dim is None:
        for predicted in model.decode_pairs(features, pairs, batch_size=batch_size):
            yield _by_points(predicted)
        return
    for found in model.describe_pairs(features, pairs, batch_size=batch_size):
        yield _by_descriptors(found)


def _by_descriptors(found: PairDescriptors) -> tuple[ImageDescriptors, ImageDescriptors]:
    return (
        ImageDescriptors(found.desc1, _known(found.desc_conf1, found.desc1)),
        ImageDescriptors(found.desc2, _known(found.desc_conf2, found.desc2)),
    )


def _by_points(found: PairPrediction) -> tuple[ImageDescriptors, ImageDescriptors]:
    points1, points2 = found.pts3d1, found.pts3d2_in_view1
    return (
        ImageDescriptors(points1, _known(found.conf1, points1), "l2"),
        ImageDescriptors(points2, _known(found.conf2, points2), "l2"),
    )


def _known(confidence: Tensor | None, values: Tensor) -> Tensor:
    """Where the network gives none, no threshold may drop a match."""
    return torch.full_like(values[..., 0], SURE) if confidence is None else confidence


def _evidence(
    found: PointMatches, image: KnownImage, query_transform: FileTransform, min_confidence: float
) -> ImageEvidence:
    rows = found.rows
    evidence = ImageEvidence(
        query_xy=query_transform.points_to_original(found.query_xy),
        map_xy=image.transform.points_to_original(image.points.xy[rows]),
        xyz=image.points.xyz[rows],
        confidence=found.confidence,
        point_ids=image.points.point_ids[rows],
    )
    return evidence.select(found.confidence >= min_confidence)
