"""Resize plans and rescaled points are upstream's (goldens ``coarse_to_fine``)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mast3r_model import InputError
from mast3r_visloc.reference.resizing import network_tensor
from mast3r_visloc.reference.views import rescale_grid3d, rescale_points3d, resize_plan


def test_plans(goldens: Path) -> None:
    cases = json.loads((goldens / "coarse_to_fine.json").read_text())["resize"]
    assert len(cases) == 78
    for case in cases:
        plan = resize_plan((case["H"], case["W"]), case["maxdim"])
        assert list(plan.shape) == case["target_HW"]
        np.testing.assert_allclose(plan.to_orig, case["to_orig"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(plan.to_rescaled, case["to_rescaled"], rtol=0, atol=1e-12)
        if max(plan.original) <= 640:  # large photos only cost time
            photo = Image.new("RGB", (case["W"], case["H"]))
            assert list(network_tensor(photo, plan).shape[1:]) == case["out_shape"]


@pytest.mark.parametrize("name", ["rescale", "rescale_ties"])
def test_rescaled_points(goldens: Path, name: str) -> None:
    with np.load(goldens / "coarse_to_fine.npz", allow_pickle=False) as file:
        data = {key: file[key] for key in file.files}
    to_rescaled = data["rescale/to_rescaled"] if name == "rescale" else np.eye(3)
    found = rescale_points3d(data[f"{name}/pts2d"], data[f"{name}/pts3d"], to_rescaled, (384, 512))
    np.testing.assert_array_equal(found.pixels, data[f"{name}/out_int"])
    np.testing.assert_array_equal(np.argwhere(found.valid), data[f"{name}/valid_yx"])
    np.testing.assert_array_equal(found.pts3d[found.valid], data[f"{name}/valid_pts3d"])
    if name == "rescale":  # recorded with the image's corner at 0
        np.testing.assert_allclose(found.xy + 0.5, data["rescale/out_float"], rtol=0, atol=1e-9)


def test_grids_are_rescaled_row_after_row() -> None:
    """Two rows fall into one: the later one wins."""
    grid = np.arange(12, dtype=np.float32).reshape(4, 1, 3)
    grid[3] = np.nan
    found = rescale_grid3d(grid, np.diag([1.0, 0.25, 1.0]), (1, 1))
    np.testing.assert_array_equal(found.pts3d, grid[2:3])


@given(st.integers(8, 4000), st.integers(8, 4000), st.sampled_from([224, 512]))
def test_matrices_undo_each_other(height: int, width: int, maxdim: int) -> None:
    plan = resize_plan((height, width), maxdim)
    np.testing.assert_allclose(plan.to_orig @ plan.to_rescaled, np.eye(3), rtol=0, atol=1e-9)
    corner = plan.to_orig @ [plan.shape[1], plan.shape[0], 1]
    assert corner[0] <= width + 1e-9
    assert corner[1] <= height + 1e-9


def test_photos_of_the_networks_size_stay_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (384, 512, 3), dtype=np.uint8)
    tensor = network_tensor(Image.fromarray(pixels), resize_plan((384, 512), 512))
    assert torch.equal(
        ((tensor + 1) / 2 * 255).round().to(torch.uint8), torch.tensor(pixels).permute(2, 0, 1)
    )


def test_photos_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="1x1 pixels is too thin"):
        resize_plan((1, 1), 512)


def test_other_networks_are_refused() -> None:
    with pytest.raises(InputError, match="224, 512"):
        resize_plan((480, 640), 384)
