"""A query against map images at the network's resolution, with networks of either kind (spec 50 D3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_model import EncodedImage, PairDescriptors, PairPrediction
from mast3r_visloc.localizing import LocalizationOptions
from mast3r_visloc.localizing.evidence import ImageEvidence
from mast3r_visloc.localizing.pair_matching import KnownImage, match_known_images
from mast3r_visloc.localizing.photos import read_photo
from mast3r_visloc.maps import network_points

from .patch_network import PatchNetwork
from .wave_world import Shot, shot

SIZE = 96
SHAPE = (130, 200)
MAP = [shot("a.png", 0.0, shape=SHAPE), shot("b.png", 0.3, 0.1, yaw=-2, shape=SHAPE)]
QUERY = shot("query.png", 0.2, 0.1, yaw=1, shape=SHAPE)


class WithoutConfidence(PatchNetwork):
    """Says nothing of how sure it is."""

    def describe_pairs(self, *arguments: Any, **keywords: Any) -> Iterator[PairDescriptors]:
        for found in super().describe_pairs(*arguments, **keywords):
            yield dataclasses.replace(found, desc_conf1=None, desc_conf2=None)

    def decode_pairs(
        self, features: Sequence[EncodedImage], pairs: Sequence[tuple[int, int]], *, batch_size: int = 8
    ) -> Iterator[PairPrediction]:
        for found in super().decode_pairs(features, pairs, batch_size=batch_size):
            yield dataclasses.replace(found, conf1=None, conf2=None)


def matched(
    folder: Path, network: PatchNetwork, kind: str = "sparse", shots: Sequence[Shot] = MAP, **options: Any
) -> list[ImageEvidence]:
    for each in (*shots, QUERY):
        each.save(folder)
        network.teach(folder, each, SIZE)
    photos = [read_photo(folder / each.name, size=SIZE, patch_size=16) for each in (*shots, QUERY)]
    encoded = network.encode([photo.tensor for photo in photos])
    images = [
        KnownImage(
            encoded[row],
            photos[row].transform,
            network_points(each.sparse() if kind == "sparse" else each.dense(), photos[row].transform),
        )
        for row, each in enumerate(shots)
    ]
    chosen = LocalizationOptions(**options)
    return list(match_known_images(network, encoded[-1], photos[-1].transform, images, chosen))  # type: ignore[arg-type]


@pytest.mark.parametrize("network", [PatchNetwork, WithoutConfidence])
@pytest.mark.parametrize("with_descriptors", [True, False])
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_points_are_found_where_the_query_shows_them(
    tmp_path: Path, network: type[PatchNetwork], with_descriptors: bool, kind: str
) -> None:
    """All in the files' pixels; where a network is not sure of anything, nothing is dropped."""
    for each, found in zip(MAP, matched(tmp_path, network(with_descriptors), kind), strict=True):
        gap = np.linalg.norm(QUERY.project(found.xyz) - found.query_xy, axis=1)
        assert len(found) > 150
        assert np.median(gap) < 0.4
        assert (gap < 2).mean() > 0.9
        np.testing.assert_allclose(each.project(found.xyz), found.map_xy, atol=0.02)
        assert np.isfinite(found.confidence).all()


def test_unsure_matches_are_dropped(tmp_path: Path) -> None:
    every = matched(tmp_path, PatchNetwork(), min_confidence=0)[0]
    limit = float(np.median(every.confidence))
    sure = matched(tmp_path, PatchNetwork(), min_confidence=limit)[0]
    assert np.array_equal(sure.xyz, every.xyz[every.confidence >= limit])
    assert len(matched(tmp_path, PatchNetwork(), min_confidence=1e12)[0]) == 0


def test_sparse_points_keep_the_maps_numbers(tmp_path: Path) -> None:
    found = matched(tmp_path, PatchNetwork())
    common = np.intersect1d(found[0].point_ids, found[1].point_ids)
    assert len(common) > 50
    for number in common[:5]:
        first, second = (each.xyz[each.point_ids == number] for each in found)
        np.testing.assert_allclose(first, second)


def test_no_images_no_pairs(tmp_path: Path) -> None:
    assert matched(tmp_path, PatchNetwork(), shots=[]) == []
