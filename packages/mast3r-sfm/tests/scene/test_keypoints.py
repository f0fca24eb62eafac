"""Keypoints and tracks for COLMAP against the goldens of spec 30 section 11.2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_match import Correspondences
from mast3r_model import ImageTransform, InputError
from mast3r_sfm.colmap.cameras import FOCAL_GUESS
from mast3r_sfm.keypoints import colmap_keypoints, keypoint_graph

Golden = dict[str, np.ndarray]


def correspondences(xy0: np.ndarray, xy1: np.ndarray) -> Correspondences:
    return Correspondences(torch.from_numpy(xy0), torch.from_numpy(xy1), torch.ones(len(xy0)))


@pytest.fixture
def golden(goldens: Callable[[str], Path]) -> Golden:
    return dict(np.load(goldens("sfm/colmap/colmap_export.npz")))


def golden_graph(golden: Golden):
    order = [(0, 1), (2, 1), (0, 3), (3, 2), (1, 3)]
    pairs = {
        (i, j): correspondences(golden[f"matches_{i}_{j}_im0"], golden[f"matches_{i}_{j}_im1"])
        for i, j in order
    }
    shape = tuple(golden["true_shape"])
    return keypoint_graph([shape] * 4, pairs, ranks=golden["colmap_ids"])


def golden_transforms(golden: Golden) -> list[ImageTransform]:
    transforms = []
    for to_orig, original in zip(golden["to_orig"], golden["orig_shape"], strict=True):
        scale = to_orig[[0, 1], [0, 1]]
        matrix = np.diag([*(1 / scale), 1.0])
        # upstream's matrix has its pixels' corners at integers
        matrix[:2, 2] = -(to_orig[:2, 2] + 0.5 * scale - 0.5) / scale
        transforms.append(ImageTransform(tuple(original), tuple(golden["true_shape"]), matrix))
    return transforms


def test_keypoints_stand_in_order_of_first_occurrence(golden: Golden) -> None:
    graph = golden_graph(golden)
    offsets = graph.offsets
    for image in range(4):
        own = slice(offsets[image], offsets[image + 1])
        np.testing.assert_array_equal(graph.pixel[own], golden[f"kpcount_keys_{image}"])
        np.testing.assert_array_equal(graph.count[own], golden[f"kpcount_vals_{image}"])


def test_matches_are_oriented_and_sorted(golden: Golden) -> None:
    graph = golden_graph(golden)
    for number, (a, b) in enumerate(graph.pairs):
        pixels = graph.pixel[graph.matches[graph.pair == number]]
        np.testing.assert_array_equal(pixels, golden[f"colmap_matches_{a}_{b}"])


@pytest.mark.parametrize("min_length", [2, 3, 5])
def test_tracks_keypoints_and_matches(golden: Golden, min_length: int) -> None:
    ids = golden["colmap_ids"]
    graph = golden_graph(golden).with_tracks_of(min_length)
    exported = {}
    for image, xy in enumerate(colmap_keypoints(graph, golden_transforms(golden))):
        if len(xy):
            exported[f"ml{min_length}_keypoints_{ids[image]}"] = xy
    for number, (a, b) in enumerate(graph.pairs):
        exported[f"ml{min_length}_matches_{ids[a]}_{ids[b]}"] = graph.pair_matches(number)
    expected = {name: values for name, values in golden.items() if name.startswith(f"ml{min_length}_")}
    assert set(exported) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(exported[name], values, atol=1e-4 if "keypoints" in name else 0)


def test_repeated_rows_count_but_match_once() -> None:
    rows = np.array([[1, 2], [1, 2], [3, 0]])
    graph = keypoint_graph([(4, 5)] * 2, {(0, 1): correspondences(rows, rows)})
    assert graph.count.tolist() == [2, 1, 2, 1]
    assert graph.pair_matches(0).tolist() == [[1, 1], [0, 0]]


def test_no_pairs_and_empty_pairs() -> None:
    none = np.zeros((0, 2), np.int64)
    for pairs in ({}, {(0, 1): correspondences(none, none)}):
        graph = keypoint_graph([(4, 5)] * 2, pairs).with_tracks_of(2)
        assert len(graph) == 0
        assert len(graph.pairs) == 0


@pytest.mark.parametrize("pair", [(0, 0), (0, 2), (-1, 0)])
def test_impossible_pairs_are_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="no pair"):
        keypoint_graph([(4, 5)] * 2, {pair: correspondences(np.zeros((1, 2)), np.zeros((1, 2)))})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(0, 30))
def test_tracks_are_what_union_find_gives(seed: int, images: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    pairs = {
        (i, j): correspondences(random.integers(0, 4, (rows, 2)), random.integers(0, 4, (rows, 2)))
        for i in range(images)
        for j in range(i + 1, images)
        if random.random() < 0.5
    }
    graph = keypoint_graph([(4, 4)] * images, pairs)
    parent = list(range(len(graph)))

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b in graph.matches:
        parent[root(a)] = root(b)
    roots = np.array([root(node) for node in range(len(graph))], np.int64)
    labels = graph.tracks()
    assert len(np.unique(labels)) == len(np.unique(roots))
    assert len({(int(a), int(b)) for a, b in zip(labels, roots, strict=True)}) == len(np.unique(roots))


def test_cameras_for_colmap_are_upstreams_with_the_crop_that_it_forgot(
    golden: Golden, goldens: Callable[[str], Path]
) -> None:
    """Focal lengths and poses are equal; the principal point also moves by the crop (spec 30 section 11.2)."""
    recorded = json.loads(goldens("sfm/colmap/colmap_export.json").read_text())["export_images"]
    (calibrated,) = [run for run in recorded if (run["model"], run["focals"]) == ("PINHOLE", "K")]
    (guessed,) = [run for run in recorded if (run["model"], run["focals"]) == ("SIMPLE_PINHOLE", "none")]
    for image, transform in enumerate(golden_transforms(golden)):
        ours = transform.intrinsics_to_original(golden["ei_K"][image].astype(np.float64))
        _, width, height, (fx, fy, cx, cy), is_prior = calibrated["cameras"][image]
        assert (height, width) == transform.original_shape
        assert is_prior
        np.testing.assert_allclose([ours[0, 0], ours[1, 1]], [fx, fy])
        to_orig = golden["to_orig"][image]
        half_pixel = to_orig[[0, 1], [0, 1]] / 2 - 0.5
        np.testing.assert_allclose(ours[:2, 2] - np.array([cx, cy]), to_orig[:2, 2] + half_pixel, atol=1e-9)
        # Upstream scales its guess, which is in the photo's pixels already, once more.
        recorded_guess = guessed["cameras"][image][3][0] / to_orig[0, 0]
        assert recorded_guess == pytest.approx(FOCAL_GUESS * max(width, height))
        _, _, (w, x, y, z), translation = calibrated["images"][image]
        rigid = pycolmap.Rigid3d(golden["ei_w2c"][image][:3].astype(np.float64))
        turn = np.array([x, y, z, w])
        assert abs(rigid.rotation.quat @ turn) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(rigid.translation, translation, atol=1e-6)
