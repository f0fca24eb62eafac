"""Windows, their selection, rectified crops (goldens), and the whole way on photos of known shift."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mast3r_match import (
    cover_windows,
    crop_slice,
    crop_tag,
    crop_to_homography,
    match_coarse_to_fine,
    match_images,
    rectify_crop,
    select_pairs_of_crops,
    select_windows,
)
from mast3r_match.coarse_to_fine import make_overlapping_grid, norm_windows, score_cell, start_pos, warp_image
from mast3r_match.coarse_to_fine.crops import cut_window, working_photo
from mast3r_match.coarse_to_fine.homography import apply_homography
from mast3r_model import InputError, crop_and_resize_transform, load_image, nearest_network_shape

Golden = dict[str, list[dict[str, object]]]


@pytest.fixture(scope="module")
def golden() -> Golden:
    path = Path(__file__).parent / "goldens/sfm/matching/coarse_to_fine.json"
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return dict(np.load(Path(__file__).parent / "goldens/sfm/matching/coarse_to_fine.npz"))


def or_none(function: Callable[[], np.ndarray]) -> list[list[int]] | None:
    """The result as lists, or None where upstream's assertion is our error."""
    try:
        return function().tolist()
    except InputError:
        return None


def size(value: object) -> tuple[int, int] | None:
    return None if value is None else tuple(value)


def test_start_positions(golden: Golden) -> None:
    for case in golden["start_pos"]:
        assert start_pos(case["total"], case["win"], case["overlap"]) == case["out"]
    with pytest.raises(InputError, match="600"):
        start_pos(512, 600, 0.5)


def test_grids(golden: Golden) -> None:
    for case in golden["grids"]:
        height, width = case["H"], case["W"]
        grid = or_none(lambda c=case: make_overlapping_grid(c["H"], c["W"], c["maxdim"], c["overlap"]))
        assert grid == case["grid"]
        if grid is not None:
            windows = norm_windows, np.array(grid, dtype=float), height, width
            assert or_none(partial(*windows, size(case["forced"]))) == case["norm_forced"]
            assert or_none(partial(*windows)) == case["norm_free"]


def test_windows(golden: Golden) -> None:
    for case in golden["norm_windows"]:
        found = or_none(
            lambda c=case: norm_windows(np.array(c["windows"]), c["H"], c["W"], size(c["forced"]))
        )
        assert found == case["out"]


def test_selection(golden: Golden, arrays: dict[str, np.ndarray]) -> None:
    for case in golden["select"]:
        points = arrays[f"pts1_{case['id']}"], arrays[f"pts2_{case['id']}"]
        images = np.empty(case["HW1"]), np.empty(case["HW2"])
        found = list(select_pairs_of_crops(*images, *points, case["maxdim"], case["overlap"], case["forced"]))
        assert [cell.tolist() for cell, _, _ in found] == case["cells1"]
        assert [cell.tolist() for _, cell, _ in found] == case["cells2"]
        assert [list(tag("A", "B")) for _, _, tag in found] == case["tags"]


def test_scores(golden: Golden, arrays: dict[str, np.ndarray]) -> None:
    for case in golden["select"]:
        name, forced = case["id"], case["forced"]
        per_image = (
            [None, None] if forced is None else forced if isinstance(forced[0], list) else [forced] * 2
        )
        grid = make_overlapping_grid(*case["HW1"], case["maxdim"], case["overlap"])
        cells = norm_windows(grid, *case["HW1"], size(per_image[0]))
        scored = score_cell(
            cells,
            *case["HW2"],
            arrays[f"pts1_{name}"],
            arrays[f"pts2_{name}"],
            forced_resolution=size(per_image[1]),
        )
        np.testing.assert_array_equal(scored.cells1, arrays[f"score_cell1_{name}"])
        np.testing.assert_array_equal(scored.cells2, arrays[f"score_cell2_{name}"])
        np.testing.assert_allclose(scored.weights.sum(1), arrays[f"score_weights_sum_{name}"], rtol=1e-6)


def test_network_sizes_and_their_transforms(golden: Golden) -> None:
    for case in golden["hw_resolution"]:
        assert list(nearest_network_shape((case["H"], case["W"]))) == case["out"]
    for case in golden["resize_fn"]:
        transform = crop_and_resize_transform((case["H"], case["W"]))
        for ours, theirs in (("matrix_to_network", "to_rescaled"), ("matrix_to_original", "to_orig")):
            matrix = getattr(transform, ours)(pixels="corner")
            np.testing.assert_allclose(matrix, case[theirs], atol=1e-12)


def test_no_matches_no_windows() -> None:
    nothing = np.empty((0, 2))
    assert list(select_pairs_of_crops(np.empty((600, 800)), np.empty((600, 800)), nothing, nothing)) == []


SIZES = {"max_size": 512, "forced_resolution": [(384, 512), (384, 512)]}


def _shifted_matches(shift: float, zoom: float) -> tuple[np.ndarray, np.ndarray]:
    """Matches of two photos of 1024x768, one a zoomed and shifted view of the other."""
    points1 = np.random.default_rng(0).uniform([0, 0], [1024, 768], (700, 2))
    points2 = (points1 - 512) * zoom + 512 + shift
    on_both = ((points2 >= 0) & (points2 < [1024, 768])).all(1)
    return points1[on_both], points2[on_both]


def _inside(points: np.ndarray, window: Sequence[int]) -> np.ndarray:
    return ((points >= window[:2]) & (points < window[2:])).all(1)


@pytest.mark.parametrize(("shift", "zoom"), [(60, 1.0), (300, 1.0), (0, 1.5), (100, 0.7), (-90, 1.2)])
def test_covering_windows_are_few_and_hold_the_matches(shift: float, zoom: float) -> None:
    shape = (768, 1024)
    points1, points2 = _shifted_matches(shift, zoom)
    found = list(cover_windows(shape, shape, points1, points2, **SIZES))
    held = [_inside(points1, pair.window1) & _inside(points2, pair.window2) for pair in found]
    assert np.any(held, axis=0).mean() >= 0.9
    assert len(found) < len(list(select_windows(shape, shape, points1, points2, **SIZES)))
    for window in (window for pair in found for window in (pair.window1, pair.window2)):
        left, top, right, bottom = window
        assert (right - left, bottom - top) == (512, 384)
        assert min(left, top) >= 0
        assert right <= 1024
        assert bottom <= 768


def test_covering_windows_of_the_second_image_lie_on_a_lattice() -> None:
    """So that one encoding of each does for many first images."""
    shape = (768, 1024)
    windows = {
        pair.window2
        for shift in range(-300, 301, 25)
        for pair in cover_windows(shape, shape, *_shifted_matches(shift, 1.0), **SIZES)
    }
    assert {left for left, *_ in windows} <= {0, 128, 256, 384, 512}
    assert {top for _, top, *_ in windows} <= {0, 96, 192, 288, 384}


def test_few_strays_get_no_window_of_their_own() -> None:
    points1, points2 = _shifted_matches(0, 1.0)
    near = _inside(points1, (0, 0, 400, 300))
    shape, stray = (768, 1024), np.array([[900.0, 700.0]])
    stray1, stray2 = np.tile(stray, (9, 1)), np.tile(stray, (9, 1))
    rows = np.flatnonzero(near)[:40]
    found = list(
        cover_windows(
            shape,
            shape,
            np.concatenate([points1[rows], stray1]),
            np.concatenate([points2[rows], stray2]),
            **SIZES,
        )
    )
    assert len(found) == 1


def test_homographies(golden: Golden) -> None:
    for case in golden["homography"]:
        size_wh, new_camera, rotation, homography = crop_to_homography(
            np.array(case["K"]), case["crop"], case["target_size"]
        )
        assert list(size_wh) == case["imsize"]
        for ours, theirs in ((new_camera, case["K2"]), (rotation, case["R"]), (homography, case["H"])):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_tags_and_slices(golden: Golden) -> None:
    case = golden["tags"]
    assert crop_tag(case["cell"]) == case["crop_tag"]
    assert np.arange(100).reshape(10, 10)[crop_slice([2, 3, 4, 5])].tolist() == [[32, 33], [42, 43]]


@settings(max_examples=50, deadline=None)
@given(st.integers(64, 3000), st.integers(64, 3000), st.sampled_from([64, 224, 512]), st.floats(0, 0.9))
def test_grids_cover_their_image(height: int, width: int, window: int, overlap: float) -> None:
    if max(height, width) < window or 16 * ((min(height, width) * window // max(height, width)) // 16) < 16:
        return
    grid = make_overlapping_grid(height, width, window, overlap)
    for low, high, length in ((0, 2, width), (1, 3, height)):
        spans = sorted({(int(cell[low]), int(cell[high])) for cell in grid})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        side = spans[0][1] - spans[0][0]
        for (_, stop), (start, _) in pairwise(spans):
            assert stop - start >= side * overlap - 1


def test_warped_pixels_are_where_the_homography_says() -> None:
    columns = np.tile(np.arange(900, dtype=np.float32), (700, 1))
    camera = np.array([[800.0, 0, 450], [0, 800, 350], [0, 0, 1]])
    rectified = rectify_crop(camera, (500, 300, 800, 500))
    warped = np.array(warp_image(Image.fromarray(columns), rectified, resample=Image.Resampling.BILINEAR))
    pixels = np.array([[10, 20], [150, 100], [290, 190]])
    expected = apply_homography(rectified.homography, pixels)[:, 0]
    np.testing.assert_allclose(warped[pixels[:, 1], pixels[:, 0]], expected, atol=0.01)


def test_warped_grey_levels_are_rounded() -> None:
    """Spec 50, trap 5: truncated, the window would be half a level too dark."""
    y, x = np.indices((700, 900))
    levels = 20 + 0.2 * x + 0.05 * y
    rectified = rectify_crop(np.array([[800.0, 0, 450], [0, 800, 350], [0, 0, 1]]), (500, 300, 800, 500))
    photo = np.rint(np.stack([levels, levels / 2, 255 - levels], axis=-1)).astype(np.uint8)
    height, width = rectified.size_wh[::-1]
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    seen_x, seen_y = apply_homography(rectified.homography, pixels).T
    expected = (20 + 0.2 * seen_x + 0.05 * seen_y).reshape(height, width)
    for each, wanted in (
        (Image.fromarray(photo), np.stack([expected, expected / 2, 255 - expected], axis=-1)),
        (Image.fromarray(photo[..., 0]), expected),
    ):
        warped = np.array(warp_image(each, rectified))
        assert warped.dtype == np.uint8
        np.testing.assert_allclose((warped - wanted).mean((0, 1)), 0, atol=0.02)


@pytest.fixture
def shifted(save_photo: Callable[[str, np.ndarray], Path], scene: np.ndarray) -> tuple[Path, Path]:
    """Two photos of one texture, the second 37 pixels further right and 21 further down."""
    return save_photo("a.png", scene[:300, :380]), save_photo("b.png", scene[21:321, 37:417])


def test_fine_matches_are_exact_to_the_pixel(network: Any, shifted: tuple[Path, Path]) -> None:
    coarse = match_images(network, *shifted, size=128, subsample=4)
    fine = match_coarse_to_fine(network, *shifted, size=128, subsample=4)
    shift = np.array([37, 21])
    exact = (fine.keypoints0 - fine.keypoints1 == shift).all(1)
    assert exact.mean() > 0.9
    assert len(fine) > 2 * len(coarse)
    roughly = np.abs(coarse.keypoints0 - coarse.keypoints1 - shift).max(1) < 3
    assert roughly.mean() > 0.6
    assert len(np.unique(np.c_[fine.keypoints0, fine.keypoints1], axis=0)) == len(fine)
    assert fine.points3d0 is not None
    assert fine.made_with["coarse_to_fine"]["windows"] > 1


def test_no_half_pixel_bias_when_the_photos_are_shrunk_first(
    network: Any, save_photo: Callable[[str, np.ndarray], Path], scene: np.ndarray
) -> None:
    """The second photo is the first one at half size: x0 = 2 (x1 + 0.5) - 0.5, whatever size is worked at."""
    large = save_photo("large.png", scene[:320, :400])
    small = Image.fromarray(scene[:320, :400]).resize((200, 160), Image.Resampling.BOX)
    halved = save_photo("small.png", np.array(small))
    fine = match_coarse_to_fine(network, large, halved, size=128, subsample=4, max_image_size=200)
    residual = fine.keypoints0 - (2 * (fine.keypoints1 + 0.5) - 0.5)
    right = np.abs(residual).max(1) < 4
    assert right.mean() > 0.7
    assert np.abs(residual[right].mean(0)).max() < 0.1


def test_rectified_windows_match_too(network: Any, shifted: tuple[Path, Path]) -> None:
    camera = np.array([[600.0, 0, 190], [0, 600, 150], [0, 0, 1]])
    fine = match_coarse_to_fine(
        network, *shifted, size=128, subsample=4, intrinsics0=camera, intrinsics1=camera, max_matches=300
    )
    assert 100 < len(fine) <= 300
    near = np.abs(fine.keypoints0 - fine.keypoints1 - [37, 21]).max(1) < 1.5
    assert near.mean() > 0.6


def test_photos_no_larger_than_the_network_get_the_coarse_matches(
    network: Any, save_photo: Callable[[str, np.ndarray], Path], scene: np.ndarray
) -> None:
    photos = save_photo("a.png", scene[:80, :100]), save_photo("b.png", scene[5:85, 8:108])
    fine, coarse = (match(network, *photos, size=128) for match in (match_coarse_to_fine, match_images))
    np.testing.assert_array_equal(fine.keypoints0, coarse.keypoints0)


def test_one_small_photo_is_enlarged_so_that_a_window_fits(
    network: Any, save_photo: Callable[[str, np.ndarray], Path], scene: np.ndarray
) -> None:
    photos = save_photo("a.png", scene[:300, :400]), save_photo("b.png", scene[100:180, 100:200])
    fine = match_coarse_to_fine(network, *photos, size=128, subsample=4)
    assert fine.image_shape1 == (80, 100)
    assert (fine.keypoints1 < [100, 80]).all()


def test_loaded_photos_keep_the_size_they_were_loaded_at(network: Any, shifted: tuple[Path, Path]) -> None:
    """Windows are as large as the network's input, whatever ``size`` would be for paths."""
    loaded = [load_image(path, 128) for path in shifted]
    fine = match_coarse_to_fine(network, *loaded, subsample=4)
    again = match_coarse_to_fine(network, *shifted, size=128, subsample=4)
    assert fine.made_with["coarse_to_fine"]["windows"] > 1
    np.testing.assert_array_equal(fine.keypoints1, again.keypoints1)
    mixed = match_coarse_to_fine(network, load_image(shifted[0], 96), load_image(shifted[1], 128))
    assert mixed.made_with["coarse_to_fine"]["windows"] > 1


def test_symmetric_decodes_windows_both_ways(network: Any, shifted: tuple[Path, Path]) -> None:
    fine = match_coarse_to_fine(network, *shifted, size=128, subsample=8, symmetric=True)
    windows = fine.made_with["coarse_to_fine"]["windows"]
    assert len(network.decoded) == 2 * (1 + windows)
    assert network.decoded[2::2] == [(second, first) for first, second in network.decoded[3::2]]


def test_masked_pixels_match_in_no_window(network: Any, shifted: tuple[Path, Path]) -> None:
    mask = np.ones((300, 380), dtype=bool)
    mask[:, :200] = False
    for camera in (None, np.array([[600.0, 0, 190], [0, 600, 150], [0, 0, 1]])):
        fine = match_coarse_to_fine(
            network, *shifted, size=128, subsample=4, mask0=mask, intrinsics0=camera, intrinsics1=camera
        )
        assert len(fine) > 50
        assert (fine.keypoints0[:, 0] > 198.5).all()


def test_windows_keep_the_photos_pixels(shifted: tuple[Path, Path], scene: np.ndarray) -> None:
    working = working_photo(load_image(shifted[0], 128), max_size=None)
    crop = cut_window(working, (20, 30, 148, 126))
    np.testing.assert_array_equal(crop.pixels, scene[30:126, 20:148])
    assert crop.tensor.shape == (3, 96, 128)
    np.testing.assert_array_equal(crop.to_working(np.array([[0.0, 0.0], [5.0, 7.0]])), [[20, 30], [25, 37]])
    camera = np.array([[100.0, 0, 190], [0, 100, 150], [0, 0, 1]])
    turned = cut_window(
        working_photo(load_image(shifted[0], 128), max_size=None, intrinsics=camera), (20, 30, 148, 126)
    )
    for window in (crop, turned):
        points = np.array([[30.5, 40.0], [100.0, 90.25]])
        np.testing.assert_allclose(window.to_working(window.from_working(points)), points, atol=1e-9)
