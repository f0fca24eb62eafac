"""What the viewer shows and from where, without a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_model import InputError, NothingFoundError
from mast3r_sfm import PointCloud, Scene, Tracks
from mast3r_sfm.viewer.content import VIEW_SIZE, viewed_scene
from mast3r_sfm.viewer.framing import OVERVIEW_ANGLE, between, overview, through_camera
from mast3r_sfm.viewer.inputs import read_viewed
from mast3r_sfm.viewer.selection import PointFilter, select_points, select_sparse

from .viewed_scenes import PIXELS, SIZE, partial_scene, wall_image, wall_scene


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_scenes_of_every_unit_are_shown_alike(scale: float) -> None:
    (group,) = viewed_scene(wall_scene(scale=scale)).groups
    (usual,) = viewed_scene(wall_scene()).groups
    np.testing.assert_allclose(
        group.photos[2].points.positions, usual.photos[2].points.positions, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(group.photos[2].cam2world, usual.photos[2].cam2world, atol=1e-6)
    np.testing.assert_allclose(group.sparse.positions, usual.sparse.positions, atol=1e-4)
    assert group.gap == pytest.approx(usual.gap, rel=1e-4)


def test_a_group_fills_the_view_and_keeps_its_shape() -> None:
    (group,) = viewed_scene(wall_scene()).groups
    centres = np.array([photo.cam2world[:3, 3] for photo in group.photos])
    one = np.linalg.norm(centres[1] - centres[0])  # one metre
    assert VIEW_SIZE / 9 < one < VIEW_SIZE / 5
    wall = group.photos[0].points.positions
    np.testing.assert_allclose(wall[:, 2] - centres[0, 2], 4 * one, rtol=1e-5)
    assert group.gap == pytest.approx(4 * one / 40, rel=1e-5)
    np.testing.assert_allclose(group.up, [0, -1, 0])


def test_the_most_certain_points_come_first_and_the_rest_is_hidden() -> None:
    (group,) = viewed_scene(wall_scene()).groups
    everything = select_points(group, PointFilter(percentile=0))
    assert len(everything) == 3 * PIXELS
    half = select_points(group, PointFilter(percentile=50))
    assert len(half) == 3 * PIXELS // 2
    assert 1.9 < half.threshold < 2.1
    surer = select_points(group, PointFilter(percentile=None, min_confidence=2.5))
    assert len(surer) == 3 * SIZE[0] * int((np.linspace(3, 1, SIZE[1]).astype(np.float32) > 2.5).sum())
    # in each photo the left columns are the sure ones
    first = surer.positions[: len(surer) // 3]
    assert first[:, 0].max() < np.median(group.photos[0].points.positions[:, 0])


def test_points_of_one_photo() -> None:
    (group,) = viewed_scene(wall_scene()).groups
    one = select_points(group, PointFilter(percentile=0, photo=1))
    assert len(one) == PIXELS
    assert (one.colors == [0, 200, 0]).all()
    assert len(select_sparse(group, None)[0]) == 2
    assert len(select_sparse(group, 0)[0]) == 1
    assert len(select_sparse(group, 1)[0]) == 2


def test_of_too_many_points_each_photo_keeps_a_share_of_all_it_sees() -> None:
    (group,) = viewed_scene(wall_scene()).groups
    few = select_points(group, PointFilter(percentile=0, max_points=300))
    assert len(few) == 300
    assert few.passed == 3 * PIXELS
    assert [int((few.colors[:, channel] > 0).sum()) for channel in range(3)] == [100, 100, 100]
    wall = group.photos[0].points.positions
    np.testing.assert_array_equal(few.positions[0], wall[0])  # the surest
    for part in (0.1, 0.5, 0.9):
        assert np.quantile(few.positions[:100, 0], part) == pytest.approx(
            np.quantile(wall[:, 0], part), abs=0.1
        )


def test_groups_are_apart_and_photos_have_labels_of_their_own() -> None:
    viewed = viewed_scene(wall_scene(count=2, groups=2))
    assert [group.label for group in viewed.groups] == ["group 1: 2 photos", "group 2: 2 photos"]
    assert [photo.label for photo in viewed.groups[1].photos] == ["1: 0.jpg", "2: 1.jpg"]
    assert len(viewed.groups[0].sparse.positions) == 2
    strange = Scene((wall_image(0, name="a\nb.jpg"),) * 2, PointCloud.empty(), Tracks.empty())
    labels = [photo.label for photo in viewed_scene(strange).groups[0].photos]
    assert labels == ["1: a\\nb.jpg", "2: a\\nb.jpg"]


def test_before_depth_is_known_the_matched_points_are_shown() -> None:
    (group,) = viewed_scene(partial_scene()).groups
    assert group.count == 0
    assert len(select_sparse(group, None)[0]) == 50


@pytest.mark.parametrize("aspect", [2.0, 0.5])
def test_the_overview_has_all_cameras_and_nearly_all_points_in_sight(aspect: float) -> None:
    (group,) = viewed_scene(wall_scene()).groups
    pose = overview(group, aspect)
    cone = np.tan(OVERVIEW_ANGLE / 2) * np.array([aspect, 1])
    world2cam = np.linalg.inv(pose.cam2world)
    for places, share in (
        (np.array([photo.cam2world[:3, 3] for photo in group.photos]), 1.0),
        (np.concatenate([photo.points.positions for photo in group.photos]), 0.94),
    ):
        seen = places @ world2cam[:3, :3].T + world2cam[:3, 3]
        inside = (np.abs(seen[:, :2]) <= seen[:, 2:] * cone + 1e-6).all(axis=1)
        assert inside.mean() >= share
    assert pose.cam2world[:3, 1] @ group.up < -0.9  # upright
    assert np.linalg.det(pose.cam2world[:3, :3]) == pytest.approx(1)


LOOKING = {
    "all around": [[[c, 0, s], [0, 1, 0], [-s, 0, c]] for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))],
    "straight down, turned": [
        [[c, s, 0], [s, -c, 0], [0, 0, -1]] for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))
    ],
}


@pytest.mark.parametrize("axes", LOOKING.values(), ids=LOOKING)
def test_there_is_an_overview_of_photos_that_look_all_ways(axes: list[list[list[int]]]) -> None:
    images = []
    for number, rotation in enumerate(axes):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, np.array(rotation)[:, 0]
        images.append(replace(wall_image(number), cam2world=pose))
    (group,) = viewed_scene(Scene(tuple(images), PointCloud.empty(), Tracks.empty())).groups
    rotation = overview(group).cam2world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert rotation[:, 1] @ group.up < -0.9


def test_looking_through_a_camera_shows_all_of_its_photo() -> None:
    (group,) = viewed_scene(wall_scene()).groups
    photo = group.photos[1]
    wide = through_camera(photo, window_aspect=2.0)
    assert wide.angle == pytest.approx(2 * np.arctan(15 / 40))
    narrow = through_camera(photo, window_aspect=0.5)
    assert np.tan(narrow.angle / 2) * 0.5 == pytest.approx(20 / 40)
    np.testing.assert_array_equal(wide.position, photo.cam2world[:3, 3])
    np.testing.assert_allclose(wide.look_at[2], photo.points.positions[:, 2].mean(), rtol=1e-4)


def test_the_way_starts_and_ends_where_it_should() -> None:
    (group,) = viewed_scene(wall_scene()).groups
    start, end = overview(group), through_camera(group.photos[0], 1.5)
    for share, expected in ((0.0, start), (1.0, end)):
        on_the_way = between(start, end, share)
        np.testing.assert_allclose(on_the_way.cam2world, expected.cam2world, atol=1e-9)
        assert on_the_way.angle == pytest.approx(expected.angle)
    middle = between(start, end, 0.5).cam2world[:3, :3]
    np.testing.assert_allclose(middle @ middle.T, np.eye(3), atol=1e-9)


def test_a_scene_a_colmap_model_and_transforms_show_the_same_cameras(tmp_path: Path) -> None:
    scene = wall_scene()
    scene.save(tmp_path / "scene", formats=("colmap", "nerfstudio"))
    (tmp_path / "scene" / "images").mkdir()
    Image.new("RGB", SIZE[::-1], (250, 0, 0)).save(tmp_path / "scene" / "images" / "0.jpg")
    whole = read_viewed(tmp_path / "scene")
    (tmp_path / "scene" / "scene.safetensors").unlink()
    for name in ("", "sparse", "sparse/0", "transforms.json"):
        viewed = read_viewed(tmp_path / "scene" / name)
        (group,), (known,) = viewed.groups, whole.groups
        assert [photo.label for photo in group.photos] == [photo.label for photo in known.photos]
        for photo, same in zip(group.photos, known.photos, strict=True):
            np.testing.assert_allclose(photo.cam2world[:3, :3], same.cam2world[:3, :3], atol=1e-9)
            assert photo.vertical_angle == pytest.approx(same.vertical_angle)
            assert photo.aspect == pytest.approx(same.aspect)
        assert group.photos[0].picture is not None
        assert group.photos[0].picture[..., 0].mean() > 200
        assert group.photos[1].picture is None
        assert group.count == 0
        assert len(group.sparse.positions) == (2 if name != "transforms.json" else 0)


def test_models_of_several_groups_and_points_beside_transforms(tmp_path: Path) -> None:
    scene = wall_scene(groups=2)
    with_points = Scene(scene.images, PointCloud(np.eye(3), np.full((3, 3), 7), np.ones(3)), scene.tracks)
    with_points.save(tmp_path / "scene", formats=("colmap", "nerfstudio"))
    (tmp_path / "scene" / "scene.safetensors").unlink()
    assert [group.label for group in read_viewed(tmp_path / "scene").groups] == [
        "group 1: 3 photos",
        "group 2: 3 photos",
    ]
    (group,) = read_viewed(tmp_path / "scene" / "transforms.json").groups
    assert len(group.sparse.positions) == 3
    assert (group.sparse.colors == 7).all()


def test_what_is_no_scene_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.jpg").write_bytes(b"jpeg")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "scene.safetensors").write_bytes(b"no")
    (tmp_path / "garbled.json").write_text("{}")
    for name, complaint in {
        "nowhere": "no such file or folder",
        "empty": "holds no scene",
        "photo.jpg": "is no scene",
        "broken": "is broken",
        "garbled.json": "no transforms.json",
    }.items():
        with pytest.raises(InputError, match=complaint):
            read_viewed(tmp_path / name)
    Scene((), PointCloud.empty(), Tracks.empty()).save(tmp_path / "nobody", formats=())
    with pytest.raises(NothingFoundError, match="nothing to look at"):
        read_viewed(tmp_path / "nobody")
