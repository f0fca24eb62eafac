"""Dense points and cleaning against the goldens (spec 30 sections 7.2 and 7.3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mast3r_model import InputError
from mast3r_sfm.sparse import Alignment, clean_pointcloud, dense_points

Goldens = Callable[[str], Path]
GoldenScenes = Callable[[str], Any]


@pytest.mark.parametrize("tolerance", ["0.001", "0.05"])
def test_cleaning_equals_the_golden(goldens: Goldens, tolerance: str) -> None:
    golden = {
        key: torch.from_numpy(value)
        for key, value in np.load(goldens("sfm/ops/clean_pointcloud.npz")).items()
    }
    arguments = (golden["K"], golden["cam2w"], list(golden["depth"]), list(golden["pts3d"]))
    before = golden["conf"].clone()
    for pairs in (None, [(0, 1), (2, 1), (0, 2)]):
        confs = clean_pointcloud(
            list(golden["conf"]), *arguments, tolerance=float(tolerance), pairs=pairs, batch=1
        )
        differ = torch.stack(confs) != golden[f"conf_out_tol{tolerance}"]
        assert float(differ.double().mean()) <= 0.002
    torch.testing.assert_close(golden["conf"], before)
    alone = clean_pointcloud(list(golden["conf"]), *arguments, pairs=[(0, 1)])
    torch.testing.assert_close(alone[2], golden["conf"][2])


@pytest.mark.parametrize("name", ["noisy", "exact"])
def test_dense_points_equal_the_golden(golden_scene: GoldenScenes, name: str) -> None:
    scene = golden_scene(name)
    results = scene.results
    alignment = Alignment(
        intrinsics=torch.from_numpy(results["default_K"]),
        cam2world=torch.from_numpy(results["default_cam2w"]),
        anchor_depth=torch.from_numpy(results["default_depth"]).double(),
        base_focal=torch.from_numpy(scene.stages["base_focals"]).double(),
        stages=(),
        solver="golden",
    )
    points = dense_points(scene.views, alignment)
    step = 4 if name == "exact" else 1
    scale = float(np.abs(results["default_dense_pts3d_2"]).max())
    np.testing.assert_allclose(
        points[2].pts3d.reshape(-1, 3)[::step], results["default_dense_pts3d_2"], atol=2e-5 * scale
    )
    np.testing.assert_allclose(
        points[2].depth.reshape(-1)[::step], results["default_dense_depth_2"], rtol=5e-5
    )
    raw = dense_points(scene.views, alignment, clean=False)
    for image, (cleaned, view) in enumerate(zip(points, raw, strict=True)):
        mask = np.unpackbits(results[f"default_cleaned_mask_{image}"])[: view.conf.numel()].astype(bool)
        ours = ((cleaned.conf == 0) & (view.conf != 0)).reshape(-1).numpy()
        assert np.mean(mask != ours) <= 0.01
    pts = alignment.match_points(scene.problem())[scene.problem().image == 0]
    np.testing.assert_allclose(
        np.sort(pts[:, 2]), np.sort(results["default_pts3d_0"][:, 2]), atol=2e-5 * scale
    )
    with pytest.raises(InputError, match="5 views"):
        dense_points(scene.views[:5], alignment)
