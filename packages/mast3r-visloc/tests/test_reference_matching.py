"""Upstream's matching on the network's pixels, against its recorded results (spec 50 A5, A5.1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mast3r_match import reciprocal_nearest_neighbors
from mast3r_visloc.reference.matching import (
    DescribedImage,
    KnownPoints,
    PointedImage,
    match_coarsely,
    match_known_points,
    match_predicted_points,
    mutual_nearest_points,
    to_original_pixels,
)


@pytest.fixture(scope="module")
def arrays(goldens: Path) -> dict[str, np.ndarray]:
    return dict(np.load(goldens / "matching.npz"))


def described(descriptors: np.ndarray) -> DescribedImage:
    """With the flat index of each pixel as its confidence."""
    height, width = descriptors.shape[:2]
    return DescribedImage(
        torch.from_numpy(descriptors), torch.arange(height * width).float().view(height, width)
    )


@pytest.mark.parametrize("tolerance", [1, 2, 5])
def test_matches_of_known_points(arrays: dict[str, np.ndarray], tolerance: int) -> None:
    map_image, query = described(arrays["A"]), described(arrays["B"])
    valid = np.zeros(arrays["A"].shape[:2], dtype=bool)
    valid[arrays["y"], arrays["x"]] = True
    pts3d = np.random.default_rng(0).normal(size=(*valid.shape, 3)).astype(np.float32)
    found = match_known_points(query, map_image, KnownPoints(pts3d, valid), tolerance)
    expected_map, expected_query = (arrays[f"subset_tol{tolerance}/{side}"] for side in ("xyA", "xyB"))
    np.testing.assert_array_equal(found.map_xy, expected_map)
    np.testing.assert_array_equal(found.query_xy, expected_query)
    np.testing.assert_array_equal(found.xyz, pts3d[expected_map[:, 1], expected_map[:, 0]])
    flat_map = expected_map @ [1, arrays["A"].shape[1]]
    flat_query = expected_query @ [1, arrays["B"].shape[1]]
    np.testing.assert_array_equal(found.confidence, np.minimum(flat_map, flat_query))


def test_no_known_points_no_matches(arrays: dict[str, np.ndarray]) -> None:
    map_image, query = described(arrays["A"]), described(arrays["B"])
    shape = arrays["A"].shape[:2]
    known = KnownPoints(np.full((*shape, 3), np.nan, dtype=np.float32), np.zeros(shape, dtype=bool))
    assert len(match_known_points(query, map_image, known, 5)) == 0


@pytest.mark.parametrize("block", [8192, 100])
def test_matches_from_a_grid(arrays: dict[str, np.ndarray], block: int) -> None:
    """The blocks that upstream computes in change nothing."""
    found = reciprocal_nearest_neighbors(torch.from_numpy(arrays["A"]), torch.from_numpy(arrays["B"]))
    np.testing.assert_array_equal(found.xy0, arrays[f"grid8_bs{block}/xyA"])
    np.testing.assert_array_equal(found.xy1, arrays[f"grid8_bs{block}/xyB"])


def test_coarse_matches_keep_away_from_the_borders(arrays: dict[str, np.ndarray]) -> None:
    query_xy, map_xy = match_coarsely(described(arrays["B"]), described(arrays["A"]))
    expected_map, expected_query = arrays["grid8_bs8192/xyA"], arrays["grid8_bs8192/xyB"]
    kept = np.ones(len(expected_map), dtype=bool)
    for xy, (height, width) in ((expected_map, (24, 32)), (expected_query, (28, 26))):
        kept &= (xy[:, 0] >= 3) & (xy[:, 0] < width - 3) & (xy[:, 1] >= 3) & (xy[:, 1] < height - 3)
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(map_xy, expected_map[kept])
    np.testing.assert_array_equal(query_xy, expected_query[kept])


def test_mutual_nearest_points(arrays: dict[str, np.ndarray]) -> None:
    mutual, nearest = arrays["recip3d/reciprocal_in_P2"], arrays["recip3d/nn2_in_P1"]
    index1, index2 = mutual_nearest_points(arrays["recip3d/P1"], arrays["recip3d/P2"])
    np.testing.assert_array_equal(index2, np.flatnonzero(mutual))
    np.testing.assert_array_equal(index1, nearest[mutual])


def test_mutual_nearest_points_of_nothing() -> None:
    nothing, something = np.empty((0, 3), dtype=np.float32), np.zeros((4, 3), dtype=np.float32)
    for first, second in ((nothing, something), (something, nothing), (nothing, nothing)):
        index0, index1 = mutual_nearest_points(first, second)
        assert len(index0) == len(index1) == 0


def test_predicted_points_match_where_both_sides_are_confident_and_the_map_is_known() -> None:
    """Two views of one plane, the second shifted by two pixels."""
    rows, columns = np.mgrid[:6, :9].astype(np.float32)
    plane = torch.from_numpy(np.stack([columns, rows, np.zeros_like(rows)], axis=-1))
    shift = torch.tensor([2.0, 0.0, 0.0])
    query_confidence, map_confidence = torch.full((6, 9), 3.0), torch.full((6, 9), 4.0)
    query_confidence[5] = 2.99  # just not enough
    map_confidence[:, 0] = 1.0
    valid = np.ones((6, 9), dtype=bool)
    valid[0] = False
    pts3d = 10 * (plane + shift).numpy()
    found = match_predicted_points(
        PointedImage(plane, query_confidence),
        PointedImage(plane + shift, map_confidence),
        KnownPoints(pts3d, valid),
        3.0,
    )
    expected = [(x, y) for y in range(1, 5) for x in range(1, 7)]
    np.testing.assert_array_equal(found.map_xy, expected)
    np.testing.assert_array_equal(found.query_xy, [(x + 2, y) for x, y in expected])
    np.testing.assert_array_equal(found.xyz[:, :2], 10 * found.query_xy)
    assert set(found.confidence) == {np.float32(3.0)}


def test_network_pixels_become_the_photos() -> None:
    to_orig = np.array([[2.0, 0.0, 5.0], [0.0, 4.0, 7.0], [0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(
        to_original_pixels(np.array([[0, 0], [3, 1]]), to_orig), [[5.5, 8.5], [11.5, 12.5]]
    )
