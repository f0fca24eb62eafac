"""Tracks from matches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_match import Correspondences
from mast3r_model import InputError
from mast3r_sfm.exports.colmap_model import write_colmap
from mast3r_sfm.scene import PointCloud, Scene, SceneImage
from mast3r_sfm.tracks import TrackOptions, tracks_from_matches


def relief(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 4 + 0.4 * np.sin(1.7 * x) + 0.3 * np.cos(1.3 * y + x)


def spoiled(found: Correspondences, share: float, seed: int) -> Correspondences:
    random = np.random.default_rng(seed)
    xy1 = found.xy1.numpy().copy()
    wrong = random.random(len(xy1)) < share
    xy1[wrong] = random.integers(0, [64, 48], (int(wrong.sum()), 2))
    return Correspondences(found.xy0, torch.from_numpy(xy1), found.confidence)


def check_consistency(images: tuple[SceneImage, ...], tracks: Any, options: TrackOptions) -> None:
    pairs = np.stack([tracks.track, tracks.image], axis=1)
    assert len(np.unique(pairs, axis=0)) == len(pairs)  # an image sees a point once
    assert (np.bincount(tracks.track, minlength=len(tracks)) >= options.min_images).all()
    P = np.array([image.intrinsics @ image.world2cam[:3] for image in images])[tracks.image]
    moved = np.einsum("mij,mj->mi", P, np.c_[tracks.positions[tracks.track], np.ones(len(P))])
    error = np.linalg.norm(moved[:, :2] / moved[:, 2:] - tracks.xy, axis=1)
    np.testing.assert_allclose(error, tracks.reprojection_error, atol=1e-6)
    assert (moved[:, 2] > 0).all()
    assert error.max(initial=0) <= options.max_error / 0.5 + 1e-6  # network pixels are twice as large


def test_true_matches_give_true_points(matched: Any) -> None:
    tracks = tracks_from_matches(matched.images, matched.pairs)
    check_consistency(matched.images, tracks, TrackOptions())
    off = np.abs(relief(tracks.positions[:, 0], tracks.positions[:, 1]) - tracks.positions[:, 2])
    assert np.median(off) < 0.05  # matches are rounded to pixels of 0.06 units
    assert len(tracks.track) > 0.9 * sum(len(found.xy0) for found in matched.pairs.values()) / 2
    assert np.bincount(tracks.track).max() == 5
    first = tracks.image == 2
    x, y = np.round(matched.images[2].transform.points_to_network(tracks.xy[first])).astype(int).T
    seen = matched.images[2].color[y, x].astype(int)
    assert np.median(np.abs(seen - tracks.colors[tracks.track[first]])) < 12


def test_wrong_matches_and_wrong_depth_are_sorted_out(matched: Any) -> None:
    random = np.random.default_rng(0)
    images = tuple(
        SceneImage(
            **{
                **vars(image),
                "depth": image.depth * np.exp(0.03 * random.standard_normal(image.depth.shape)),
            }
        )
        for image in matched.images
    )
    pairs = {pair: spoiled(found, 0.3, sum(pair)) for pair, found in matched.pairs.items()}
    tracks = tracks_from_matches(images, pairs)
    check_consistency(images, tracks, TrackOptions())
    off = np.abs(relief(tracks.positions[:, 0], tracks.positions[:, 1]) - tracks.positions[:, 2])
    assert np.median(off) < 0.06
    assert (off < 0.4).mean() > 0.95  # two views alone cannot tell all wrong matches
    whole = tracks_from_matches(matched.images, matched.pairs)
    assert len(tracks.track) > 0.6 * len(whole.track)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), least=st.integers(2, 4), rounds=st.integers(1, 3))
def test_any_matches_give_consistent_tracks(matched: Any, seed: int, least: int, rounds: int) -> None:
    options = TrackOptions(min_images=least, rounds=rounds, max_depth_error=1e9)
    pairs = {pair: spoiled(found, 0.8, seed + sum(pair)) for pair, found in matched.pairs.items()}
    check_consistency(matched.images, tracks_from_matches(matched.images, pairs, options=options), options)


def test_groups_do_not_mix(scene: Scene, matched: Any) -> None:
    pairs = {(0, 3): matched.pairs[0, 1], (3, 4): matched.pairs[0, 1]}
    tracks = tracks_from_matches(
        scene.images, pairs, options=TrackOptions(max_error=1e6, max_depth_error=1e9)
    )
    assert set(tracks.image) <= {3, 4}


def test_nothing_to_do(matched: Any) -> None:
    assert len(tracks_from_matches(matched.images, {})) == 0
    with pytest.raises(InputError, match="2 images"):
        tracks_from_matches(matched.images, {}, options=TrackOptions(min_images=1))


def test_the_model_of_them_has_their_errors(matched: Any, tmp_path: Path) -> None:
    tracks = tracks_from_matches(matched.images, matched.pairs)
    write_colmap(Scene(matched.images, PointCloud.empty(), tracks), tmp_path)
    model = pycolmap.Reconstruction(tmp_path / "sparse" / "0")
    mean = np.bincount(tracks.track, tracks.reprojection_error) / np.bincount(tracks.track)
    errors = [model.points3D[number].error for number in sorted(model.points3D)]
    np.testing.assert_allclose(errors, mean, rtol=1e-6)
