"""Upstream's windows, crops and capped photos, against its recorded results (spec 50 A6)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_match import crop_to_homography, select_windows
from mast3r_match.coarse_to_fine import greedy_cover, make_overlapping_grid, norm_windows, start_pos
from mast3r_model import InputError
from mast3r_visloc.reference.capping import CappedPhoto, cap_photo, capped_shape
from mast3r_visloc.reference.coarse_to_fine import match_finely
from mast3r_visloc.reference.crops import Crop, homography_crop, plain_crop
from mast3r_visloc.reference.matching import KnownPoints
from mast3r_visloc.reference.network import PairPredictor
from mast3r_visloc.reference.options import ReferenceOptions
from mast3r_visloc.reference.resizing import resize_plan
from mast3r_visloc.reference.views import ReferenceView

from .analytic_network import AnalyticNetwork


@pytest.fixture(scope="module")
def cases(goldens: Path) -> dict[str, list[Any]]:
    return json.loads((goldens / "coarse_to_fine.json").read_text())


@pytest.fixture(scope="module")
def arrays(goldens: Path) -> dict[str, np.ndarray]:
    return dict(np.load(goldens / "coarse_to_fine.npz"))


def test_start_positions(cases: dict[str, list[Any]]) -> None:
    for case in cases["start_pos"]:
        assert start_pos(case["total"], case["win"], case["overlap"]) == case["starts"]


def test_grids_and_windows(arrays: dict[str, np.ndarray]) -> None:
    names = [name.removeprefix("grid/") for name in arrays if name.startswith("grid/")]
    assert names
    for name in names:
        shape, maxdim = name.split("_")
        height, width = (int(side) for side in shape.split("x"))
        grid = make_overlapping_grid(height, width, int(maxdim), 0.5)
        np.testing.assert_array_equal(grid, arrays[f"grid/{name}"])
        forced = resize_plan((height, width), int(maxdim)).shape
        np.testing.assert_array_equal(
            norm_windows(grid, height, width, forced), arrays[f"norm/{name}_forced"]
        )
        np.testing.assert_array_equal(norm_windows(grid, height, width), arrays[f"norm/{name}_free"])


def test_selected_windows(cases: dict[str, list[Any]], arrays: dict[str, np.ndarray]) -> None:
    for number, case in enumerate(cases["select"]):
        pairs = list(
            select_windows(
                (case["HA"], case["WA"]),
                (case["HB"], case["WB"]),
                arrays[f"select{number}/posA"],
                arrays[f"select{number}/posB"],
                max_size=case["maxdim"],
                overlap=case["overlap"],
                forced_resolution=case["forced"],
            )
        )
        assert len(pairs) == case["n_selected"]
        assert [list(pair.window1) for pair in pairs] == arrays[f"select{number}/cellsA"].tolist()
        assert [list(pair.window2) for pair in pairs] == arrays[f"select{number}/cellsB"].tolist()


@pytest.mark.parametrize("share", [0.9, 1.0])
def test_the_order_of_windows(arrays: dict[str, np.ndarray], share: float) -> None:
    weights = arrays["greedy/w"]
    before = weights.copy()
    assert list(greedy_cover(weights, share)) == arrays[f"greedy/order_{share}"].tolist()
    np.testing.assert_array_equal(weights, before)


def test_windows_that_cover_all_come_to_an_end() -> None:
    """These sums miss their target by a rounding: without an end of its own the loop would never stop."""
    weights = np.random.default_rng(0).uniform(size=(30, 200))
    rows = list(greedy_cover(weights, 1.0))
    assert len(set(rows)) == len(rows)
    np.testing.assert_array_equal(weights[rows].max(0), weights.max(0))
    assert list(greedy_cover(np.empty((0, 5)))) == list(greedy_cover(np.zeros((3, 5)))) == []


def test_homographies(cases: dict[str, list[Any]]) -> None:
    for case in cases["crop_to_homography"]:
        size_wh, intrinsics, rotation, homography = crop_to_homography(np.array(case["K"]), case["crop"])
        assert list(size_wh) == case["imsize"]
        np.testing.assert_allclose(intrinsics, case["K_new"], rtol=1e-9)
        # Upstream rounds rays to float32 on the way.
        np.testing.assert_allclose(rotation, case["R"], atol=1e-7)
        np.testing.assert_allclose(homography, case["H_new_to_old"], rtol=1e-7, atol=1e-4)


def view_of(photo: Image.Image, intrinsics: np.ndarray) -> ReferenceView:
    """A query's view of a photo."""
    return ReferenceView(
        intrinsics=intrinsics.astype(np.float32),
        distortion=[0.0] * 4,
        cam_to_world=np.eye(4, dtype=np.float32),
        rgb=photo,
        rgb_rescaled=torch.zeros(3, 16, 16),
        to_orig=np.eye(3),
        idx=0,
        image_name="photo",
    )


def ramps(width: int, height: int) -> Image.Image:
    """The image that the golden of `resize_image_to_max` was made with."""
    rows, columns = np.mgrid[:height, :width]
    planes = 255 * columns / width, 255 * rows / height, (rows + columns) % 256
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def test_capped_photos(cases: dict[str, list[Any]], arrays: dict[str, np.ndarray]) -> None:
    compared = 0
    for case in cases["resize_image_to_max"]:
        size, limit = (case["W"], case["H"]), case["max_image_size"]
        found = cap_photo(view_of(ramps(*size), np.array(case["K"])), limit)
        assert list(capped_shape(size, limit)) == list(found.shape) == case["out_HW"]
        np.testing.assert_allclose(found.intrinsics, case["K_new"], atol=1e-4)
        np.testing.assert_allclose(found.to_photo, case["to_orig"], rtol=1e-12)
        corner = np.array([[size[0], size[1]]])
        np.testing.assert_allclose(found.in_photo(found.from_photo(corner)), corner)
        golden = arrays.get(f"resize_max/{size[0]}x{size[1]}_{limit}[::8]")
        if golden is not None:
            np.testing.assert_allclose(found.image[::8, ::8].numpy(), golden, atol=2e-5)
            compared += 1
    assert compared == 3


@pytest.fixture(scope="module")
def board(arrays: dict[str, np.ndarray]) -> tuple[torch.Tensor, KnownPoints]:
    """The image and the points that the crops' goldens were made from."""
    rows, columns = np.mgrid[:200, :260]
    squares = np.where((rows // 8 + columns // 8) % 2 == 0, -1.0, 1.0)
    image = np.stack([2 * columns / 260 - 1, 2 * rows / 200 - 1, squares], axis=-1).astype(np.float32)
    pts3d = np.full((200 * 260, 3), np.nan, dtype=np.float32)
    pts3d[arrays["crop/pts_idx"]] = arrays["crop/pts"]
    pts3d = pts3d.reshape(200, 260, 3)
    return torch.from_numpy(image), KnownPoints(pts3d, np.isfinite(pts3d).all(axis=-1))


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("kind", ["slice", "homography"])
def test_crops(
    arrays: dict[str, np.ndarray], board: tuple[torch.Tensor, KnownPoints], number: int, kind: str
) -> None:
    image, points = board
    golden = {
        name.split("/", 1)[1]: value
        for name, value in arrays.items()
        if name.startswith(f"crop{number}_{kind}/")
    }
    left, top, right, bottom = golden["box"].tolist()
    window = left, top, right, bottom
    crop = (
        plain_crop(image, window, points)
        if kind == "slice"
        else homography_crop(image, window, arrays["crop/K"], points)
    )
    # The homography is float32's digits away from upstream's: a few pixels round to the next grey level.
    off = np.abs(crop.image[::4, ::4].numpy() - golden["img[::4]"])
    assert off.max() < 2 / 255 + 1e-6
    assert np.mean(off > 1e-6) <= (0 if kind == "slice" else 0.002)
    np.testing.assert_allclose(crop.to_photo, golden["to_orig"], rtol=1e-6, atol=1e-5)
    assert crop.points is not None
    np.testing.assert_array_equal(np.argwhere(crop.points.valid), golden["valid_yx"])
    np.testing.assert_array_equal(crop.points.pts3d[crop.points.valid], golden["pts"])


def test_pixels_of_a_crop_in_its_photo() -> None:
    crop = Crop(torch.zeros(4, 4, 3), np.array([[1.0, 0.0, 10.0], [0.0, 1.0, 20.0], [0.1, 0.0, 1.0]]))
    np.testing.assert_allclose(crop.in_photo(np.array([[0, 0], [10, 0]])), [[10, 20], [10, 10]])


def blank(name: str, width: int, height: int) -> CappedPhoto:
    known = KnownPoints(np.zeros((height, width, 3), "f4"), np.ones((height, width), dtype=bool))
    return CappedPhoto(name, torch.zeros(height, width, 3), np.eye(3), np.eye(3), known)


def test_photos_that_hold_no_window_are_refused_where_upstream_fails(cases: dict[str, list[Any]]) -> None:
    network, nothing = PairPredictor(AnalyticNetwork(512)), np.empty((0, 2))
    fitting = blank("fitting", 640, 480)
    outcomes = []
    for width, height, _, outcome in cases["c2f_512_window_fits"]:
        photo = blank("small", width, height)
        for query, map_image in ((photo, fitting), (fitting, photo)):
            keywords = {"maxdim": 512, "options": ReferenceOptions(coarse_to_fine=True)}
            if outcome == "ok":
                assert len(match_finely(network, query, map_image, nothing, nothing, **keywords)) == 0
            else:
                with pytest.raises(InputError, match=f"small \\({width}x{height}\\)"):
                    match_finely(network, query, map_image, nothing, nothing, **keywords)
        outcomes.append(outcome)
    assert len(set(outcomes)) > 1
