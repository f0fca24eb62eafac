"""What filters do to a scene, and that saving keeps the whole of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from mast3r_model import InputError, OutputError
from mast3r_sfm.appearance import ViewFilters
from mast3r_sfm.scene import PointCloud, Scene, Tracks
from mast3r_sfm.view_filters import filtered, overlapping_pairs, percentile_confidence, shown_confidence

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
