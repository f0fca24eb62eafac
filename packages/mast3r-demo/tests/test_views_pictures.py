"""Depth, confidence, normals, matches as pictures, and distances measured in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mast3r_demo.views import (
    confidence_picture,
    depth_picture,
    measure,
    normals_picture,
    pair_choices,
    pair_picture,
    picture_scale,
    similarity_picture,
    with_marks,
)
from mast3r_demo.views.legend import BACKGROUND, STRIP, UNKNOWN, ColourScale
from mast3r_demo.views.map_pictures import normals_of
from mast3r_model import InputError
from mast3r_sfm import Scene

from .small_scene import WALL, small_result, small_scene


def tilted() -> Scene:
    """The first photo's wall gets farther away to the right."""
    scene = small_scene()
    depth = np.broadcast_to(np.linspace(2, 6, 64), (48, 64)).copy()
    depth[:6] = 0
    return replace(scene, images=(replace(scene.images[0], depth=depth), *scene.images[1:]))


@pytest.mark.parametrize("k", [0, 1])
def test_pictures_are_the_photo_s_pixels_and_a_strip(k: int) -> None:
    scene = small_scene()
    times = picture_scale(scene, k)
    assert times == 7
    height, width = scene.images[k].depth.shape
    for picture in (depth_picture(scene, k), confidence_picture(scene, k), normals_picture(scene, k)):
        assert picture.dtype == np.uint8
        assert picture.shape == (height * times, width * times + STRIP, 3)
        assert tuple(picture[-1, -1]) == BACKGROUND
        strip = picture[:, -STRIP:].reshape(-1, 3)
        assert (strip.min(axis=1) > 180).sum() > 50  # light text


def test_depth_goes_from_red_to_blue_and_grey_is_unknown() -> None:
    picture = depth_picture(tilted(), 0, metric=True)
    assert tuple(picture[10, 10]) == UNKNOWN
    near, far = picture[200, 20].astype(int), picture[200, 7 * 62].astype(int)
    assert near[0] > near[2]
    assert far[2] > far[0]
    assert not np.array_equal(depth_picture(tilted(), 0, metric=False), picture)  # the unit is written


def test_confidence_that_is_not_shown_is_faint() -> None:
    scene = small_scene()
    plain, marked = confidence_picture(scene, 0), confidence_picture(scene, 0, threshold=2.5)
    assert np.array_equal(plain[100, 10], marked[100, 10])
    faint = marked[100, 7 * 60].astype(int)
    assert np.abs(faint - np.array(UNKNOWN)).max() < 50
    assert not np.array_equal(plain[:, -STRIP:], marked[:, -STRIP:])  # the mark on the bar


def test_a_bar_has_round_numbers_inside_its_range() -> None:
    ticks = ColourScale(0.93, 4.2, "viridis", "").ticks(5)
    assert len(ticks) >= 3
    assert all(0.93 <= tick <= 4.2 for tick in ticks)
    assert all(abs(tick * 10 - round(tick * 10)) < 1e-9 for tick in ticks)


def test_equal_values_have_a_picture() -> None:
    assert depth_picture(small_scene(), 0).shape[2] == 3  # all of it is 4 m away
    empty = replace(small_scene().images[0], depth=np.zeros((48, 64)), confidence=np.zeros((48, 64)))
    scene = replace(small_scene(), images=(empty,))
    assert tuple(depth_picture(scene, 0)[100, 100]) == UNKNOWN
    assert tuple(confidence_picture(scene, 0)[100, 100]) == UNKNOWN
    assert tuple(normals_picture(scene, 0)[100, 100]) == UNKNOWN


def test_normals_of_a_wall_face_the_camera_and_a_floor_up() -> None:
    inner = (slice(1, -1), slice(1, -1))
    wall = normals_of(small_scene().images[0])
    np.testing.assert_allclose(wall[inner], np.broadcast_to([0, 0, 1], wall[inner].shape), atol=1e-5)
    image = small_scene().images[0]
    y = (np.arange(48) - image.network_intrinsics[1, 2]) / image.network_intrinsics[1, 1]
    below = np.where(y > 0, 1.0 / np.maximum(y, 1e-9), 0)  # a floor 1 m below the camera
    floor = normals_of(replace(image, depth=np.broadcast_to(below[:, None], (48, 64))))
    np.testing.assert_allclose(floor[30:-1, 1:-1], np.broadcast_to([0, 1, 0], (17, 62, 3)), atol=1e-3)
    assert np.isnan(floor[:20]).all()
    right = normals_of(tilted().images[0])[20, 30]
    assert right[0] > 0.3  # as the left wall of a corridor does
    color = normals_picture(small_scene(), 0)[100, 100].astype(int)
    np.testing.assert_allclose(color, [128, 128, 255], atol=1)


def test_distances_are_those_of_the_world() -> None:
    scene, times = small_scene(), picture_scale(small_scene(), 0)
    focal = scene.images[0].network_intrinsics[0, 0]
    left, right = (10.5 * times, 20.5 * times), (40.5 * times, 20.5 * times)
    assert measure(scene, 0, left, right) == pytest.approx(30 * WALL / focal)
    assert measure(scene, 0, left, left) == 0


@pytest.mark.parametrize(("place", "message"), [((30, 10), "no depth"), ((460, 100), "beside the photo")])
def test_places_without_depth_are_refused(place: tuple[float, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(tilted(), 0, (200, 200), place)
    with pytest.raises(InputError, match="no photo 9"):
        depth_picture(tilted(), 8)


def test_marks_are_drawn_on_a_copy() -> None:
    picture = np.full((200, 300, 3), 128, np.uint8)
    marked = with_marks(picture, [(50, 60), (250, 140)], "1.23 m")
    assert (picture == 128).all()
    assert tuple(marked[100, 150]) in {(255, 255, 255), (0, 0, 0)} or (marked[80:120, 100:200] == 255).any()
    assert (marked[54:67, 43:57] == 255).any()
    assert np.array_equal(with_marks(picture, []), picture)


def test_pairs_are_listed_by_their_matches_under_the_visitor_s_names(tmp_path: Path) -> None:
    result = small_result(tmp_path)
    listed = pair_choices(result, {"0001.jpg": "tower.jpg"})
    assert listed[0] == ("tower.jpg – 0002.jpg: 300 matches agree", (0, 1))
    assert [pair for _, pair in listed] == [(0, 1), (0, 2), (1, 2)]


def test_a_pair_is_drawn_with_its_lines(tmp_path: Path) -> None:
    result = small_result(tmp_path)
    many, few = pair_picture(result, 0, 1), pair_picture(result, 0, 1, min_confidence=4.9)
    assert many.dtype == np.uint8
    assert many.shape[:2] == (514, 640 + 12 + 360)  # landscape beside portrait, 480 high, and a title
    assert tuple(many[0, 0]) == BACKGROUND
    assert not np.array_equal(many[40:], few[40:])
    with pytest.raises(InputError):
        pair_picture(result, 0, 2)


def test_all_pairs_are_in_one_picture(tmp_path: Path) -> None:
    picture = similarity_picture(small_result(tmp_path, 3, alone=1))
    assert picture.shape == (640, 640, 3)
    colors = {tuple(int(v) for v in color) for color in picture[100:610:3, 80:600:3].reshape(-1, 3)}
    assert UNKNOWN in colors  # the photo that was matched with none
    assert BACKGROUND in colors
    assert (253, 231, 36) in colors  # viridis' last colour: the pair with most matches
