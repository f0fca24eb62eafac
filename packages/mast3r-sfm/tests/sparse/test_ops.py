"""Trees, losses, points and projections against the goldens (spec 30 section 6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mast3r_model import InputError
from mast3r_sfm.sparse import GammaLoss, connected_components, kinematic_tree
from mast3r_sfm.sparse.adam import cosine_schedule
from mast3r_sfm.sparse.cameras import Cameras, pixel_depth, project, to_camera, to_world
from mast3r_sfm.sparse.tree import cluster_distance, cluster_similarity, merge_order

Goldens = Callable[[str], Path]
LINKAGES = ("ward", "complete", "average", "single")


def test_trees_equal_the_golden(goldens: Goldens) -> None:
    for case in json.loads(goldens("sfm/ops/ops.json").read_text())["trees"]:
        counts = torch.tensor(case["scores"])
        shapes = torch.tensor(case["imsizes"]).flip(-1)
        tree = kinematic_tree(counts, mode="mst")
        assert (tree.root, tree.edges.tolist()) == (case["mst_root"], case["mst_edges"])
        similarity = cluster_similarity(counts.double().numpy(), shapes, case["subsample"])
        for linkage in LINKAGES:
            golden = case[f"hclust_{linkage}"]
            if golden["distance"]:
                np.testing.assert_allclose(cluster_distance(similarity), golden["distance"], atol=1e-12)
            assert [list(merge) for merge in merge_order(similarity, linkage)] == golden["merges"]
            tree = kinematic_tree(
                counts, mode=f"hclust-{linkage}", shapes=shapes, subsample=case["subsample"]
            )
            assert (tree.root, tree.edges.tolist()) == (golden["root"], golden["edges"])
            assert torch.cat(tree.levels).tolist() == tree.edges.tolist()


def test_disconnected_images_are_named() -> None:
    counts = torch.zeros(4, 4, dtype=torch.int64)
    counts[1, 3] = counts[3, 1] = 5
    assert connected_components(counts) == [[1, 3], [0], [2]]
    with pytest.raises(InputError, match="3 groups"):
        kinematic_tree(counts)
    with pytest.raises(InputError, match="unknown kind of tree"):
        kinematic_tree(torch.ones(2, 2, dtype=torch.int64), mode="star")
    with pytest.raises(InputError, match="unknown linkage"):
        kinematic_tree(torch.ones(2, 2, dtype=torch.int64), mode="hclust-x", shapes=torch.full((2, 2), 64))


@pytest.mark.parametrize("gamma", ["0.5", "1.1", "1.5", "1", "2", "0.7"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_losses_and_gradients_equal_the_golden(goldens: Goldens, gamma: str, dimension: int) -> None:
    golden = np.load(goldens("sfm/ops/losses.npz"))
    suffix = "" if dimension == 3 else "2"
    resid, y = (torch.from_numpy(golden[name + suffix]) for name in ("resid", "y"))
    for dtype, bits, tolerance in ((torch.float64, "", 1e-12), (torch.float32, "32", 1e-5)):
        x = (y + resid).to(dtype).requires_grad_()
        loss = GammaLoss(float(gamma))
        values = loss(x, y.to(dtype))
        values.sum().backward()
        tag = f"g{gamma}_d{dimension}"
        np.testing.assert_allclose(
            values.detach(), golden[f"val{bits}_{tag}"], rtol=tolerance, atol=tolerance
        )
        np.testing.assert_allclose(x.grad, golden[f"grad{bits}_{tag}"], rtol=tolerance, atol=tolerance)
    distance = resid.norm(dim=-1)[1:]
    slope = (torch.from_numpy(golden[f"grad_g{gamma}_d{dimension}"])[1:]).norm(dim=-1)
    torch.testing.assert_close(loss.slope(distance), slope)


def test_loss_with_all_its_options_equals_the_golden(goldens: Goldens) -> None:
    golden = np.load(goldens("sfm/ops/losses.npz"))
    resid, y = torch.from_numpy(golden["resid"]), torch.from_numpy(golden["y"])
    values = GammaLoss(1.5, mul=2, offset=0.3, clip=4)(y + resid, y)
    np.testing.assert_allclose(values, golden["val_g1.5_mul2_off0.3_clip4"], rtol=1e-12)


def test_offsets_and_schedules_equal_the_golden(goldens: Goldens) -> None:
    golden = json.loads(goldens("sfm/ops/ops.json").read_text())
    for gamma, offset in zip(golden["gammas"], golden["offsets"], strict=True):
        assert GammaLoss(gamma).b == pytest.approx(offset or 0.0, abs=1e-12)
    for case in golden["schedules"]:
        ours = [cosine_schedule(case["lr_base"], case["lr_end"], i / case["niter"]) for i in case["iters"]]
        np.testing.assert_allclose(ours, case["cosine"], atol=1e-12)


def test_points_and_projections_equal_the_golden(goldens: Goldens) -> None:
    golden = np.load(goldens("sfm/ops/canonical.npz"))
    K, cam2w = (torch.from_numpy(golden[name])[None] for name in ("mp_K", "mp_cam2w"))
    cameras = Cameras(
        rotation=cam2w[:, :3, :3],
        center=cam2w[:, :3, 3],
        focal=K[:, 0, 0],
        principal_point=K[:, :2, 2],
        base_focal=torch.from_numpy(golden["mp_base_focal"])[None],
    )
    image = torch.zeros(len(golden["dense_idx"]), dtype=torch.int64)
    depth = pixel_depth(
        cameras,
        torch.from_numpy(golden["core_depth_s8"]).reshape(-1),
        image,
        torch.from_numpy(golden["dense_idx"]).long(),
        torch.from_numpy(golden["dense_off"]),
    )
    v, u = np.mgrid[:32, :48]
    xy = torch.from_numpy(np.stack((u, v), -1).reshape(-1, 2)).float()
    np.testing.assert_allclose(depth, golden["mp_depth"], rtol=1e-5)
    points = to_world(cameras, image, to_camera(cameras, image, xy, depth))
    np.testing.assert_allclose(points, golden["mp_pts3d"], rtol=1e-5, atol=1e-5)

    # A projection matrix proportional to K [R | t], taken apart.
    matrix, last = torch.from_numpy(golden["rp_proj"]).double().split([3, 1], 1)
    rotation_transposed, upper = torch.linalg.qr(torch.linalg.inv(matrix))
    signs = upper.diagonal().sign()
    K = torch.linalg.inv(signs[:, None] * upper)
    camera = Cameras(
        rotation=(rotation_transposed * signs)[None],
        center=-torch.linalg.solve(matrix, last).T,
        focal=(K[0, 0] / K[2, 2])[None],
        principal_point=(K[:2, 2] / K[2, 2])[None],
        base_focal=torch.ones(1, dtype=torch.float64),
    )
    flat = torch.from_numpy(golden["rp_pts"]).double()
    uv = project(camera, torch.zeros(len(flat), dtype=torch.int64), flat)
    np.testing.assert_allclose(uv, golden["rp_uv"], atol=1e-4, rtol=1e-5)
