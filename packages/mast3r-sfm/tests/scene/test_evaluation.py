"""Cameras against known cameras."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mast3r_model import NothingFoundError
from mast3r_sfm.cameras import PosedCameras
from mast3r_sfm.evaluation import Similarity, align_cameras, compare_cameras, umeyama
from mast3r_sfm.evaluation.cli import evaluate_scenes
from mast3r_sfm.exports.colmap_model import write_colmap
from mast3r_sfm.scene import Scene


def random_cameras(count: int, seed: int) -> PosedCameras:
    random = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, rng=random).as_matrix()
    poses[:, :3, 3] = random.standard_normal((count, 3))
    K = np.tile(np.diag([100.0, 110.0, 1.0]), (count, 1, 1))
    return PosedCameras(tuple(f"a/{i}.jpg" for i in range(count)), ((48, 64),) * count, K, poses)


def moved(cameras: PosedCameras, similarity: Similarity) -> PosedCameras:
    return PosedCameras(
        cameras.names, cameras.shapes, cameras.intrinsics, similarity.apply_to_cameras(cameras.cam2world)
    )


def random_similarity(seed: int) -> Similarity:
    random = np.random.default_rng(seed)
    rotation = Rotation.random(rng=random).as_matrix()
    return Similarity(float(np.exp(random.normal())), rotation, random.standard_normal(3))


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 9), seed=st.integers(0, 10_000))
def test_nothing_is_wrong_after_a_similarity(count: int, seed: int) -> None:
    truth = random_cameras(count, seed)
    world = random_similarity(seed + 1)
    result = compare_cameras(moved(truth, world), truth)
    assert result.registered == 1
    assert result.rotation_error_max < 1e-6
    assert result.ate < 1e-6
    assert result.maa30 == 1
    if count > 1:
        assert result.scale == pytest.approx(1 / world.scale)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_umeyama_inverts_any_similarity(seed: int) -> None:
    points = np.random.default_rng(seed).standard_normal((6, 3))
    world = random_similarity(seed)
    found = umeyama(points, world.apply(points))
    assert found.scale == pytest.approx(world.scale)
    np.testing.assert_allclose(found.rotation, world.rotation, atol=1e-9)
    np.testing.assert_allclose(found.translation, world.translation, atol=1e-9)


def test_mirrored_points_are_not_mirrored_back() -> None:
    points = np.random.default_rng(0).standard_normal((6, 3))
    assert np.linalg.det(umeyama(points, points * [1, 1, -1]).rotation) == pytest.approx(1)


def test_cameras_on_a_line_are_aligned_by_their_rotations() -> None:
    truth = random_cameras(4, 0).cam2world
    truth[:, :3, 3] = np.arange(4)[:, None] * [1.0, 2.0, 3.0]
    world = random_similarity(1)
    found = align_cameras(world.apply_to_cameras(truth), truth)
    np.testing.assert_allclose(found.rotation, world.rotation.T, atol=1e-9)


def test_known_errors_are_measured() -> None:
    truth = random_cameras(5, 3)
    poses = truth.cam2world.copy()
    poses[0, :3, :3] = poses[0, :3, :3] @ Rotation.from_euler("x", 20, degrees=True).as_matrix()
    found = PosedCameras(truth.names, truth.shapes, truth.intrinsics * np.diag([1.1, 1.1, 1]), poses)
    result = compare_cameras(found, truth)
    assert result.rra == {5: pytest.approx(6 / 10), 15: pytest.approx(6 / 10), 30: 1.0}
    assert result.focal_error_mean == pytest.approx(0.1)
    # directions of translation are seen from the first image of a pair, which is turned in 4 of 10
    assert result.rta[5] < 1
    assert result.maa30 == pytest.approx((20 * 0.6 + 10 * 1) / 30, abs=0.07)


def test_missing_images_count_as_wrong() -> None:
    truth = random_cameras(4, 5)
    result = compare_cameras(truth.subset([0, 2, 3]), truth)
    assert result.registered == 0.75
    assert result.rra[30] == result.rta[30] == result.maa30 == pytest.approx(0.5)
    assert [camera.name for camera in result.cameras] == ["a/0.jpg", "a/2.jpg", "a/3.jpg"]


def test_names_are_matched_without_folders_if_that_is_unique() -> None:
    truth = random_cameras(3, 6)
    found = PosedCameras(("x/0.png", "1.jpg", "b/2.jpg"), truth.shapes, truth.intrinsics, truth.cam2world)
    assert compare_cameras(found, truth).registered == 1
    other = PosedCameras(("p.jpg",), truth.shapes[:1], truth.intrinsics[:1], truth.cam2world[:1])
    with pytest.raises(NothingFoundError, match="none of the 3"):
        compare_cameras(other, truth)


def test_the_command(scene: Scene, tmp_path: Path) -> None:
    scene.save(tmp_path / "scene", formats=())
    write_colmap(scene, tmp_path / "truth")
    arguments = [str(tmp_path / "scene"), str(tmp_path / "truth"), "--per-image"]
    done = CliRunner().invoke(evaluate_scenes, [*arguments, "-o", str(tmp_path / "errors.json")])
    assert done.exit_code == 0, done.output
    assert "mAA(30)" in done.output
    assert "photo_0.jpg" in done.output
    document = json.loads((tmp_path / "errors.json").read_text())
    assert document["evaluation"]["maa30"] == 1.0
    assert document["evaluation"]["images"] == 3
