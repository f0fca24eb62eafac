"""Known points of a map image in a query: the fast way against brute force (spec 50 D3)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from mast3r_visloc.localizing.point_matching import ImageDescriptors, match_points

Metric = Literal["dot", "l2"]


def random_image(seed: int, height: int, width: int, metric: Metric = "dot") -> ImageDescriptors:
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(height, width, 6, generator=random)
    if metric == "dot":
        values = torch.nn.functional.normalize(values, dim=-1)
    return ImageDescriptors(values, 1 + torch.rand(height, width, generator=random), metric)


def interpolated(values: np.ndarray, xy: np.ndarray) -> np.ndarray:
    planes = np.moveaxis(values, -1, 0).astype(np.float64)
    return np.stack([map_coordinates(plane, xy.T[::-1], order=1, mode="nearest") for plane in planes], 1)


@pytest.mark.parametrize("shape", [(9, 13), (1, 7), (7, 1), (1, 1)])
def test_values_between_pixels(shape: tuple[int, int]) -> None:
    image = random_image(0, *shape)
    random = np.random.default_rng(0)
    xy = random.uniform(-0.5, np.array(shape[::-1]) - 0.5, (200, 2))
    xy[:20] = np.rint(xy[:20])
    values, confidence = image.at(torch.from_numpy(xy).float())
    mixed = interpolated(image.values.numpy(), xy)
    np.testing.assert_allclose(values, mixed / np.linalg.norm(mixed, axis=1, keepdims=True), atol=1e-5)
    expected = interpolated(image.confidence.numpy()[..., None], xy)[:, 0]
    np.testing.assert_allclose(confidence, expected, atol=1e-5)


@pytest.mark.parametrize("metric", ["dot", "l2"])
@pytest.mark.parametrize("tolerance", [0.9, 5.0, 100.0])
def test_as_brute_force(metric: Metric, tolerance: float) -> None:
    query, map_image = random_image(1, 12, 17, metric), random_image(2, 14, 11, metric)
    # half of the map image is in the query, so that some ways lead back
    map_image.values[:, :8] = query.values[:, :8].repeat(2, 1, 1)[:14]
    xy = np.random.default_rng(3).uniform(-0.5, np.array([11, 14]) - 0.5, (300, 2))
    xy[:100] = np.rint(xy[:100])
    found = match_points(query, map_image, xy, pixel_tolerance=tolerance, subpixel=False)

    own = interpolated(map_image.values.numpy(), xy)
    if metric == "dot":
        own /= np.linalg.norm(own, axis=1, keepdims=True)
    in_query = query.values.flatten(0, 1).double().numpy()
    in_map = map_image.values.flatten(0, 1).double().numpy()

    def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a @ b.T if metric == "dot" else -np.linalg.norm(a[:, None] - b[None], axis=-1)

    there = similarity(own, in_query).argmax(axis=1)
    back = similarity(in_query[there], in_map).argmax(axis=1)
    missed = np.linalg.norm(np.stack([back % 11, back // 11], 1) - xy, axis=1)
    rows = np.flatnonzero(missed < tolerance)
    assert 20 < len(rows) <= 300
    assert np.array_equal(found.rows, rows)
    assert np.array_equal(found.query_xy, np.stack([there % 17, there // 17], 1)[rows])
    confidence = np.minimum(
        interpolated(map_image.confidence.numpy()[..., None], xy)[:, 0],
        query.confidence.flatten().numpy()[there],
    )
    np.testing.assert_allclose(found.confidence, confidence[rows], atol=1e-5)


def test_the_tolerance_is_exclusive() -> None:
    """The way back ends exactly two pixels from where it began."""
    values = torch.eye(5).reshape(1, 5, 5)
    query, map_image = values.clone(), values.clone()
    map_image[0, 0] = torch.nn.functional.normalize(values[0, 2] + 0.1 * values[0, 0], dim=0)
    images = [ImageDescriptors(each, torch.ones(1, 5)) for each in (query, map_image)]
    start = np.zeros((1, 2))
    assert len(match_points(*images, start, pixel_tolerance=2.0).rows) == 0
    assert len(match_points(*images, start, pixel_tolerance=2.001).rows) == 1


def pattern(x: np.ndarray, y: np.ndarray, metric: Metric) -> ImageDescriptors:
    """Descriptors that say where they are."""
    if metric == "l2":
        values = np.stack([x, y, np.ones_like(x)], axis=-1)
    else:
        values = np.stack([np.cos(0.1 * x), np.sin(0.1 * x), np.cos(0.1 * y), np.sin(0.1 * y)], -1) / 2**0.5
    return ImageDescriptors(torch.from_numpy(values).float(), torch.ones(x.shape), metric)


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_subpixel_is_right_on_a_shifted_pattern(metric: Metric) -> None:
    y, x = np.indices((24, 32)).astype(float)
    query, map_image = pattern(x, y, metric), pattern(x + 1.3, y - 0.45, metric)
    xy = np.random.default_rng(0).uniform([3, 3], [28, 20], (200, 2))
    fine = match_points(query, map_image, xy, pixel_tolerance=5)
    coarse = match_points(query, map_image, xy, pixel_tolerance=5, subpixel=False)
    truth = xy + np.array([1.3, -0.45])
    assert len(fine.rows) == 200
    assert np.abs(fine.query_xy - truth[fine.rows]).max() < 0.02
    assert np.abs(coarse.query_xy - truth[coarse.rows]).max() > 0.4
    assert np.abs(fine.query_xy - coarse.query_xy).max() <= 0.5


def test_subpixel_stays_within_half_a_pixel_and_on_the_image() -> None:
    query, map_image = random_image(1, 12, 17), random_image(1, 12, 17)
    xy = np.random.default_rng(3).uniform(-0.5, [16.5, 11.5], (500, 2))
    fine = match_points(query, map_image, xy, pixel_tolerance=100)
    coarse = match_points(query, map_image, xy, pixel_tolerance=100, subpixel=False)
    assert np.array_equal(fine.rows, coarse.rows)
    step = np.abs(fine.query_xy - coarse.query_xy)
    assert 0 < step.max() <= 0.5
    rim = (coarse.query_xy == 0) | (coarse.query_xy == [16, 11])
    assert rim.any()
    assert (step[rim] == 0).all()


def test_no_points_no_matches() -> None:
    image = random_image(0, 8, 8)
    found = match_points(image, image, np.empty((0, 2)), pixel_tolerance=5)
    assert len(found.rows) == len(found.query_xy) == len(found.confidence) == 0
