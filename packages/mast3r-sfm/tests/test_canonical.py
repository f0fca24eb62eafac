"""Canonical views, focals and anchors against the goldens (spec 30 section 4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mast3r_model import InputError
from mast3r_sfm.canonical import (
    CanonicalAccumulator,
    anchors_of_pixels,
    canonical_view,
    estimate_focal,
    pixel_grid,
)

Goldens = Callable[[str], Path]


@pytest.mark.parametrize("mode", ["avg-angle", "avg-reldepth"])
@pytest.mark.parametrize("subsample", [8, 16])
def test_canonical_maps_equal_the_golden(goldens: Goldens, mode: str, subsample: int) -> None:
    golden = np.load(goldens("sfm/ops/canonical.npz"))
    maps = canonical_view(
        torch.from_numpy(golden["ptmaps"]).float(),
        torch.from_numpy(golden["confs"]).float(),
        subsample=subsample,
        mode=mode,
    )
    for ours, name in ((maps.pts3d, "canon"), (maps.relative_depth, "canon2"), (maps.conf, "conf")):
        np.testing.assert_allclose(ours, golden[f"{name}_{mode}_s{subsample}"], rtol=1e-5, atol=1e-5)


def test_streaming_equals_all_at_once(goldens: Goldens) -> None:
    golden = np.load(goldens("sfm/ops/canonical.npz"))
    points, conf = (torch.from_numpy(golden[name]).float() for name in ("ptmaps", "confs"))
    accumulator = CanonicalAccumulator((32, 48), 8)
    for one_points, one_conf in zip(points, conf, strict=True):
        accumulator.add(one_points, one_conf)
    view = accumulator.finish()
    maps = canonical_view(points, conf)
    torch.testing.assert_close(view.pts3d, maps.pts3d)
    torch.testing.assert_close(view.relative_depth, maps.relative_depth)
    np.testing.assert_allclose(view.core_depth, golden["core_depth_s8"], rtol=1e-5)
    assert view.focal_log_std >= 0


def test_anchors_equal_the_golden(goldens: Goldens) -> None:
    golden = np.load(goldens("sfm/ops/canonical.npz"))
    relative = torch.from_numpy(golden["canon2_avg-angle_s8"])
    index, offset = anchors_of_pixels(relative, torch.from_numpy(golden["anchor_xy"]), 8)
    np.testing.assert_array_equal(index, golden["anchor_idx"])
    np.testing.assert_allclose(offset, golden["anchor_off"], rtol=1e-6)
    index, offset = anchors_of_pixels(relative, pixel_grid((32, 48)), 8)
    np.testing.assert_array_equal(index, golden["dense_idx"])
    np.testing.assert_allclose(offset, golden["dense_off"], rtol=1e-6)


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("mode", ["weiszfeld", "median"])
@pytest.mark.parametrize("bounds", ["raw", "clip"])
def test_focal_equals_the_golden(goldens: Goldens, case: int, mode: str, bounds: str) -> None:
    golden = np.load(goldens("sfm/ops/focal.npz"))
    points = torch.from_numpy(golden[f"pts3d_{case}"])
    height, width, _ = points.shape
    limits = {"min_focal": 0.5, "max_focal": 3.5} if bounds == "clip" else {}
    focal = estimate_focal(points, torch.tensor([width / 2, height / 2]), mode=mode, **limits)
    assert focal == pytest.approx(float(golden[f"focal_{mode}_{bounds}_{case}"][0]), rel=1e-5, abs=1e-6)


def test_the_robust_focal_survives_outliers(goldens: Goldens) -> None:
    golden = np.load(goldens("sfm/ops/focal.npz"))
    points = torch.from_numpy(golden["pts3d_2"])
    height, width, _ = points.shape
    center = torch.tensor([width / 2, height / 2])
    assert estimate_focal(points, center, mode="robust") == pytest.approx(30, rel=0.01)
    conf = torch.full((height, width), 2.0)
    assert estimate_focal(points, center, mode="robust", conf=conf) == pytest.approx(30, rel=0.01)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="blocks of 8"):
        CanonicalAccumulator((30, 48), 8)
    accumulator = CanonicalAccumulator((32, 48), 8)
    with pytest.raises(InputError, match="without any prediction"):
        accumulator.finish()
    with pytest.raises(InputError, match="was added to an image"):
        accumulator.add(torch.ones(16, 16, 3), torch.ones(16, 16))
