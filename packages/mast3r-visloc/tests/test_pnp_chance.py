"""Poses that wrong matches agree with by accident."""

from __future__ import annotations

import numpy as np
import pytest

from mast3r_model import ConfigError
from mast3r_visloc.cameras import Camera, project
from mast3r_visloc.pnp import estimate_pose, log10_chance_poses
from mast3r_visloc.pnp.poselib_solver import solve_poselib


def test_chance_is_told_from_a_pose() -> None:
    """Poses that wrong matches agree with by accident, and true ones among as many wrong matches."""
    camera = Camera("PINHOLE", 640, 480, (500, 500, 320, 240))
    random = np.random.default_rng(0)
    points = random.uniform([-3, -2, 4], [3, 2, 9], (2000, 3))
    wrong = random.uniform(0, [640, 480], (2000, 2))
    lenient = estimate_pose(wrong, points, camera, solver=solve_poselib, threshold="0.8%", min_inliers=8)
    strict = estimate_pose(
        wrong, points, camera, solver=solve_poselib, threshold="0.8%", min_inliers=8, max_chance=0.01
    )
    assert lenient.success  # what RANSAC makes of noise
    assert not strict.success
    assert strict.info["failed"] == "chance"
    assert "chance" in str(strict.info["reason"])
    true = project(camera, points)
    mixed = wrong.copy()
    mixed[:160] = true[:160] + random.normal(0, 0.5, (160, 2))
    found = estimate_pose(mixed, points, camera, solver=solve_poselib, threshold="0.8%", max_chance=0.01)
    assert found.success
    assert found.inliers[:160].mean() > 0.9
    assert found.info["log10_chance_poses"] < -10  # type: ignore[operator]
    # Many points that lead to one place say no more than one of them.
    heap = wrong.copy()
    heap[:200] = random.normal((300.0, 200.0), 0.5, (200, 2))
    assert not estimate_pose(
        heap, points, camera, solver=solve_poselib, threshold="0.8%", max_chance=0.01
    ).success
    with pytest.raises(ConfigError, match="max_chance"):
        estimate_pose(wrong, points, camera, solver=solve_poselib, max_chance=0.0)


def test_chance_of_few_matches() -> None:
    everywhere = np.stack(np.meshgrid(np.arange(0, 640, 40.0), np.arange(0, 480, 40.0)), -1).reshape(-1, 2)
    all_in, half, few = (np.arange(len(everywhere)) < count for count in (192, 96, 7))
    values = [log10_chance_poses(everywhere, rows, 5.0) for rows in (all_in, half, few)]
    assert values[0] < values[1] < -50 < 0 < values[2]
    assert log10_chance_poses(everywhere, few, 5.0, sample=4) > values[2]
    assert log10_chance_poses(everywhere, np.arange(192) < 3, 5.0) == np.inf
    assert log10_chance_poses(everywhere[:12], np.ones(12, bool), 5.0) < -5
