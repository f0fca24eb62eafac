"""Unknown and roughly known focal lengths (spec 50 D4)."""

from __future__ import annotations

import numpy as np
import pytest

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera, FocalMode, with_focal
from mast3r_visloc.pnp import estimate_pose
from mast3r_visloc.pnp.poselib_solver import solve_poselib

from .pnp_cases import pose_difference, synthetic_case

CAMERAS = (
    Camera("SIMPLE_PINHOLE", 1600, 1200, (1500, 800, 600)),
    Camera("PINHOLE", 1600, 1200, (1500, 1500, 800, 600)),
    Camera("SIMPLE_RADIAL", 1600, 1200, (1500, 800, 600, -0.05)),
    Camera("SIMPLE_RADIAL_FISHEYE", 1600, 1200, (1500, 800, 600, -0.05)),
)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.model)
@pytest.mark.parametrize("start", [0.7, 1.3])
def test_unknown_focal(camera: Camera, start: float) -> None:
    case = synthetic_case(camera, 400, outliers=0.4, noise=1.0)
    points = (case.points2d, case.points3d)
    wrong = with_focal(camera, 1500 * start)
    found = estimate_pose(*points, wrong, solver=solve_poselib, focal="estimate")
    assert found.cam2world is not None
    np.testing.assert_allclose(found.camera.focal_lengths, 1500, rtol=0.01)
    assert pose_difference(found.cam2world, case.cam2world) < (0.03, 0.1)
    assert found.inliers[~case.outlier].mean() > 0.99
    told = estimate_pose(*points, wrong, solver=solve_poselib, focal="estimate", initial_focal=1500.0)
    np.testing.assert_allclose(told.camera.focal_lengths, 1500, rtol=0.01)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.model)
def test_rough_focal_is_refined(camera: Camera) -> None:
    case = synthetic_case(camera, 400, outliers=0.4, noise=1.0)
    found = estimate_pose(
        case.points2d, case.points3d, with_focal(camera, 1545), solver=solve_poselib, focal="refine"
    )
    np.testing.assert_allclose(found.camera.focal_lengths, 1500, rtol=0.01)
    assert found.info["warnings"] == []
    kept = estimate_pose(case.points2d, case.points3d, with_focal(camera, 1545), solver=solve_poselib)
    np.testing.assert_allclose(kept.camera.focal_lengths, 1545)


@pytest.mark.parametrize("focal", ["refine", "estimate"])
def test_distortion_is_found_with_an_unsure_focal(focal: FocalMode) -> None:
    camera = Camera("SIMPLE_RADIAL", 1600, 1200, (1500, 800, 600, -0.16))
    case = synthetic_case(camera, 600, outliers=0.4, noise=1.0)
    start = Camera("SIMPLE_RADIAL", 1600, 1200, (1560, 800, 600, 0))
    found = estimate_pose(case.points2d, case.points3d, start, solver=solve_poselib, focal=focal)
    assert found.cam2world is not None
    np.testing.assert_allclose(found.camera.params, camera.params, rtol=0.01, atol=0.01)
    assert pose_difference(found.cam2world, case.cam2world) < (0.03, 0.1)
    few = estimate_pose(case.points2d[:80], case.points3d[:80], start, solver=solve_poselib, focal=focal)
    assert few.camera.params[3] == 0  # too few to tell it from noise


def test_a_focal_that_moves_far_is_suspicious() -> None:
    case = synthetic_case(CAMERAS[0], 400, outliers=0.4, noise=1.0)
    found = estimate_pose(
        case.points2d, case.points3d, with_focal(CAMERAS[0], 1000), solver=solve_poselib, focal="refine"
    )
    assert found.success
    np.testing.assert_allclose(found.camera.focal_lengths, 1500, rtol=0.01)
    assert any("+50 %, from 1000 to 1500 pixels" in text for text in found.info["warnings"])  # type: ignore[attr-defined]


def test_a_focal_that_fits_nothing_is_looked_for() -> None:
    case = synthetic_case(CAMERAS[0], 100, outliers=0.4, noise=0.5)
    found = estimate_pose(
        case.points2d,
        case.points3d,
        with_focal(CAMERAS[0], 5000),
        solver=solve_poselib,
        threshold="3px",
        focal="refine",
    )
    assert found.success
    np.testing.assert_allclose(found.camera.focal_lengths, 1500, rtol=0.01)
    assert any("noted focal length of 5000" in text for text in found.info["warnings"])  # type: ignore[attr-defined]


def test_noise_has_no_focal() -> None:
    random = np.random.default_rng(0)
    points2d, points3d = random.uniform(0, 1200, (300, 2)), random.normal(size=(300, 3))
    found = estimate_pose(points2d, points3d, CAMERAS[0], solver=solve_poselib, focal="estimate")
    assert not found.success
    assert found.info["failed"] == "few_inliers"


def test_a_start_must_be_positive() -> None:
    case = synthetic_case(CAMERAS[0], 50)
    with pytest.raises(InputError, match="focal length must be a positive number"):
        estimate_pose(
            case.points2d,
            case.points3d,
            case.camera,
            solver=solve_poselib,
            focal="estimate",
            initial_focal=0.0,
        )
