"""Poses from correspondences, the whole way: exactness, bad input, repeatability (spec 50 D5)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from mast3r_model import ConfigError, InputError, PluginError, hookimpl, registry, temporary_plugin
from mast3r_visloc.cameras import Camera
from mast3r_visloc.pnp import (
    PnPResult,
    PnPSolver,
    estimate_pose,
    find_inliers,
    threshold_pixels,
)
from mast3r_visloc.pnp.opencv_solver import solve_opencv
from mast3r_visloc.pnp.poselib_solver import solve_poselib
from mast3r_visloc.pnp.pycolmap_solver import solve_pycolmap

from .pnp_cases import (
    MODELS,
    Case,
    camera_of,
    golden_arrays,
    golden_settings,
    pose_difference,
    synthetic_case,
)

SOLVERS: dict[str, PnPSolver] = {"cv2": solve_opencv, "poselib": solve_poselib, "pycolmap": solve_pycolmap}
MODES = tuple(SOLVERS)
SETTINGS = golden_settings()
HOPELESS = {"n4", "all_outliers"}
PLAIN = Camera("SIMPLE_PINHOLE", 1600, 1200, (1500, 801, 598))


def solve(case: Case, **settings: object) -> PnPResult:
    """With PoseLib unless told otherwise."""
    return estimate_pose(
        case.points2d,
        case.points3d,
        case.camera,
        **{"solver": solve_poselib, **settings},  # type: ignore[arg-type]
    )


@functools.cache
def solve_recorded(name: str, mode: str) -> PnPResult:
    """Our pose of a recorded case."""
    case, arrays = SETTINGS[name], golden_arrays(name)
    return estimate_pose(
        arrays["pts2d"],
        arrays["pts3d"],
        recorded_camera(name),
        solver=SOLVERS[mode],
        threshold=case["reprojection_error"],
        min_inliers=5,
    )


def recorded_camera(name: str) -> Camera:
    """Of a recorded case."""
    width, height = SETTINGS[name]["img_size"]
    return Camera.from_intrinsics(
        golden_arrays(name)["K"], (height, width), SETTINGS[name]["distortion"] or ()
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", list(SETTINGS))
def test_no_worse_than_upstream(name: str, mode: str) -> None:
    case, arrays, found = SETTINGS[name], golden_arrays(name), solve_recorded(name, mode)
    if name in HOPELESS:
        assert not found.success
        assert found.info["failed"] == "few_inliers"
        return
    theirs = find_inliers(
        np.linalg.inv(arrays[f"pose_{mode}"]),
        arrays["pts2d"],
        arrays["pts3d"],
        recorded_camera(name),
        case["reprojection_error"],
    )
    assert found.num_inliers >= theirs.sum()
    assert found.cam2world is not None
    error = np.array(pose_difference(found.cam2world, arrays["truth_cam_to_world"]))
    # Noise is part of the input: one fit to it may be luckier than another, never by much.
    best_of_upstream = np.min([case["results"][other]["err_to_truth"] for other in MODES], axis=0)
    assert (error <= np.maximum(2 * best_of_upstream, [1e-6, 1e-5])).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - HOPELESS))
def test_inliers_are_those_that_were_made_right(name: str, mode: str) -> None:
    outlier, found = golden_arrays(name)["outlier"].astype(bool), solve_recorded(name, mode)
    assert found.inliers[~outlier].mean() > 0.8
    assert not outlier.any() or found.inliers[outlier].mean() < 0.1


@pytest.mark.parametrize("mode", MODES)
def test_more_exact_than_upstream_on_the_whole(mode: str) -> None:
    ours, theirs = [], []
    for name in SETTINGS.keys() - HOPELESS:
        pose = solve_recorded(name, mode).cam2world
        assert pose is not None
        ours.append(pose_difference(pose, golden_arrays(name)["truth_cam_to_world"]))
        theirs.append(SETTINGS[name]["results"][mode]["err_to_truth"])
    assert (np.mean(ours, axis=0) <= np.mean(theirs, axis=0)).all()


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("model", list(MODELS))
def test_every_camera_model(model: str, solver: PnPSolver) -> None:
    case = synthetic_case(camera_of(model), outliers=0.3, noise=0.5)
    found = solve(case, solver=solver)
    assert found.cam2world is not None
    assert pose_difference(found.cam2world, case.cam2world) < (0.01, 0.1)
    assert found.inliers[~case.outlier].mean() > 0.99
    assert found.inliers[case.outlier].mean() < 0.05


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_every_camera_model_is_listed(solver: PnPSolver) -> None:
    models = set(pycolmap.CameraModelId.__members__) - {"INVALID", "EQUIRECTANGULAR"}
    assert models == set(MODELS)
    # Views of nearly 180 degrees: points at the rim count too, though a pinhole camera cannot hold them.
    case = synthetic_case(Camera("SIMPLE_FISHEYE", 1000, 1000, (320, 500, 500)), 500, outliers=0.3, noise=0.5)
    found = solve(case, solver=solver)
    assert found.cam2world is not None
    assert pose_difference(found.cam2world, case.cam2world) < (0.01, 0.1)
    assert found.inliers[~case.outlier].mean() > 0.98


@pytest.mark.parametrize("name", ["poselib", "pycolmap"])
def test_mostly_outliers(name: str) -> None:
    case = synthetic_case(PLAIN, 1000, outliers=0.7, noise=1.0)
    found = solve(case, solver=SOLVERS[name])
    assert found.cam2world is not None
    assert pose_difference(found.cam2world, case.cam2world) < (0.01, 0.1)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_same_seed_same_pose_and_order_does_not_matter(solver: PnPSolver) -> None:
    case = synthetic_case(PLAIN, 200, outliers=0.4, noise=1.0)
    first, again = (solve(case, solver=solver, seed=3) for _ in range(2))
    assert first.cam_from_world is not None
    assert again.cam_from_world is not None
    assert first.cam_from_world.tobytes() == again.cam_from_world.tobytes()
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(case.points2d))
        other = solve(
            dataclasses.replace(case, points2d=case.points2d[order], points3d=case.points3d[order]),
            solver=solver,
            seed=3,
        )
        assert other.cam2world is not None
        assert first.cam2world is not None
        assert pose_difference(other.cam2world, first.cam2world) < (1e-4, 1e-3)
        np.testing.assert_array_equal(other.inliers, first.inliers[order])


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_both_pixel_conventions_give_one_pose(solver: PnPSolver) -> None:
    """Pixels by the pinhole formula, written out, so that no half pixel can hide on both sides."""
    case = synthetic_case(PLAIN, 100)
    world2cam = np.linalg.inv(case.cam2world)
    in_camera = case.points3d @ world2cam[:3, :3].T + world2cam[:3, 3]
    seen = in_camera[:, :2] / in_camera[:, 2:] * [1480, 1520] + [800.5, 597.5]
    ours = Camera.from_intrinsics(np.array([[1480, 0, 800.5], [0, 1520, 597.5], [0, 0, 1]]), (1200, 1600))
    colmap_pixels = in_camera[:, :2] / in_camera[:, 2:] * [1480, 1520] + [801, 598]
    colmap = Camera("PINHOLE", 1600, 1200, (1480, 1520, 801, 598))
    for points2d, camera in ((seen, ours), (colmap_pixels - 0.5, colmap)):
        found = estimate_pose(points2d, case.points3d, camera, solver=solver)
        assert found.cam2world is not None
        assert pose_difference(found.cam2world, case.cam2world) < (1e-6, 1e-6)
    direct = pycolmap.estimate_and_refine_absolute_pose(colmap_pixels, case.points3d, colmap.to_colmap())
    assert direct is not None
    pose = np.linalg.inv(np.vstack([direct["cam_from_world"].matrix(), [0, 0, 0, 1]]))
    assert pose_difference(pose, case.cam2world) < (1e-6, 1e-6)


class TestBadInput:
    """Points that cannot fix a pose fail with a reason and never crash."""

    @pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
    @pytest.mark.parametrize("kind", ["line", "one point", "three points", "nothing", "nan", "edge on"])
    def test_degenerate(self, kind: str, solver: PnPSolver) -> None:
        case = synthetic_case(PLAIN, 60)
        points2d, points3d = case.points2d.copy(), case.points3d.copy()
        if kind == "line":
            points3d = np.linspace(0, 1, 60)[:, None] * [1.0, 2.0, 3.0] + [5.0, 6.0, 7.0]
        elif kind == "one point":
            points2d[:], points3d[:] = points2d[0], points3d[0]
        elif kind == "three points":
            points2d, points3d = points2d[np.arange(60) % 3], points3d[np.arange(60) % 3]
        elif kind == "nothing":
            points2d, points3d = points2d[:0], points3d[:0]
        elif kind == "nan":
            points3d[:, 1] = np.nan
        else:
            points2d[:, 1] = 300
        found = estimate_pose(points2d, points3d, PLAIN, solver=solver)
        assert not found.success
        assert found.cam_from_world is None
        assert found.info["failed"] == "few_matches"
        expected = "lie on one line" if kind in ("line", "edge on") else "at least 4 are needed"
        assert expected in str(found.info["reason"])
        told = [] if kind in ("nothing", "nan") else [found.info["reason"]]
        assert found.info["warnings"] == told  # of many matches a user is to know why they are no use
        assert found.inliers.shape == (len(points2d),)

    @pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
    def test_solvers_alone_do_not_crash(self, solver: PnPSolver) -> None:
        case = synthetic_case(camera_of("FOV"), 60)
        line = np.linspace(0, 1, 60)[:, None] * [1.0, 2.0, 3.0]
        same = np.ones((60, 3))
        for points2d, points3d in (
            (case.points2d, line),
            (case.points2d, same),
            (np.ones((60, 2)), case.points3d),
            (case.points2d[:3], case.points3d[:3]),
            (case.points2d[:0], case.points3d[:0]),
        ):
            found = solver(points2d, points3d, case.camera, 5.0, 0)
            assert found.success == (found.cam_from_world is not None)
            assert found.inliers.shape == (len(points2d),)

    @pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
    def test_planar_points_suffice(self, solver: PnPSolver) -> None:
        case = synthetic_case(PLAIN, 200, noise=0.5)
        world2cam = np.linalg.inv(case.cam2world)
        in_camera = case.points3d @ world2cam[:3, :3].T + world2cam[:3, 3]
        in_camera *= (4 / in_camera[:, 2])[:, None]
        flat = in_camera @ case.cam2world[:3, :3].T + case.cam2world[:3, 3]
        found = solve(dataclasses.replace(case, points3d=flat), solver=solver)
        assert found.cam2world is not None
        assert pose_difference(found.cam2world, case.cam2world) < (0.01, 0.1)

    def test_inliers_on_a_line_are_refused(self) -> None:
        random = np.random.default_rng(0)
        in_camera = np.linspace(-1, 1, 60)[:, None] * [1.0, 0.2, 0.5] + [0, 0, 4]
        points2d = in_camera[:, :2] / in_camera[:, 2:] * 1500 + [800.5, 597.5]
        points2d = np.vstack([points2d, random.uniform(0, 1200, (4, 2))])
        points3d = np.vstack([in_camera, random.uniform(-1, 1, (4, 3)) - [0, 0, 40]])

        def fits_the_line(points2d: np.ndarray, *_: object) -> PnPResult:
            return PnPResult(True, np.eye(4), np.ones(len(points2d), dtype=bool), 64, PLAIN)

        found = estimate_pose(points2d, points3d, PLAIN, solver=fits_the_line, threshold="2px")
        assert not found.success
        assert found.num_inliers == 60
        assert found.info["failed"] == "few_inliers"
        assert "the 3D points lie on one line" in str(found.info["reason"])

    def test_rows_that_are_not_finite_are_left_out(self) -> None:
        case = synthetic_case(PLAIN, 100, noise=0.5)
        points2d, points3d = case.points2d.copy(), case.points3d.copy()
        points2d[3], points3d[50, 2], points2d[99, 0] = np.nan, np.inf, -np.inf
        bad = np.isin(np.arange(100), [3, 50, 99])
        found = estimate_pose(points2d, points3d, PLAIN, solver=solve_poselib)
        clean = estimate_pose(points2d[~bad], points3d[~bad], PLAIN, solver=solve_poselib)
        assert found.cam_from_world is not None
        np.testing.assert_array_equal(found.cam_from_world, clean.cam_from_world)
        np.testing.assert_array_equal(found.inliers[~bad], clean.inliers)
        assert not found.inliers[bad].any()
        assert found.num_inliers == found.inliers.sum()

    def test_noise_is_no_success(self) -> None:
        random = np.random.default_rng(0)
        points2d, points3d = random.uniform(0, 1200, (500, 2)), random.normal(size=(500, 3))
        found = estimate_pose(points2d, points3d, PLAIN, solver=solve_poselib)
        assert not found.success
        assert found.info["failed"] == "few_inliers"
        assert f"only {found.num_inliers} points agree" in str(found.info["reason"])

    def test_points_behind_the_camera_are_no_inliers(self) -> None:
        case = synthetic_case(PLAIN, 50)
        mirrored = 2 * case.cam2world[:3, 3] - case.points3d
        assert not find_inliers(np.linalg.inv(case.cam2world), case.points2d, mirrored, PLAIN, 5.0).any()

    def test_settings(self) -> None:
        case = synthetic_case(PLAIN, 50)
        with pytest.raises(InputError, match=r"pixels \(n, 2\)"):
            estimate_pose(case.points2d, case.points3d[:-1], PLAIN, solver=solve_poselib)
        with pytest.raises(InputError, match="one weight for each of 50"):
            solve(case, weights=np.ones(49))
        with pytest.raises(ConfigError, match="min_inliers"):
            solve(case, min_inliers=3)
        with pytest.raises(ConfigError, match="max_points"):
            solve(case, max_points=0)
        with pytest.raises(ConfigError, match="focal"):
            solve(case, focal="guess")


@pytest.mark.parametrize(
    ("threshold", "pixels"), [("0.8%", 16.0), (" 12PX ", 12.0), ("7.5", 7.5), (3, 3.0), ("100 %", 2000.0)]
)
def test_thresholds(threshold: str | float, pixels: float) -> None:
    assert threshold_pixels(threshold, PLAIN) == pytest.approx(pixels)


@pytest.mark.parametrize("threshold", ["", "px", "-1px", "0%", "nan", "inf px", "1e999", "twelve", "12 cm"])
def test_thresholds_that_are_none(threshold: str) -> None:
    with pytest.raises(InputError, match="threshold"):
        threshold_pixels(threshold, PLAIN)


def test_the_best_points_are_kept() -> None:
    case = synthetic_case(PLAIN, 2000, outliers=0.9, noise=0.5)
    seen: list[np.ndarray] = []

    def watching(
        points2d: np.ndarray,
        points3d: np.ndarray,
        camera: Camera,
        threshold_px: float,
        seed: int,
        weights: np.ndarray | None = None,
    ) -> PnPResult:
        seen.append(points2d)
        return solve_poselib(points2d, points3d, camera, threshold_px, seed, weights)

    weights = np.where(case.outlier, 0.1, 1.0)
    best = solve(case, solver=watching, max_points=100, weights=weights)
    np.testing.assert_array_equal(seen[0], case.points2d[np.flatnonzero(~case.outlier)[:100]])
    assert best.num_inliers > 150, "the inliers of all points count"
    assert best.cam2world is not None
    assert pose_difference(best.cam2world, case.cam2world) < (0.01, 0.1)
    for _ in range(2):
        solve(case, solver=watching, max_points=100, seed=5)
    np.testing.assert_array_equal(seen[1], seen[2])
    assert len(seen[1]) == 100


def test_covariance_is_that_of_many_trials() -> None:
    clean = synthetic_case(PLAIN, 80)
    random = np.random.default_rng(0)
    changes, told = [], []
    truth = np.linalg.inv(clean.cam2world)
    for _ in range(150):
        noisy = clean.points2d + random.normal(0, 1.5, clean.points2d.shape)
        found = solve(dataclasses.replace(clean, points2d=noisy), covariance=True)
        assert found.cam_from_world is not None
        assert found.covariance is not None
        turn = Rotation.from_matrix(found.cam_from_world[:3, :3] @ truth[:3, :3].T).as_rotvec()
        changes.append([*turn, *(found.cam_from_world[:3, 3] - truth[:3, 3])])
        told.append(found.covariance)
    measured, expected = np.cov(np.array(changes).T), np.mean(told, axis=0)
    ratios = np.sqrt(np.diag(measured) / np.diag(expected))
    assert ratios.min() > 0.8
    assert ratios.max() < 1.25
    spread = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        measured / np.outer(spread, spread), expected / np.outer(spread, spread), atol=0.35
    )
    assert solve(clean).covariance is None


class OneSolver:
    """A plugin that gives one solver."""

    def __init__(self, solver: object) -> None:
        self.solver = solver

    @hookimpl
    def mast3r_pnp_solvers(self) -> Mapping[str, object]:
        """By name."""
        return {"of-the-test": self.solver}


def test_a_plugins_solver_by_name() -> None:
    case = synthetic_case(PLAIN, 50)

    def knows(points2d: np.ndarray, *_: object) -> PnPResult:
        pose = np.linalg.inv(case.cam2world)
        return PnPResult(
            True, pose, np.ones(len(points2d), dtype=bool), len(points2d), PLAIN, info={"mine": 1}
        )

    with temporary_plugin(OneSolver(knows), "solver-of-the-test"):
        found = solve(case, solver="of-the-test")
        assert found.info["mine"] == 1
        assert found.num_inliers == 50
        with pytest.raises(InputError, match="no PnP solver is called 'of-the-tset'") as caught:
            solve(case, solver="of-the-tset")
        assert "of-the-test" in str(caught.value.hint)


def test_a_solver_that_breaks_its_contract() -> None:
    case = synthetic_case(PLAIN, 50)
    none = np.zeros(50, dtype=bool)
    for result in (None, PnPResult(True, None, none, 0, PLAIN), PnPResult(True, np.eye(3), none, 0, PLAIN)):
        with pytest.raises(PluginError, match="PnP solver"):
            solve(case, solver=lambda *_, result=result: result)


def test_registered() -> None:
    case = synthetic_case(PLAIN, 50)
    assert {"poselib", "pycolmap", "cv2"} <= set(registry("pnp_solvers").names())
    for name in SOLVERS:
        assert solve(case, solver=name).info["solver"] == name
