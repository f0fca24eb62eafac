"""Photos that come to a finished scene, for a network that knows the truth about several places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_sfm import ReconstructionOptions, Scene, compare_cameras, extend_scene, read_cameras, reconstruct
from mast3r_train.synthetic import OracleNetwork, SceneViews, render_scene_views

SHAPE = (80, 112)
PLAIN = ReconstructionOptions(refine="none", matching_confidence=1.0)
"""The oracle's descriptors are periodic, so that it finds matches, of low confidence, between any two photos."""

KEPT = ["000.png", "001.png", "002.png", "005.png", "006.png", "007.png"]
ADDED = ["003.png", "004.png"]
ELSEWHERE = ["100.png", "101.png"]
ALONE = "200.png"
PAIRS = [
    *(("002.png", name) for name in ADDED),
    *(("005.png", name) for name in ADDED),
    ("003.png", "004.png"),
    ("100.png", "101.png"),
    ("100.png", "000.png"),
    ("200.png", "000.png"),
    ("000.png", "001.png"),
]


def joined(places: list[SceneViews]) -> SceneViews:
    """Views of several places, 100 metres from each other."""
    poses = [place.cam2world.copy() for place in places]
    for number, pose in enumerate(poses):
        pose[:, 0, 3] += 100 * number
    return SceneViews(
        images=np.concatenate([place.images for place in places]),
        depth=np.concatenate([place.depth for place in places]),
        intrinsics=np.concatenate([place.intrinsics for place in places]),
        cam2world=np.concatenate(poses),
        names=tuple(f"{100 * n + k:03d}.png" for n, place in enumerate(places) for k in range(len(place))),
    )


@pytest.fixture(scope="module")
def views() -> SceneViews:
    places = [(1, 8), (2, 2), (3, 2)]
    return joined(
        [render_scene_views(seed, count, path="orbit", shape=SHAPE, procedural=8) for seed, count in places]
    )


@pytest.fixture(scope="module")
def folder(views: SceneViews, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("places")
    views.save(folder)
    (folder / "images" / "201.png").unlink()
    return folder


@pytest.fixture(scope="module")
def finished(views: SceneViews, folder: Path) -> Scene:
    photos = [folder / "images" / name for name in KEPT]
    scene = reconstruct(photos, network(views), size=max(SHAPE), cache=folder / "cache", options=PLAIN)
    scene.save(folder / "scene", formats=[])
    return Scene.load(folder / "scene")


def network(views: SceneViews) -> Any:
    """Stands where a network stands."""
    return OracleNetwork(views)


def predictions(folder: Path) -> Iterator[Path]:
    return (folder / "cache" / "pairs").rglob("*.safetensors")


@pytest.fixture(scope="module")
def extended(views: SceneViews, folder: Path, finished: Scene) -> Scene:
    before = set(predictions(folder))
    scene = extend_scene(
        finished,
        folder / "images",
        network(views),
        pairs=PAIRS,
        cache=folder / "cache",
        options=PLAIN,
    )
    assert len(set(predictions(folder)) - before) == len(PAIRS) - 1  # the last is of two old photos
    return scene


def test_old_photos_stay_to_the_bit(finished: Scene, extended: Scene) -> None:
    assert [image.name for image in extended.images[:6]] == KEPT
    for before, after in zip(finished.images, extended.images, strict=False):
        for name in ("intrinsics", "cam2world", "depth", "confidence", "color"):
            assert np.array_equal(getattr(before, name), getattr(after, name)), name
    count = len(finished.points)
    assert np.array_equal(extended.points.positions[:count], finished.points.positions)
    assert len(extended.points) > count
    assert extended.image_folder == finished.image_folder


def test_new_photos_are_placed_in_the_old_world(finished: Scene, extended: Scene, folder: Path) -> None:
    assert extended.report["added"] == ADDED + ELSEWHERE
    assert extended.report["kept"] == 6
    assert extended.report["bridges"] == []
    truth = read_cameras(folder)
    errors = compare_cameras(extended.components()[0].cameras(), truth)
    assert errors.rotation_error_max < 0.5
    before = compare_cameras(finished.cameras(), truth)
    here = {camera.name: camera for camera in errors.cameras if Path(camera.name).name in ADDED}
    assert len(here) == 2
    assert max(camera.translation for camera in here.values()) < max(0.05, 2 * before.ate)
    assert max(camera.focal for camera in here.values()) < 0.02


def test_depth_of_new_photos_is_in_the_worlds_units(views: SceneViews, extended: Scene) -> None:
    for image in extended.images[6:]:
        true = views.depth[views.names.index(image.name)]
        assert np.median(image.depth[true > 0] / true[true > 0]) == pytest.approx(1, abs=0.03)


def test_tracks_get_longer(finished: Scene, extended: Scene) -> None:
    here = extended.components()[0].tracks
    assert len(here) > 1.2 * len(finished.tracks)
    seen = np.bincount(here.track)
    old_and_new = np.unique(here.track[here.image >= 6])
    assert seen[old_and_new].max() >= 4
    only_old = np.bincount(here.track[here.image < 6], minlength=len(here))
    assert len(finished.tracks) * 0.95 < (only_old >= 2).sum()
    assert here.reprojection_error.mean() < 1.0


def test_photos_of_another_place_are_a_group_of_their_own(extended: Scene) -> None:
    assert extended.report["components"] == [KEPT + ADDED, ELSEWHERE]
    assert [image.component for image in extended.images] == [0] * 8 + [1] * 2


def test_a_photo_that_matches_nothing_is_dropped(extended: Scene) -> None:
    (dropped,) = extended.dropped
    assert dropped.name == ALONE
    assert dropped.reason


def test_again_it_adds_nothing(views: SceneViews, folder: Path, extended: Scene) -> None:
    again = extend_scene(
        extended, folder / "images", network(views), pairs=PAIRS, cache=folder / "cache", options=PLAIN
    )
    assert again.report["added"] == []
    assert [image.name for image in again.images] == [image.name for image in extended.images]
    assert again.tracks is extended.tracks
    assert [drop.name for drop in again.dropped] == [ALONE]
    assert len(again.report["pairs"]) == len(extended.report["pairs"])


def test_refinement_moves_new_photos_only(views: SceneViews, folder: Path, finished: Scene) -> None:
    options = ReconstructionOptions(refine="ba", matching_confidence=1.0)
    photos = [folder / "images" / name for name in ADDED]
    scene = extend_scene(
        finished, photos, network(views), pairs=PAIRS[:5], cache=folder / "cache", options=options
    )
    assert scene.report["refinement"]["accepted"]
    for before, after in zip(finished.images, scene.images, strict=False):
        for name in ("intrinsics", "cam2world", "depth", "confidence"):
            assert np.array_equal(getattr(before, name), getattr(after, name)), name
    errors = compare_cameras(scene.cameras(), read_cameras(folder))
    assert errors.rotation_error_max < 0.5
