"""3D behind pixels, against planes whose depth is known everywhere; and turned photos."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_model import ImageTransform, InputError
from mast3r_visloc.cameras import Camera, project
from mast3r_visloc.maps import (
    DensePoints,
    MapImage,
    PhotoFile,
    SparsePoints,
    in_file_pixels,
    lift_depth,
    lookup,
    network_points,
    turn_points,
)

from .map_world import Shot, World

WORLD = World()
SHOT = WORLD.shots[0]
CAMERA = Camera.from_intrinsics(SHOT.K, SHOT.shape)
NETWORK = ImageTransform.from_resize_and_crop(SHOT.shape, (24, 32), (2, 1, 30, 23))


def dense(shot: Shot = SHOT, size: tuple[int, int] | None = None) -> DensePoints:
    """The wall on a grid of the photo's size or another one that spans the photo."""
    if size is None:
        return lift_depth(shot.depth(), Camera.from_intrinsics(shot.K, shot.shape), shot.pose)
    height, width = shot.shape
    transform = ImageTransform.from_crop_and_resize(shot.shape, (0, 0, width, height), size)
    y, x = np.indices(size)
    xy = transform.points_to_original(np.stack([x.ravel(), y.ravel()], 1).astype(float))
    return DensePoints(shot.wall(xy).reshape(*size, 3), transform)


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(-0.5, 63.5), y=st.floats(-0.5, 47.5), size=st.sampled_from([(48, 64), (20, 30), (96, 128)])
)
def test_planes_are_exact_with_the_camera(x: float, y: float, size: tuple[int, int]) -> None:
    xy = np.array([[x, y]])
    found = lookup(dense(size=size), xy, cam2world=SHOT.pose)
    # Grid points end half a grid pixel inside the photo; all of the photo is answered.
    np.testing.assert_allclose(found, SHOT.wall(xy), atol=1e-6)


def test_frontal_planes_are_exact_without_the_camera() -> None:
    grid = lift_depth(np.full(SHOT.shape, 3.0), CAMERA, SHOT.pose)
    xy = np.random.default_rng(0).uniform(-0.5, 47.5, (200, 2))
    own = SHOT.rays(xy) * 3
    expected = own @ SHOT.pose[:3, :3].T + SHOT.pose[:3, 3]
    np.testing.assert_allclose(lookup(grid, xy), expected, atol=1e-9)


def test_outside_the_photo_is_nothing() -> None:
    xy = np.array([[-0.6, 5], [63.6, 5], [5, -0.6], [5, 47.6], [np.nan, 5], [1e9, 1e9]])
    assert np.isnan(lookup(dense(), xy, cam2world=SHOT.pose)).all()


@pytest.mark.parametrize("posed", [True, False])
def test_surfaces_do_not_mix(posed: bool) -> None:
    """Left of column 32 the wall is at 2 m, from there on at 4 m."""
    depth = np.where(np.arange(64) < 32, 2.0, 4.0) * np.ones((48, 1))
    points = lift_depth(depth, CAMERA, np.eye(4))
    cam2world = np.eye(4) if posed else None
    xy = np.random.default_rng(1).uniform([28, 1], [36, 46], (500, 2))
    z = lookup(points, xy, cam2world=cam2world)[:, 2]
    if posed:
        np.testing.assert_allclose(z, np.where(xy[:, 0] < 31.5, 2, 4), atol=1e-9)
    else:
        depths = np.array([2.0, 4.0])
        assert np.abs(z[:, None] - depths).min(1).max() < 1e-9


def test_nearest_where_only_that_is_known() -> None:
    depth = np.full(SHOT.shape, 3.0)
    depth[10, 10] = np.nan
    points = lift_depth(depth, CAMERA, np.eye(4))
    xy = np.array([[10.4, 10.4], [9.4, 9.4], [11.4, 10.6], [20.5, 20.5]])
    found = lookup(points, xy, cam2world=np.eye(4))
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], points.grid[9, 9])
    # Beside the column of the hole: pixels 11 and 12 of rows 10 and 11, all known.
    np.testing.assert_allclose(found[2], SHOT.rays(xy[2:3])[0] * 3, atol=1e-9)
    np.testing.assert_allclose(found[3], SHOT.rays(xy[3:4])[0] * 3, atol=1e-9)


def test_points_behind_the_camera_are_not_interpolated() -> None:
    points = lift_depth(np.full(SHOT.shape, 3.0), CAMERA, np.eye(4))
    behind = np.diag([-1.0, 1, -1, 1])
    found = lookup(points, np.array([[5.3, 5.3]]), cam2world=behind)
    np.testing.assert_array_equal(found[0], points.grid[5, 5])


def test_sparse_lookup() -> None:
    own, pixels = WORLD.seen(SHOT)
    points = SparsePoints(pixels, WORLD.points[own], own)
    found = lookup(
        points, np.concatenate([pixels + np.array([0.3, -0.2]), [[1e5, 0], [np.nan, 0]]]), radius=0.5
    )
    np.testing.assert_array_equal(found[:-2], WORLD.points[own])
    assert np.isnan(found[-2:]).all()
    assert np.isnan(lookup(points, pixels + 0.5, radius=0.5)).all()
    empty = SparsePoints(np.zeros((0, 2)), np.zeros((0, 3)), np.zeros(0, int))
    assert np.isnan(lookup(empty, pixels)).all()


def test_network_points_of_a_sparse_image() -> None:
    own, pixels = WORLD.seen(SHOT)
    outside = np.array([[0.0, 0.0], [63.0, 47.0]])  # cut off by the crop
    points = SparsePoints(
        np.concatenate([pixels, outside]),
        np.concatenate([WORLD.points[own], np.zeros((2, 3))]),
        np.append(own, [900, 901]),
    )
    found = network_points(points, NETWORK)
    inside = np.isin(own, found.point_ids)
    assert inside.sum() == len(found)
    assert 0 < len(found) < len(points)
    np.testing.assert_allclose(found.xy, NETWORK.points_to_network(pixels[inside]), atol=1e-12)
    np.testing.assert_array_equal(found.xyz, WORLD.points[own][inside])


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_network_points_of_a_dense_image(stride: int) -> None:
    points = dense()
    grid = points.grid.copy()
    grid[:20, :20] = np.nan
    found = network_points(
        dataclasses.replace(points, grid=grid), NETWORK, stride=stride, cam2world=SHOT.pose
    )
    height, width = NETWORK.network_shape
    assert len(np.unique(found.point_ids)) == len(found)
    assert not found.numbered
    assert not found.spread(5).numbered
    np.testing.assert_array_equal(found.point_ids, (found.xy[:, 1] * width + found.xy[:, 0]).astype(int))
    np.testing.assert_array_equal(found.xy % stride, stride // 2)
    original = NETWORK.points_to_original(found.xy)
    np.testing.assert_allclose(found.xyz, SHOT.wall(original), atol=1e-6)
    expected = len(range(stride // 2, height, stride)) * len(range(stride // 2, width, stride))
    assert (original > 19.5).any(axis=1).all()
    assert 0 < len(found) < expected


def test_network_points_of_the_networks_own_grid_are_that_grid() -> None:
    transform = NETWORK
    height, width = transform.network_shape
    y, x = np.indices((height, width))
    xy = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    grid = SHOT.wall(transform.points_to_original(xy)).reshape(height, width, 3)
    found = network_points(DensePoints(grid, transform), transform, stride=1, cam2world=SHOT.pose)
    np.testing.assert_allclose(found.xyz.reshape(grid.shape), grid, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(turns=st.integers(-4, 7))
def test_turned_points_are_seen_by_the_turned_camera(turns: int) -> None:
    """`in_file_pixels` turns camera, pose and points alike: they still agree, and the picture too."""
    own, pixels = WORLD.seen(SHOT)
    sparse = SparsePoints(pixels, WORLD.points[own], own)
    shape = SHOT.shape if turns % 2 == 0 else SHOT.shape[::-1]
    file = PhotoFile(SHOT.name, shape, turns % 4)
    upright = MapImage(SHOT.name, SHOT.name, CAMERA, SHOT.pose, lambda: sparse)
    image = in_file_pixels(upright, file, upright=True)
    assert image.camera.shape == shape
    points = image.load_points()
    world2cam = np.linalg.inv(image.cam2world)
    seen = project(image.camera, points.xyz @ world2cam[:3, :3].T + world2cam[:3, 3])
    np.testing.assert_allclose(seen, points.xy, atol=1e-9)
    assert (points.xy > -0.5).all()
    # The same pixel of the same array: the pixels of the turned array are `numpy.rot90`'s.
    marks = np.arange(SHOT.shape[0] * SHOT.shape[1]).reshape(SHOT.shape)
    before, after = np.rint(pixels).astype(int), np.rint(points.xy).astype(int)
    np.testing.assert_array_equal(
        np.rot90(marks, turns)[after[:, 1], after[:, 0]], marks[before[:, 1], before[:, 0]]
    )


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_dense_points(turns: int) -> None:
    transform = NETWORK
    y, x = np.indices(transform.network_shape)
    xy = transform.points_to_original(np.stack([x.ravel(), y.ravel()], 1).astype(float))
    points = DensePoints(SHOT.wall(xy).reshape(*transform.network_shape, 3), transform)
    asked = np.random.default_rng(0).uniform(10, 35, (50, 2))
    moved = turn_points(SparsePoints(asked, np.zeros((50, 3)), np.arange(50)), turns, SHOT.shape)
    turned = turn_points(points, turns, SHOT.shape)
    back = turn_points(turned, -turns, turned.transform.original_shape)
    np.testing.assert_allclose(lookup(turned, moved.xy), lookup(points, asked), atol=1e-9)
    np.testing.assert_array_equal(back.grid, points.grid)
    np.testing.assert_allclose(
        back.transform.network_from_original, transform.network_from_original, atol=1e-12
    )


def test_sizes_tell_whether_a_map_is_of_upright_photos() -> None:
    load = partial(SparsePoints, np.zeros((0, 2)), np.zeros((0, 3)), np.zeros(0, int))
    image = MapImage("a.jpg", "a.jpg", CAMERA, SHOT.pose, load)
    as_it_lies = PhotoFile("a.jpg", SHOT.shape, 1)
    assert in_file_pixels(image, as_it_lies, upright=False) is image
    turned = in_file_pixels(image, PhotoFile("a.jpg", SHOT.shape[::-1], 1), upright=False)
    assert turned.camera.shape == SHOT.shape[::-1]
    with pytest.raises(InputError, match=r"48x64 pixels, but the map's camera of .a\.jpg. has 64x48"):
        in_file_pixels(image, PhotoFile("a.jpg", SHOT.shape[::-1], 0), upright=False)
    with pytest.raises(InputError, match="mirrored"):
        in_file_pixels(image, PhotoFile("a.jpg", SHOT.shape, None), upright=True)


def test_the_surest_point_of_each_cell_is_added() -> None:
    """Spec 50 D3.4: beside the middles of the cells, where the map says how sure it is."""
    plain = dense()
    confidence = np.random.default_rng(0).uniform(1, 3, SHOT.shape)
    grid = plain.grid.copy()
    unknown = np.unravel_index(confidence.argmax(), SHOT.shape)
    grid[unknown] = np.nan
    points = DensePoints(grid, plain.transform, confidence)
    middles = network_points(DensePoints(grid, plain.transform), NETWORK, cam2world=SHOT.pose)
    found = network_points(points, NETWORK, cam2world=SHOT.pose)
    np.testing.assert_array_equal(found.xy[: len(middles)], middles.xy)
    added = found.xy[len(middles) :]
    assert len(np.unique(found.point_ids)) == len(found)
    in_photo = NETWORK.points_to_original(added)
    pixels = np.rint(in_photo).astype(int)
    np.testing.assert_allclose(in_photo, pixels, atol=1e-9)  # the map's own points, not between them
    np.testing.assert_allclose(found.xyz[len(middles) :], plain.grid[pixels[:, 1], pixels[:, 0]])
    y, x = np.indices(SHOT.shape)
    own = plain.transform.points_to_original(np.stack([x.ravel(), y.ravel()], 1).astype(float))
    everywhere = NETWORK.points_to_network(own)  # its rounding decides on which side of a cell's border
    cells = np.floor((everywhere + 0.5) / 4)
    height, width = NETWORK.network_shape
    inside = ((everywhere >= -0.5) & (everywhere < np.array([width, height]) - 0.5)).all(1)
    known = inside & np.isfinite(grid).all(-1).ravel()
    for place, pixel in zip(added, pixels, strict=True):
        others = known & (cells == np.floor((place + 0.5) / 4)).all(1)
        assert confidence[pixel[1], pixel[0]] == confidence.ravel()[others].max()
    assert len(added) == len(np.unique(cells[known], axis=0)) == 6 * 7


def test_confidence_is_turned_with_its_points() -> None:
    confidence = np.arange(48 * 64.0).reshape(48, 64)
    points = DensePoints(dense().grid, dense().transform, confidence)
    found = turn_points(points, 1, SHOT.shape)
    assert isinstance(found, DensePoints)
    np.testing.assert_array_equal(found.confidence, np.rot90(confidence))
