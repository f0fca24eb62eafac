"""The reference pipeline beside its numbers: options, failures, what it hands out, real networks (spec 50 A)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mast3r_model import AsymmetricCroCo3DStereo, AsymmetricMASt3R, ConfigError, InputError
from mast3r_visloc.datasets import VislocCambridgeLandmarks
from mast3r_visloc.reference import (
    MapMatches,
    ReferenceOptions,
    ReferencePipeline,
    ReferenceView,
    brute_force,
    reference_views,
)
from mast3r_visloc.reference.brute_force import largest_products
from mast3r_visloc.reference.network import PairPredictor

from .analytic_network import AnalyticNetwork

KEEP_MOST = ReferenceOptions(confidence_threshold=0.5, pnp_mode="poselib")


@pytest.fixture(scope="module")
def views(goldens: Path) -> list[ReferenceView]:
    root = str(goldens / "datasets" / "Cambridge_Landmarks")
    dataset = VislocCambridgeLandmarks(root, subscene="KingsCollege", pairsfile="AP-GeM-LM18_top50", topk=2)
    return reference_views(dataset, 0, 224)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel_tol": 0}, "pixel_tol must be above 0, got 0"),
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"max_image_size": -1}, "max_image_size"),
        ({"pnp_max_points": 0}, "pnp_max_points"),
        ({"reprojection_error": float("nan")}, "reprojection_error"),
        ({"reprojection_error_diag_ratio": 0.0}, "reprojection_error_diag_ratio"),
        ({"pnp_mode": "opencv"}, "pnp_mode must be one of cv2, poselib, pycolmap, got 'opencv'"),
        ({"matcher": "dense"}, "matcher"),
        ({"matcher": "points3d", "coarse_to_fine": True}, "coarse_to_fine needs descriptors"),
    ],
)
def test_options_that_mean_nothing(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReferenceOptions(**changes)  # type: ignore[arg-type]


def test_defaults_are_those_of_the_scripts() -> None:
    assert ReferenceOptions().min_confidence == 1.001
    assert ReferenceOptions(matcher="points3d").min_confidence == 3.0
    assert ReferenceOptions(confidence_threshold=0.0).min_confidence == 0.0
    assert ReferenceOptions().threshold_px((300, 400)) == 5.0
    assert ReferenceOptions(reprojection_error_diag_ratio=0.008).threshold_px((300, 400)) == pytest.approx(
        4.0
    )


def test_a_pose_and_what_it_rests_on(views: list[ReferenceView]) -> None:
    handed: list[tuple[str, str, MapMatches]] = []
    pipeline = ReferencePipeline(
        AnalyticNetwork(224), KEEP_MOST, on_matches=lambda *found: handed.append(found)
    )
    pose = pipeline.localize(iter(views))
    assert [names for *names, _ in handed] == [[views[0].image_name, view.image_name] for view in views[1:]]
    assert list(pose.candidates) == [view.image_name for view in views[1:]]
    assert pose.success
    assert pose.method == "pnp"
    assert pose.reason is None
    assert pose.camera.shape == (views[0].rgb.height, views[0].rgb.width)
    np.testing.assert_allclose(pose.camera.intrinsics, views[0].intrinsics, rtol=1e-6)
    found = pose.correspondences
    everything = MapMatches.concatenate([matches for *_, matches in handed])
    confident = everything[everything.confidence >= 0.5]
    assert 0 < len(confident) < len(everything)
    np.testing.assert_array_equal(found.query_xy, confident.query_xy)
    np.testing.assert_array_equal(found.xyz, confident.xyz)
    counts = [int((matches.confidence >= 0.5).sum()) for *_, matches in handed]
    assert np.bincount(found.map_image).tolist() == counts
    assert pose.num_inliers == found.inlier.sum()
    assert 0.8 < pose.inlier_ratio <= 1
    pipeline_match = pipeline.match(views[0], views[1])
    np.testing.assert_array_equal(pipeline_match.map_xy, handed[0][2].map_xy)


def test_inliers_follow_the_threshold(views: list[ReferenceView]) -> None:
    def inliers(pixels: float) -> int:
        options = replace(KEEP_MOST, reprojection_error=pixels)
        return ReferencePipeline(AnalyticNetwork(224), options).localize(views).num_inliers

    assert 0 < inliers(0.5) < inliers(5.0)


def test_too_many_points_are_drawn_from_repeatably(views: list[ReferenceView]) -> None:
    def pose(seed: int) -> np.ndarray:
        options = replace(KEEP_MOST, pnp_max_points=100, seed=seed)
        found = ReferencePipeline(AnalyticNetwork(224), options).localize(views)
        assert len(found.correspondences) > 100
        assert found.cam2world is not None
        return found.cam2world

    np.testing.assert_array_equal(pose(0), pose(0))
    assert not np.array_equal(pose(0), pose(1))


def test_why_there_is_no_pose(views: list[ReferenceView]) -> None:
    network = AnalyticNetwork(224)
    alone = ReferencePipeline(network, KEEP_MOST).localize(views[:1])
    nothing_sure = ReferencePipeline(network, replace(KEEP_MOST, confidence_threshold=9.0)).localize(views)
    scrambled = [
        replace(
            view, pts3d_rescaled=np.random.default_rng(0).normal(size=view.pts3d_rescaled.shape).astype("f4")
        )
        for view in views[1:]
        if view.pts3d_rescaled is not None
    ]
    nonsense = ReferencePipeline(
        network, replace(KEEP_MOST, pnp_mode="cv2", reprojection_error=1e-6)
    ).localize([views[0], *scrambled])
    for pose, reason in (
        (alone, "no_candidates"),
        (nothing_sure, "few_matches"),
        (nonsense, "few_inliers"),
    ):
        assert (pose.success, pose.reason) == (False, reason)
        assert pose.cam2world is None
        assert pose.method is None
        assert pose.num_inliers == 0


def test_views_that_are_none(views: list[ReferenceView]) -> None:
    pipeline = ReferencePipeline(AnalyticNetwork(224), KEEP_MOST)
    with pytest.raises(InputError, match="got no views"):
        pipeline.localize([])
    with pytest.raises(InputError, match="no 3D points"):
        pipeline.localize([views[0], views[0]])


def test_only_the_querys_size_decides_on_windows(views: list[ReferenceView]) -> None:
    """Both photos are 352 pixels long; capped to 224 the query fits into the network."""
    for limit, calls in ((None, 4), (300, 4), (224, 2)):
        network = AnalyticNetwork(224)
        options = replace(KEEP_MOST, coarse_to_fine=True, max_image_size=limit)
        ReferencePipeline(network, options).localize(views)
        assert network.calls == calls


@pytest.mark.parametrize("blocks", [(8192, 2048), (7, 5)])
def test_largest_products(monkeypatch: pytest.MonkeyPatch, blocks: tuple[int, int]) -> None:
    monkeypatch.setattr(brute_force, "DATABASE_BLOCK", blocks[0])
    monkeypatch.setattr(brute_force, "QUERY_BLOCK", blocks[1])
    queries, database = torch.randint(-2, 3, (2, 40, 3), generator=torch.Generator().manual_seed(0)).float()
    products = queries @ database.T
    first = [int(np.flatnonzero(row == row.max())[0]) for row in products.numpy()]
    assert any((row == row.max()).sum() > 1 for row in products.numpy())
    assert largest_products(queries, database).tolist() == first
    assert largest_products(queries[:0], database).tolist() == []


SMALL = {
    "pos_embed": "RoPE100", "img_size": (32, 32), "enc_embed_dim": 16, "enc_depth": 1, "enc_num_heads": 1,
    "dec_embed_dim": 16, "dec_depth": 2, "dec_num_heads": 1, "landscape_only": False,
}  # fmt: skip


def test_real_networks() -> None:
    """A batch gives what its pairs give alone; a network without descriptors is refused."""
    torch.manual_seed(0)
    mast3r = AsymmetricMASt3R(**SMALL, head_type="catconv", output_mode="pts3d+desc4").eval()
    predictor = PairPredictor(mast3r)
    queries, map_images = torch.rand(2, 3, 32, 48), torch.rand(2, 3, 48, 32)
    together = predictor.describe(queries, map_images)
    for number, pair in enumerate(together):
        (alone,) = predictor.describe(queries[number : number + 1], map_images[number : number + 1])
        for found, expected, shape in zip(pair, alone, ((32, 48), (48, 32)), strict=True):
            assert found.descriptors.shape == (*shape, 4)
            assert not found.descriptors.requires_grad
            torch.testing.assert_close(found.descriptors, expected.descriptors, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found.confidence, expected.confidence, rtol=1e-4, atol=1e-5)
    pointed, _ = predictor.point(queries[0], map_images[0])
    assert pointed.points.shape == (32, 48, 3)

    dust3r = AsymmetricCroCo3DStereo(**SMALL, head_type="linear", output_mode="pts3d").eval()
    with pytest.raises(InputError, match="needs desc and desc_conf"):
        PairPredictor(dust3r).describe(queries, map_images)
    assert PairPredictor(dust3r).point(queries[0], map_images[0])[1].confidence.shape == (48, 32)
