"""What filters do to a scene, and that saving keeps the whole of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from mast3r_model import InputError, OutputError
from mast3r_sfm.appearance import ViewFilters
from mast3r_sfm.points import automatic_confidence, confident_points
from mast3r_sfm.scene import PointCloud, Scene, Tracks
from mast3r_sfm.thinning import thinned
from mast3r_sfm.view_filters import filtered, overlapping_pairs, percentile_confidence, shown_confidence
from mast3r_sfm.viewing_frame import viewing_frame

PIXELS = 48 * 64


def with_confidence(scene: Scene, confidence: Any) -> Scene:
    return replace(scene, images=tuple(replace(image, confidence=confidence) for image in scene.images))


def rising() -> np.ndarray:
    """1, 1.001, 1.002, ... in raster order."""
    return 1 + np.arange(PIXELS).reshape(48, 64) / 1000


@pytest.mark.parametrize("percentile", [0, 25, 99.9])
def test_a_percentile_hides_that_share(scene: Scene, percentile: float) -> None:
    seen = filtered(with_confidence(scene, rising()), ViewFilters(percentile=percentile))
    assert len(seen.points) == pytest.approx(5 * PIXELS * (1 - percentile / 100), abs=5)
    assert seen.points.confidence.min() > seen.appearance.min_confidence


def test_pixels_that_are_equally_sure_stay_together(scene: Scene) -> None:
    assert len(filtered(scene, ViewFilters(percentile=50)).points) == 5 * PIXELS  # all have confidence 3
    half = np.where(rising() < 2, 1.0, 3.0)
    seen = filtered(with_confidence(scene, half), ViewFilters(percentile=90))
    assert len(seen.points) == 5 * (half == 3).sum()


@pytest.mark.parametrize(("least", "shown"), [(0.0, 0.5), (0.3, 0.5), (0.6, 0.4), (0.9, 1.0)])
def test_pixels_at_a_network_s_least_confidence_are_not_all_hidden(
    scene: Scene, least: float, shown: float
) -> None:
    """Half of what nano sees may be of its least confidence."""
    confidence = np.maximum(np.linspace(0.01, 1.2, PIXELS).reshape(48, 64), np.quantile([0.01, 1.2], least))
    images = with_confidence(scene, confidence).images
    cloud = confident_points(images, automatic_confidence(images))
    assert len(cloud) / (5 * PIXELS) == pytest.approx(shown, abs=0.01)


def test_pixels_without_depth_do_not_count(scene: Scene) -> None:
    confidence = np.where(np.arange(64) < 32, 0.0, rising())
    images = with_confidence(scene, confidence).images
    assert np.mean(confidence[:, 32:] > percentile_confidence(images, 50)) == pytest.approx(0.5, abs=1e-3)
    assert percentile_confidence((), 50) == 0


def test_both_limits_hold(scene: Scene) -> None:
    made = with_confidence(scene, rising())
    counts = [
        len(filtered(made, ViewFilters(**limits)).points)
        for limits in (
            {"min_confidence": 2.0},
            {"percentile": 75},
            {"min_confidence": 2.0, "percentile": 75},
            {"min_confidence": 3.9, "percentile": 75},
            {"min_confidence": -1.0},
        )
    ]
    assert counts[2] == counts[1] < counts[0] < counts[4] == 5 * PIXELS
    assert counts[3] < counts[1]


def test_without_limits_the_scene_s_own_holds(scene: Scene) -> None:
    made = with_confidence(scene, rising())
    assert shown_confidence(filtered(made, ViewFilters())) == 1.5  # upstream's
    reported = replace(made, report={"min_confidence": 2.5})
    seen = filtered(reported, ViewFilters(as_mesh=True))
    assert seen.appearance.min_confidence == 2.5
    assert seen.points.confidence.min() > 2.5
    assert len(filtered(seen, ViewFilters()).points) == len(seen.points)


def test_sky_is_hidden(scene: Scene) -> None:
    color = np.full((48, 64, 3), (90, 60, 40), np.uint8)
    color[:20] = (60, 140, 250)
    made = replace(scene, images=tuple(replace(image, color=color) for image in scene.images))
    seen = filtered(made, ViewFilters(mask_sky=True))
    for image in seen.images:
        assert (image.confidence[:20] == 0).all()
        assert (image.confidence[20:] == 3).all()
    assert len(seen.points) == 5 * 28 * 64
    assert len(filtered(made, ViewFilters()).points) == 5 * PIXELS


def noisy(scene: Scene, size: float) -> Scene:
    random = np.random.default_rng(0)
    return replace(
        scene,
        images=tuple(
            replace(image, depth=image.depth + size * random.standard_normal(image.depth.shape))
            for image in scene.images
        ),
    )


def test_consistent_depths_are_nearer_to_the_truth_and_cameras_stay(scene: Scene) -> None:
    made = noisy(scene, 0.1)
    seen = filtered(made, ViewFilters(tsdf=0.3))
    for group in (slice(0, 3), slice(3, 5)):
        errors = [
            np.mean([np.abs(a.depth - b.depth).mean() for a, b in zip(found, true, strict=True)])
            for found, true in (
                (made.images[group], scene.images[group]),
                (seen.images[group], scene.images[group]),
            )
        ]
        assert errors[1] < 0.9 * errors[0]
    for before, after in zip(made.images, seen.images, strict=True):
        np.testing.assert_array_equal(before.cam2world, after.cam2world)
        np.testing.assert_array_equal(before.confidence, after.confidence)
        assert np.abs(before.depth - after.depth).max() <= 0.3 + 1e-5


def test_groups_do_not_pull_on_each_other(scene: Scene) -> None:
    whole = filtered(noisy(scene, 0.1), ViewFilters(tsdf=0.3))
    alone = filtered(noisy(scene, 0.1).components()[1], ViewFilters(tsdf=0.3))
    for one, other in zip(whole.images[3:], alone.images, strict=True):
        np.testing.assert_array_equal(one.depth, other.depth)


def test_contradicted_points_are_hidden(scene: Scene) -> None:
    near, sure = scene.images[0], scene.images[1]
    depth, confidence = near.depth.copy(), near.confidence.copy()
    depth[20:28, 28:36] *= 0.5  # floats in front of what the others see
    confidence[20:28, 28:36] = 2.0
    made = replace(scene, images=(replace(near, depth=depth, confidence=confidence), sure, *scene.images[2:]))
    seen = filtered(made, ViewFilters(clean_depth=True))
    assert (seen.images[0].confidence[20:28, 28:36] == 0).all()
    untouched = filtered(made, ViewFilters())
    np.testing.assert_array_equal(untouched.images[0].confidence, confidence)


def test_overlap_comes_from_tracks_where_there_are_any(scene: Scene) -> None:
    everything = [(0, 1), (0, 2), (1, 2), (3, 4)]
    assert overlapping_pairs(scene.images, scene.tracks) == everything
    assert overlapping_pairs(scene.images, Tracks.empty()) == everything
    tracks = scene.tracks
    kept = ~np.isin(tracks.image, [1, 3, 4])
    fewer = Tracks(
        tracks.positions,
        tracks.colors,
        tracks.track[kept],
        tracks.image[kept],
        tracks.xy[kept],
        tracks.reprojection_error[kept],
    )
    assert overlapping_pairs(scene.images, fewer) == [(0, 2), (3, 4)]


def test_only_one_photo_s_points_are_those_that_it_has_among_all(scene: Scene) -> None:
    made = replace(
        scene,
        images=tuple(replace(image, confidence=rising() + n) for n, image in enumerate(scene.images)),
    )
    name = made.images[3].name
    whole = filtered(made, ViewFilters(percentile=50))
    alone = filtered(made, ViewFilters(percentile=50, only_photos=(name,)))
    assert shown_confidence(alone) == shown_confidence(whole)
    shown = [int((image.confidence > shown_confidence(whole)).sum()) for image in whole.images]
    assert len(alone.points) == shown[3] > 0
    with pytest.raises(InputError, match="nobody"):
        filtered(made, ViewFilters(only_photos=(name, "nobody.jpg")))


def test_plain_backgrounds_are_hidden(scene: Scene) -> None:
    color = np.full((48, 64, 3), 120, np.uint8)
    color[:10], color[10:30] = 3, 250
    made = replace(scene, images=tuple(replace(image, color=color) for image in scene.images))
    shown = {
        (black, white): len(filtered(made, ViewFilters(drop_black=black, drop_white=white)).points)
        for black in (False, True)
        for white in (False, True)
    }
    rows = 5 * 64
    assert shown == {
        (False, False): 48 * rows,
        (True, False): 38 * rows,
        (False, True): 28 * rows,
        (True, True): 18 * rows,
    }


def test_a_limit_takes_the_most_certain_of_every_part(scene: Scene) -> None:
    made = with_confidence(scene, rising())
    most = 5 * PIXELS // 4
    seen = filtered(made, ViewFilters(max_points=most))
    assert len(seen.points) == most == len(confident_points(seen.images, 0, most))
    kept = thinned([np.ones((48, 64), bool)] * 5, [rising()] * 5, most)
    for mask in kept:
        # each 2 x 2 pixels keep their last, which is the surest
        np.testing.assert_array_equal(np.argwhere(mask) % 2, 1)
    np.testing.assert_array_equal(seen.images[0].confidence, made.images[0].confidence)  # for depth exports
    assert seen.appearance.max_points == most


@pytest.mark.parametrize("count", [1, 7, 100, 1999])
def test_photos_keep_the_same_share(count: int) -> None:
    random = np.random.default_rng(count)
    masks = [random.random((30, 41)) < share for share in (0.9, 0.3, 0.0, 0.6)]
    confidences = [random.random(mask.shape) for mask in masks]
    kept = thinned(masks, confidences, count)
    sizes = np.array([mask.sum() for mask in masks])
    found = np.array([mask.sum() for mask in kept])
    assert found.sum() == min(count, sizes.sum())
    np.testing.assert_allclose(found, sizes * min(1, count / sizes.sum()), atol=1)
    assert all((mask[chosen]).all() for mask, chosen in zip(masks, kept, strict=True))
    with pytest.raises(InputError):
        thinned(masks, confidences, 0)


def test_a_viewing_frame_is_upright_and_about_the_middle(scene: Scene) -> None:
    seen = filtered(scene, ViewFilters(min_confidence=1))
    frame = viewing_frame(seen)
    np.testing.assert_allclose(frame[:3, :3] @ frame[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(frame[:3, :3]) == pytest.approx(1)
    group = seen.components()[0]
    points = group.points.positions @ frame[:3, :3].T + frame[:3, 3]
    low, high = np.quantile(points, [0.05, 0.95], axis=0)
    np.testing.assert_allclose(low, -high, atol=1e-6)
    for image in group.images:
        axes = frame[:3, :3] @ image.cam2world[:3, :3]
        assert axes[1, 1] < -0.9  # the photo's down is down
        assert axes[2, 2] < -0.9  # it looks along -z


def test_a_viewing_frame_is_found_where_photos_look_all_ways(scene: Scene) -> None:
    around = []
    for number in range(4):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("y", 90 * number, degrees=True).as_matrix()
        around.append(replace(scene.images[0], cam2world=pose, component=0))
    made = Scene(tuple(around), PointCloud.empty(), Tracks.empty())
    frame = viewing_frame(made)
    np.testing.assert_allclose(frame, np.diag([1.0, -1, -1, 1]), atol=1e-9)
    down = np.eye(4)
    down[:3, :3] = Rotation.from_euler("x", 90, degrees=True).as_matrix()  # looks along the others' down
    straight = replace(made, images=(*around[:1], replace(around[0], cam2world=down)))
    assert np.isfinite(viewing_frame(straight)).all()


def test_an_empty_scene_can_be_filtered() -> None:
    empty = Scene((), PointCloud.empty(), Tracks.empty())
    seen = filtered(empty, ViewFilters(percentile=10, mask_sky=True, tsdf=0.1, clean_depth=True))
    assert len(seen.points) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"percentile": 100},
        {"percentile": -1},
        {"tsdf": -0.1},
        {"tsdf": float("inf")},
        {"camera_size": -1},
        {"max_points": 0},
        {"min_confidence": float("nan")},
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        ViewFilters(**wrong)


def test_saving_a_view_keeps_the_whole_scene(scene: Scene, tmp_path: Path) -> None:
    made = with_confidence(scene, rising())
    seen = filtered(made, ViewFilters(percentile=60))
    made.save(tmp_path, formats=["ply"], shown=seen)
    assert len(trimesh.load(tmp_path / "points.ply").vertices) == len(seen.components()[0].points)
    np.testing.assert_array_equal(Scene.load(tmp_path).images[2].confidence, made.images[2].confidence)


def test_exports_beside_a_scene_go_with_it(scene: Scene, tmp_path: Path) -> None:
    scene.save(tmp_path, formats=["ply"])
    state = (tmp_path / "scene.safetensors").read_bytes()
    Scene.load(tmp_path).export(tmp_path, ["ply"])
    assert (tmp_path / "scene.safetensors").read_bytes() == state
    (written,) = [path for path in Scene.load(tmp_path).export(tmp_path, ["cameras"]) if "_" not in path.name]
    assert written == tmp_path / "cameras.json"
    again = Scene.load(tmp_path)
    np.testing.assert_array_equal(again.images[0].depth, scene.images[0].depth)
    again.save(tmp_path, formats=())
    assert written.is_file()  # the same scene
    replace(again, images=again.images[:1], tracks=Tracks.empty()).save(tmp_path, formats=())
    assert not written.exists()


def test_exports_elsewhere_are_alone(scene: Scene, tmp_path: Path) -> None:
    scene.export(tmp_path / "new", ["cameras"])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["cameras.json", "cameras_1.json"]
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError):
        scene.export(tmp_path / "file", ["cameras"])
