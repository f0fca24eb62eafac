"""Poses by the network's own geometry (spec 50 D5, --align)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mast3r_model import InputError, load_model
from mast3r_visloc import Localizer, Pose
from mast3r_visloc.cameras import QueryCamera
from mast3r_visloc.localizing.pointmaps import QueryGeometry
from mast3r_visloc.localizing.search import search
from mast3r_visloc.localizing.similarity import Similarity, agreeing, find_similarity, fit_similarity

from .patch_network import PatchNetwork
from .wave_world import Shot, make_map, pose_gap, shot

SIZE = 96
MAP = [shot("a.png", -0.7, yaw=4), shot("b.png", 0.1, 0.3), shot("c.png", 0.8, -0.2, yaw=-5)]
QUERY = shot("query.png", 0.3, 0.1, yaw=2, z=0.4)

Aligned = Callable[..., Pose]


@pytest.fixture(scope="module")
def nano() -> Any:
    """The network that ships with the project."""
    return load_model("nano", device="cpu", dtype="fp32")


@pytest.fixture
def aligned(tmp_path: Path) -> Aligned:
    """Localises a query with a network whose points are true and whose descriptors do not help."""

    def localize(
        query: Shot = QUERY,
        *,
        shots: list[Shot] = MAP,
        network: Any = None,
        kind: str = "sparse",
        camera: Any = "known",
        map_changes: dict[str, Any] | None = None,
        **options: Any,
    ) -> Pose:
        network = network or PatchNetwork()
        known_map = make_map(tmp_path, shots, kind, **(map_changes or {}))
        query.save(tmp_path)
        for each in (*shots, query) if isinstance(network, PatchNetwork) else ():
            network.teach(tmp_path, each, SIZE)
        options = {"align": True, "min_confidence": 1e9, "retrieval": "all", "size": SIZE, **options}
        with Localizer(known_map, network, **options) as localizer:  # type: ignore[arg-type]
            return localizer.localize(
                tmp_path / query.name, camera=query.camera if camera == "known" else camera
            )

    return localize


def random_similarity(seed: int) -> Similarity:
    random = np.random.default_rng(seed)
    return Similarity(
        float(np.exp(random.normal())), Rotation.random(rng=random).as_matrix(), random.normal(size=3)
    )


@pytest.mark.parametrize("seed", range(5))
def test_umeyama_is_exact_and_weighs(seed: int) -> None:
    truth, random = random_similarity(seed), np.random.default_rng(seed)
    source = random.normal(size=(20, 3))
    target = truth.apply(source)
    weights = random.uniform(0.1, 1, 20)
    target[:5] += random.normal(size=(5, 3))
    weights[:5] = 0
    scale, rotation, translation = fit_similarity(source, target, weights)
    assert scale == pytest.approx(truth.scale)
    np.testing.assert_allclose(rotation, truth.rotation, atol=1e-9)
    np.testing.assert_allclose(translation, truth.translation, atol=1e-9)


def test_umeyama_never_mirrors() -> None:
    source = np.random.default_rng(0).normal(size=(20, 3))
    rotation = fit_similarity(source, source * [1, 1, -1], np.ones(20))[1]
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_similarity_is_found_among_outliers() -> None:
    truth, random = random_similarity(3), np.random.default_rng(3)
    source = random.uniform([-2, -2, 2], [2, 2, 6], (600, 3))
    target = truth.apply(source * (1 + 0.01 * random.normal(size=(600, 1))))
    target[:270] = truth.apply(random.uniform([-2, -2, 2], [2, 2, 6], (270, 3)))
    found = find_similarity(source, target, np.ones(600), np.arange(600) % 3, seed=0)
    assert found is not None
    assert found.scale == pytest.approx(truth.scale, rel=0.01)
    assert np.linalg.norm(found.translation - truth.translation) < 0.03 * truth.scale
    assert agreeing(found, source, target)[270:].mean() > 0.95
    again = find_similarity(source, target, np.ones(600), np.arange(600) % 3, seed=0)
    assert again is not None
    assert np.array_equal(again.translation, found.translation)


@pytest.mark.parametrize("depth", [3.0, 300.0])
def test_points_that_have_nothing_to_do_with_each_other_are_not_aligned(depth: float) -> None:
    """Also not far clouds, each of which looks like any other at a distance."""
    random = np.random.default_rng(1)
    source, target = random.normal((0, 0, depth), size=(2, 500, 3))
    assert find_similarity(source, target, np.ones(500), np.zeros(500, int), seed=0) is None


def test_too_few_points_are_not_aligned() -> None:
    points = np.random.default_rng(1).normal(size=(4, 3))
    assert find_similarity(points, points, np.ones(4), np.array([0, 0, 1, 1]), seed=0) is None


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_true_points_give_the_true_pose(aligned: Aligned, kind: str) -> None:
    pose = aligned(kind=kind)
    assert pose.success
    assert pose.method == "pointmap"
    metres, degrees = pose_gap(pose.cam2world, QUERY.pose)
    assert metres < 0.005
    assert degrees < 0.05
    assert pose.num_inliers == pose.correspondences.inlier.sum() > 300
    assert set(pose.candidates) == {"a.png", "b.png", "c.png"}
    inliers = pose.correspondences.inlier
    gap = QUERY.project(pose.correspondences.xyz[inliers]) - pose.correspondences.query_xy[inliers]
    assert np.abs(gap).max() < 0.6  # half a pixel beyond the outer pixels' centres nothing is predicted


@pytest.mark.parametrize("kind", ["sparse", "none"])
def test_noise_and_outliers(aligned: Aligned, kind: str) -> None:
    pose = aligned(network=PatchNetwork(noise=0.01, outliers=0.4), kind=kind)
    assert pose.method == "pointmap"
    metres, degrees = pose_gap(pose.cam2world, QUERY.pose)
    assert metres < 0.06
    assert degrees < 1
    assert 0.4 < pose.inlier_ratio < 0.8


def test_map_cameras_alone_give_the_pose(aligned: Aligned) -> None:
    pose = aligned(kind="none")
    assert pose.method == "pointmap"
    metres, degrees = pose_gap(pose.cam2world, QUERY.pose)
    assert metres < 0.005
    assert degrees < 0.05
    assert pose.inlier_ratio > 0.95
    inliers = pose.correspondences.inlier
    gap = QUERY.project(pose.correspondences.xyz[inliers]) - pose.correspondences.query_xy[inliers]
    assert np.abs(gap).max() < 0.6  # half a pixel beyond the outer pixels' centres nothing is predicted


def test_cameras_that_the_map_does_not_know_are_found(aligned: Aligned) -> None:
    pose = aligned(kind="none", map_changes={"camera": None})
    metres, degrees = pose_gap(pose.cam2world, QUERY.pose)
    assert metres < 0.02
    assert degrees < 0.3


def test_a_map_camera_at_a_wrong_place_is_outvoted(aligned: Aligned, tmp_path: Path) -> None:
    wrong = MAP[1].pose.copy()
    wrong[:3, 3] += [0, 2, 3]
    shots = [*MAP, shot("d.png", -0.3, 0.4)]
    network = PatchNetwork()
    known_map = make_map(tmp_path, shots, "none")
    object.__setattr__(known_map.images[1], "cam2world", wrong)
    QUERY.save(tmp_path)
    for each in (*shots, QUERY):
        network.teach(tmp_path, each, SIZE)
    with Localizer(known_map, network, align=True, retrieval="all", size=SIZE) as localizer:  # type: ignore[arg-type]
        pose = localizer.localize(tmp_path / "query.png", camera=QUERY.camera)
    metres, degrees = pose_gap(pose.cam2world, QUERY.pose)
    assert metres < 0.005
    assert degrees < 0.05
    wrong_ones = pose.correspondences.map_image == pose.candidates.index("b.png")
    assert not pose.correspondences.inlier[wrong_ones].any()


@pytest.mark.parametrize("kind", ["sparse", "none"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_turned_photos(aligned: Aligned, kind: str, orientation: int) -> None:
    """The network sees them upright; poses and pixels are the files'."""
    query = QUERY.turned("turned.png", orientation)
    pose = aligned(query, shots=[MAP[0].turned("a.png", 6), *MAP[1:]], kind=kind)
    metres, degrees = pose_gap(pose.cam2world, query.pose)
    assert metres < 0.005
    assert degrees < 0.05
    inliers = pose.correspondences.inlier
    gap = query.project(pose.correspondences.xyz[inliers]) - pose.correspondences.query_xy[inliers]
    assert np.abs(gap).max() < 0.6  # half a pixel beyond the outer pixels' centres nothing is predicted


def test_an_unknown_focal_length_is_the_networks(aligned: Aligned) -> None:
    pose = aligned(camera=None)
    assert pose.camera.focal_lengths[0] == pytest.approx(QUERY.camera.focal_lengths[0], rel=0.01)
    assert pose_gap(pose.cam2world, QUERY.pose)[0] < 0.005


@pytest.mark.parametrize(("factor", "believed"), [(1.0, True), (20.0, False)])
def test_the_search_for_an_unknown_focal_length_starts_at_the_networks(
    aligned: Aligned, monkeypatch: pytest.MonkeyPatch, factor: float, believed: bool
) -> None:
    """Spec 50 D4.4: what the query's points imply, else 1.2 of the longest side."""
    starts: list[float] = []

    def spy(names: Any, match: Any, camera: QueryCamera, options: Any) -> Any:
        starts.append(camera.camera.focal_lengths[0])
        return search(names, match, camera, options)

    monkeypatch.setattr("mast3r_visloc.localizing.localizer.search", spy)
    implied = QueryGeometry.focal
    monkeypatch.setattr(QueryGeometry, "focal", lambda self, shape: factor * implied(self, shape))
    network = PatchNetwork()
    pose = aligned(camera=None, network=network, min_confidence=1.001, align=False)
    true = QUERY.camera.focal_lengths[0]
    assert starts[0] == pytest.approx(true if believed else 1.2 * max(QUERY.shape), rel=0.01)
    assert network.pairs == len(MAP) + 1
    assert pose.camera.focal_lengths[0] == pytest.approx(true, rel=0.05)
    assert "focal length" in pose.timings


def test_it_is_not_asked_where_matches_suffice(aligned: Aligned) -> None:
    network = PatchNetwork()
    pose = aligned(network=network, min_confidence=1.001)
    assert pose.method == "pnp"
    assert network.pairs == len(MAP)


@pytest.mark.parametrize("kind", ["sparse", "none"])
def test_points_that_mean_nothing_stay_a_failure(aligned: Aligned, kind: str) -> None:
    pose = aligned(network=PatchNetwork(outliers=1.0), kind=kind)
    assert not pose.success
    assert pose.method is None
    assert pose.reason == ("few_matches" if kind == "sparse" else "few_inliers")
    assert pose.candidates == tuple(each.name for each in MAP)


def test_one_place_tells_no_scale(aligned: Aligned) -> None:
    """Map photos that were all taken from one place, and a map of one photo."""
    shots = [shot("a.png", 0.2, yaw=3), shot("b.png", 0.2, yaw=-4)]
    assert not aligned(shots=shots, kind="none").success
    with pytest.raises(InputError, match="1 images of the map have a pose and none has 3D points"):
        aligned(shots=MAP[:1], kind="none")


def test_maps_without_points_need_align(aligned: Aligned) -> None:
    with pytest.raises(InputError, match="no image of the map has 3D points") as caught:
        aligned(kind="none", align=False)
    assert "--align" in str(caught.value.hint)


@pytest.mark.parametrize("kind", ["dense", "none"])
def test_nanos_points_give_no_wrong_pose(aligned: Aligned, kind: str, nano: Any) -> None:
    """They are a quarter wrong in depth, too much to be aligned: that must not pass for a pose."""
    shots = [shot(f"{x}.png", x, yaw=-9 * x, shape=(160, 224)) for x in (-0.7, 0.1, 0.8)]
    pose = aligned(
        shot("query.png", -0.4, 0.1, yaw=-10, shape=(160, 224)),
        shots=shots,
        network=nano,
        kind=kind,
        size=224,
    )
    assert not pose.success
    assert pose.reason is not None


def test_nanos_matches_do(aligned: Aligned, nano: Any) -> None:
    shots = [shot(f"{x}.png", x, yaw=-9 * x, shape=(160, 224)) for x in (-0.7, 0.1, 0.8)]
    query = shot("query.png", 0.3, 0.1, yaw=2, z=0.4, shape=(160, 224))
    pose = aligned(query, shots=shots, network=nano, size=224, min_confidence=1.001)
    assert pose.method == "pnp"
    metres, degrees = pose_gap(pose.cam2world, query.pose)
    assert metres < 0.03
    assert degrees < 0.5
