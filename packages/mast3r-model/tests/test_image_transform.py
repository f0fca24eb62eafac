"""ImageTransform: round trips, agreement with the loader's recipe, maps and intrinsics."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_model.errors import InputError
from mast3r_model.image_transform import ImageTransform

sides = st.integers(8, 5000)


@st.composite
def transforms(draw: st.DrawFn) -> ImageTransform:
    """Both ways of making one, with any sizes."""
    original = draw(sides), draw(sides)
    if draw(st.booleans()):
        resized = draw(sides), draw(sides)
        left, top = draw(st.integers(0, resized[1] - 1)), draw(st.integers(0, resized[0] - 1))
        right, bottom = draw(st.integers(left + 1, resized[1])), draw(st.integers(top + 1, resized[0]))
        return ImageTransform.from_resize_and_crop(original, resized, (left, top, right, bottom))
    left, top = draw(st.floats(0, original[1] - 2)), draw(st.floats(0, original[0] - 2))
    right, bottom = draw(st.floats(left + 1, original[1])), draw(st.floats(top + 1, original[0]))
    return ImageTransform.from_crop_and_resize(
        original, (left, top, right, bottom), (draw(sides), draw(sides))
    )


@given(transforms(), st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_points_come_back(transform: ImageTransform, points: list[tuple[float, float]]) -> None:
    array = np.array(points)
    back = transform.points_to_original(transform.points_to_network(array))
    np.testing.assert_allclose(back, array, rtol=1e-9, atol=1e-6)
    tensor = torch.from_numpy(array)
    np.testing.assert_array_equal(
        transform.points_to_network(tensor).numpy(), transform.points_to_network(array)
    )
    homogeneous = np.concatenate([array, np.ones((len(array), 1))], axis=1)
    by_matrix = homogeneous @ transform.network_from_original.T
    np.testing.assert_allclose(transform.points_to_network(array), by_matrix[:, :2], rtol=1e-9, atol=1e-6)


@given(transforms())
@settings(max_examples=60, deadline=None)
def test_intrinsics_project_to_moved_points(transform: ImageTransform) -> None:
    intrinsics = np.array([[900.0, 0, 320.3], [0, 880.0, 239.1], [0, 0, 1]])
    point = np.array([0.3, -0.2, 2.0])
    projected = (intrinsics @ point)[:2] / point[2]
    moved = transform.intrinsics_to_network(intrinsics)
    np.testing.assert_allclose(
        (moved @ point)[:2] / point[2], transform.points_to_network(projected), atol=1e-6
    )
    np.testing.assert_allclose(transform.intrinsics_to_original(moved), intrinsics, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(
        transform.network_from_original @ transform.original_from_network, np.eye(3), atol=1e-6
    )


@given(transforms())
@settings(max_examples=30, deadline=None)
def test_conventions_differ_by_half_a_pixel(transform: ImageTransform) -> None:
    corner = transform.matrix_to_original(pixels="corner") @ [3.5, 4.5, 1]
    centre = transform.points_to_original(np.array([3.0, 4.0]))
    np.testing.assert_allclose(corner[:2] - 0.5, centre, rtol=1e-9, atol=1e-9)


def test_spec_formula() -> None:
    """x_orig = (x_net + 0.5 + (cx - hw)) * W0 / Wr - 0.5 (spec 20 section 6)."""
    transform = ImageTransform.from_resize_and_crop((683, 1024), (342, 512), (0, 3, 512, 339))
    assert transform.network_shape == (336, 512)
    x, y = transform.points_to_original(np.array([10, 20]))
    assert x == pytest.approx((10 + 0.5) * 2 - 0.5)
    assert y == pytest.approx((20 + 0.5 + 3) * 683 / 342 - 0.5)


def test_dtypes_are_kept() -> None:
    transform = ImageTransform.from_resize_and_crop((100, 200), (50, 100), (0, 1, 96, 49))
    assert transform.points_to_network(np.zeros((4, 2), np.float32)).dtype == np.float32
    assert transform.points_to_network(np.zeros((4, 2), np.int64)).dtype == np.float64
    assert transform.points_to_network(torch.zeros(4, 2)).dtype == torch.float32
    assert transform.intrinsics_to_network(np.eye(3, dtype=np.float32)).dtype == np.float32
    assert transform.intrinsics_to_network(torch.eye(3).double()).dtype == torch.float64


def test_maps_nearest_keep_values_and_mark_the_crop() -> None:
    transform = ImageTransform.from_resize_and_crop((60, 80), (30, 40), (4, 5, 36, 25))
    mask = np.zeros((60, 80), bool)
    mask[:, 40:] = True
    network = transform.map_to_network(mask)
    assert network.shape == (20, 32)
    np.testing.assert_array_equal(network, np.arange(32)[None].repeat(20, 0) >= 16)
    back = transform.map_to_original(network)
    assert back.dtype == np.bool_
    np.testing.assert_array_equal(back[10:50, 8:72], mask[10:50, 8:72])
    assert not back[:10].any()
    assert not back[:, 72:].any()


def test_maps_bilinear_reproduce_a_plane() -> None:
    transform = ImageTransform.from_resize_and_crop((90, 120), (45, 60), (6, 6, 54, 38))
    ys, xs = np.mgrid[0:32, 0:48].astype(np.float64)
    points = transform.points_to_original(np.stack([xs, ys], -1))
    plane = 0.5 * points[..., 0] - 0.25 * points[..., 1] + 3
    original = transform.map_to_original(torch.from_numpy(plane))
    assert isinstance(original, torch.Tensor)
    ys, xs = np.mgrid[0:90, 0:120]
    inside = original[14:74, 14:106].numpy()
    np.testing.assert_allclose(inside, (0.5 * xs - 0.25 * ys + 3)[14:74, 14:106], atol=1e-9)
    assert np.isnan(original[:12].numpy()).all()
    assert np.isnan(original[:, 109:].numpy()).all()


def test_a_nan_does_not_spread_to_exact_neighbours() -> None:
    values = np.ones((4, 5, 2), np.float32)
    values[1, 2] = np.nan
    result = ImageTransform.identity((4, 5)).map_to_original(values)
    np.testing.assert_array_equal(result, values)


def test_wrong_input_is_named() -> None:
    transform = ImageTransform.identity((4, 6))
    with pytest.raises(InputError, match=r"\(4, 6\).*\(6, 4\)"):
        transform.map_to_original(np.zeros((6, 4)))
    with pytest.raises(InputError, match="2"):
        transform.points_to_network(np.zeros(3))
    with pytest.raises(InputError, match="bilinear"):
        transform.map_to_original(np.zeros((4, 6), np.int32), sampling="bilinear")
    with pytest.raises(InputError):
        ImageTransform((4, 6), (4, 6), np.ones((3, 3)))


def test_equality_hash_pickle_and_immutability() -> None:
    transform = ImageTransform.from_resize_and_crop((60, 80), (30, 40), (4, 5, 36, 25))
    again = pickle.loads(pickle.dumps(transform))  # noqa: S301
    assert again == transform
    assert hash(again) == hash(transform)
    assert transform != ImageTransform.identity((60, 80))
    with pytest.raises(ValueError, match="read-only"):
        transform.network_from_original[0, 0] = 2
