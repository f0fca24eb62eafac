"""Triangulation against the goldens of spec 30 section 8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mast3r_model import InputError
from mast3r_sfm.triangulation import batched_triangulate, matches_to_depths


@pytest.fixture
def golden(goldens: Callable[[str], Path]) -> dict[str, np.ndarray]:
    return dict(np.load(goldens("sfm/ops/triangulation.npz")))


@pytest.mark.parametrize(("name", "tolerance"), [("exact", 1e-9), ("noisy", 1e-7)])
def test_points_of_many_cameras(golden: dict[str, np.ndarray], name: str, tolerance: float) -> None:
    points = batched_triangulate(golden[f"x_{name}"], golden["proj"])
    np.testing.assert_allclose(points, golden[f"tri_{name}"], atol=tolerance)


def test_depth_of_every_pixel(golden: dict[str, np.ndarray]) -> None:
    matches = golden["md_matches"].copy()
    found = matches_to_depths(golden["md_K"], golden["md_E"], matches)
    np.testing.assert_allclose(found.pts3d, golden["md_points"], atol=1e-8)
    np.testing.assert_allclose(found.depth, golden["md_depth"], atol=1e-8)
    np.testing.assert_allclose(found.confidence, golden["md_conf"], atol=1e-8)
    np.testing.assert_array_equal(matches, golden["md_matches"])


def test_missing_matches_are_left_out(golden: dict[str, np.ndarray]) -> None:
    matches = golden["md_matches"].copy()
    matches[:, 0, 0, 0, 2] = np.nan
    matches[:, :, 1, 1, 3] = np.inf
    found = matches_to_depths(golden["md_K"], golden["md_E"], matches)
    np.testing.assert_allclose(found.confidence[:, 0, 0], matches[:, 1, 0, 0, 4])
    assert np.isfinite(found.depth[:, 0, 0]).all()
    assert np.isnan(found.depth[:, 1, 1]).all()
    assert (found.confidence[:, 1, 1] == 0).all()


def test_parallel_rays_give_no_point() -> None:
    projection = np.eye(3, 4)[None, None].repeat(2, axis=1)
    assert np.isnan(batched_triangulate(np.zeros((1, 2, 1, 2)), projection)).all()


def test_shapes_are_checked() -> None:
    with pytest.raises(InputError, match="expected pixels"):
        batched_triangulate(np.zeros((1, 2, 5, 2)), np.zeros((1, 3, 3, 4)))
