"""The dense alignment on made-up scenes: cameras found, known ones kept, subsampling, invariances, errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mast3r_match import Correspondences
from mast3r_model import InputError
from mast3r_sfm.dense import (
    DenseOptions,
    DenseProblem,
    GlobalAlignerMode,
    KnownCameras,
    align_dense,
    complete_depths,
    edges_of,
    global_aligner,
)
from mast3r_sfm.predictions.records import TwoViewPrediction

from .conftest import TrueScene, camera_errors, make_scene, network_output


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_consistent_pointmaps_give_the_true_cameras(scene: TrueScene, stride: int) -> None:
    problem = DenseProblem.from_edges(scene.edges(), stride=stride)
    result = align_dense(problem, iterations=0)
    assert result.final_loss < 1e-4
    errors = camera_errors(result.cam2world, scene.cam2world)
    assert errors.rotation_deg < 0.05
    assert errors.center_rms < 1e-3
    torch.testing.assert_close(result.intrinsics, scene.intrinsics, rtol=1e-3, atol=1e-2)
    assert result.pairwise_scales.log().mean().exp() == pytest.approx(0.5, rel=1e-5)
    completed = complete_depths(result, problem, scene.edges)
    ratios = torch.cat(
        [(ours / true).flatten() for ours, true in zip(completed.depths, scene.depths, strict=True)]
    )
    assert (ratios / ratios.median() - 1).abs().max() < 1e-3


def test_optimisation_lowers_the_loss_of_noisy_pointmaps(scene: TrueScene) -> None:
    result = align_dense(DenseProblem.from_edges(scene.edges(noise=0.02)), iterations=60)
    assert result.final_loss < 0.8 * result.losses[0]
    assert camera_errors(result.cam2world, scene.cam2world).rotation_deg < 1


def test_metric_scale_undoes_the_normalisation(scene: TrueScene) -> None:
    problem = DenseProblem.from_edges(scene.edges())
    result = align_dense(problem, iterations=0)
    metric = result.rescaled(result.metric_scale)
    assert metric.metric_scale == pytest.approx(1, rel=1e-5)
    # The edges are 1 to 1.1 times too large.
    ratio = float((metric.depths[0] / scene.depths[0]).median())
    assert 1 < ratio < 1.1
    with pytest.raises(InputError, match="no parameters"):
        complete_depths(metric, problem, scene.edges)


def test_the_scene_follows_the_unit_of_the_predictions(scene: TrueScene) -> None:
    edges = scene.edges()
    scaled = [replace(edge, pts3d_i=7 * edge.pts3d_i, pts3d_j=7 * edge.pts3d_j) for edge in edges]
    first, second = (align_dense(DenseProblem.from_edges(e), iterations=0) for e in (edges, scaled))
    torch.testing.assert_close(second.cam2world[:, :3, :3], first.cam2world[:, :3, :3], atol=1e-3, rtol=0)
    torch.testing.assert_close(
        second.cam2world[:, :3, 3], 7 * first.cam2world[:, :3, 3], atol=1e-2, rtol=1e-3
    )
    assert second.metric_scale == pytest.approx(first.metric_scale)


def test_the_loss_does_not_depend_on_the_images_numbers(scene: TrueScene) -> None:
    edges = scene.edges(noise=0.02)
    order = [2, 0, 3, 1]
    renumbered = [replace(edge, i=order[edge.i], j=order[edge.j]) for edge in edges]
    first, second = (align_dense(DenseProblem.from_edges(e), iterations=0) for e in (edges, renumbered))
    assert first.final_loss == pytest.approx(second.final_loss, rel=1e-4)
    torch.testing.assert_close(first.cam2world, second.cam2world[order], atol=1e-4, rtol=1e-4)


def test_chunks_change_nothing(scene: TrueScene) -> None:
    problem = DenseProblem.from_edges(scene.edges(noise=0.02))
    whole, parts = (
        align_dense(problem, options=DenseOptions(max_points=bound), iterations=0) for bound in (1 << 22, 500)
    )
    assert whole.final_loss == pytest.approx(parts.final_loss, rel=1e-5)
    torch.testing.assert_close(whole.cam2world, parts.cam2world, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("images", [[1], [0, 2], [0, 1, 2, 3]])
def test_known_poses_are_kept_and_the_others_join_their_frame(scene: TrueScene, images: list[int]) -> None:
    known = KnownCameras.from_arrays(4, cam2world={i: scene.cam2world[i] for i in images})
    result = align_dense(DenseProblem.from_edges(scene.edges()), known=known, iterations=20)
    torch.testing.assert_close(result.cam2world[images], scene.cam2world[images], atol=1e-5, rtol=1e-5)
    if len(images) > 1:  # the scale is known, too
        torch.testing.assert_close(result.cam2world, scene.cam2world, atol=0.03, rtol=0)
        assert abs(float((result.depths[3] / scene.depths[3]).median()) - 1) < 0.02


def test_known_intrinsics_are_kept_for_some_images(scene: TrueScene) -> None:
    odd = scene.intrinsics[1].clone()
    odd[0, 0] *= 1.05
    odd[:2, 2] += 1.5
    known = KnownCameras.from_arrays(4, intrinsics={1: odd})
    options = DenseOptions(optimize_principal_points=True)
    result = align_dense(DenseProblem.from_edges(scene.edges()), options=options, known=known, iterations=5)
    torch.testing.assert_close(result.intrinsics[1], odd, rtol=1e-5, atol=1e-5)
    assert (result.intrinsics[0, 0, 0] != scene.intrinsics[0, 0, 0]).item()
    again = align_dense(
        DenseProblem.from_edges(scene.edges()),
        options=options,
        known=KnownCameras.from_arrays(4, intrinsics={2: odd}, cam2world={2: scene.cam2world[2]}),
        start=result.parameters,
        iterations=1,
    )
    torch.testing.assert_close(again.intrinsics[2], odd, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(again.cam2world[2], scene.cam2world[2], rtol=1e-5, atol=1e-5)


def test_wrong_edges_can_be_weighed_down(scene: TrueScene) -> None:
    edges = scene.edges()
    wrong = edges[-1]
    edges[-1] = replace(wrong, pts3d_j=wrong.pts3d_j.flip(0), conf_j=0.3 * wrong.conf_j)
    weights = torch.ones(len(edges))
    weights[-1] = 0
    problem = DenseProblem.from_edges(edges)
    plain, weighed = (align_dense(problem, edge_weights=w, iterations=20, lr=1e-3) for w in (None, weights))
    assert weighed.final_loss < 0.2 * plain.final_loss
    assert camera_errors(weighed.cam2world, scene.cam2world).rotation_deg < 0.2


def test_points_that_are_not_finite_do_not_count(scene: TrueScene) -> None:
    edges = scene.edges()
    spoiled = edges[0].pts3d_j.clone()
    spoiled[3, 4] = torch.nan
    edges[0] = replace(edges[0], pts3d_j=spoiled)
    result = align_dense(DenseProblem.from_edges(edges), iterations=0)
    assert result.final_loss < 1e-4
    assert torch.isfinite(result.cam2world).all()


def test_adaptors_and_separate_focals_move_when_asked(scene: TrueScene) -> None:
    options = DenseOptions(allow_adaptors=True, separate_focals=True)
    result = align_dense(DenseProblem.from_edges(scene.edges(noise=0.02)), options=options, iterations=5)
    assert result.parameters is not None
    assert (result.parameters.adaptors != 0).any()
    assert (result.intrinsics[:, 0, 0] != result.intrinsics[:, 1, 1]).all()


def test_two_view_predictions_are_both_passes(scene: TrueScene) -> None:
    edges = {(edge.i, edge.j): edge for edge in scene.edges()}
    none = torch.zeros(0, 2)
    predictions = []
    for i, j in [(1, 0), (2, 1), (3, 2)]:
        one, two = edges[i, j], edges[j, i]
        predictions.append(
            TwoViewPrediction(
                i,
                j,
                *(one.pts3d_i, one.conf_i, one.pts3d_j, one.conf_j),
                *(two.pts3d_i, two.conf_i, two.pts3d_j, two.conf_j),
                matches=Correspondences(none, none, torch.zeros(0)),
            )
        )
    problem = DenseProblem.from_predictions(predictions, stride=2)
    assert problem.is_symmetrized
    result = align_dense(problem, iterations=0)
    assert camera_errors(result.cam2world, scene.cam2world).center_rms < 1e-3
    completed = complete_depths(result, problem, lambda: edges_of(predictions))
    assert [depth.shape for depth in completed.depths] == [depth.shape for depth in scene.depths]


def test_images_only_seen_as_second_view_are_placed(scene: TrueScene) -> None:
    edges = [edge for edge in scene.edges() if edge.i == 0]
    problem = DenseProblem.from_edges(edges)
    assert not problem.is_symmetrized
    assert np.isfinite(align_dense(problem, iterations=0).final_loss)  # PnP guesses the focals
    known = KnownCameras.from_arrays(4, intrinsics=dict(enumerate(scene.intrinsics)))
    result = align_dense(problem, known=known, iterations=0)
    assert camera_errors(result.cam2world, scene.cam2world).center_rms < 1e-3
    unsure = [replace(edge, conf_i=edge.conf_i / 10, conf_j=edge.conf_j / 10) for edge in scene.edges()]
    result = align_dense(DenseProblem.from_edges(unsure), iterations=0)  # no pixel is sure enough for PnP
    assert camera_errors(result.cam2world, scene.cam2world).center_rms < 1e-2


def test_errors_say_what_is_wrong(scene: TrueScene) -> None:
    edges = scene.edges()
    with pytest.raises(InputError, match="no edges"):
        DenseProblem.from_edges([])
    with pytest.raises(InputError, match="itself"):
        DenseProblem.from_edges([replace(edges[0], j=edges[0].i)])
    with pytest.raises(InputError, match="without holes"):
        DenseProblem.from_edges([replace(edges[0], i=5)])
    with pytest.raises(InputError, match="two sizes"):
        DenseProblem.from_edges(
            [edges[0], replace(edges[0], pts3d_i=edges[0].pts3d_j, conf_i=edges[0].conf_j)]
        )
    with pytest.raises(InputError, match="expected \\(h, w, 3\\)"):
        DenseProblem.from_edges([replace(edges[0], conf_i=edges[0].conf_i[1:])])
    apart = [edge for edge in edges if {edge.i, edge.j} in ({0, 1}, {2, 3})]
    with pytest.raises(InputError, match="2 components"):
        align_dense(DenseProblem.from_edges(apart))
    problem = DenseProblem.from_edges(edges)
    with pytest.raises(InputError, match="no known pose"):
        align_dense(problem, start="known")
    with pytest.raises(InputError, match="distance"):
        DenseOptions(distance="l3")
    with pytest.raises(InputError, match="schedule"):
        align_dense(problem, schedule="steps", iterations=1)
    result = align_dense(problem, iterations=0)
    with pytest.raises(InputError, match="predictions for"):
        complete_depths(result, problem, lambda: edges[:-1])
    with pytest.raises(InputError, match="another one"):
        complete_depths(result, problem, lambda: edges[::-1])


class TestUpstreamsFace:
    def scene(self, mode: str = "PointCloudOptimizer", **options: object) -> object:
        output = network_output(make_scene().edges())
        return global_aligner(output, "cpu", GlobalAlignerMode[mode], verbose=False, **options)

    def test_everything_users_call(self) -> None:
        scene = self.scene()
        assert (scene.n_imgs, scene.n_edges, scene.is_symmetrized) == (4, 12, True)
        with pytest.raises(InputError, match="not been aligned"):
            scene.get_im_poses()
        loss = scene.compute_global_alignment(init="mst", niter=10, schedule="linear", lr=0.01)
        assert loss < 0.2
        assert scene.get_focals().shape == (4, 1)
        assert scene.get_principal_points().shape == (4, 2)
        assert scene.get_im_poses().shape == (4, 4, 4)
        assert scene.get_intrinsics().shape == (4, 3, 3)
        for maps in (scene.get_depthmaps(), scene.get_masks(), scene.get_conf()):
            assert [tuple(m.shape) for m in maps] == scene.imshapes
        assert [tuple(m.shape) for m in scene.get_pts3d()] == [(*shape, 3) for shape in scene.imshapes]
        assert scene.imgs is None
        scene.min_conf_thr = float(scene.conf_trf(torch.tensor(4.5)))
        assert all(
            mask.all() for mask in scene.get_masks()
        )  # the threshold is raw, the demo's is a logarithm
        further = scene.compute_global_alignment(niter=5)
        assert further < 0.2

    def test_images_come_from_the_views(self) -> None:
        edges = make_scene(2, shapes=((18, 24),)).edges()
        output = network_output(edges, stacked=True)
        for view, column in (("view1", "i"), ("view2", "j")):
            output[view]["img"] = torch.stack(
                [torch.full((3, 18, 24), -1.0 + getattr(edge, column)) for edge in edges]
            )
        scene = global_aligner(output, "cpu", verbose=False)
        np.testing.assert_array_equal(scene.imgs[0], np.zeros((18, 24, 3)))
        np.testing.assert_array_equal(scene.imgs[1], np.full((18, 24, 3), 0.5))

    def test_presets_by_mask(self) -> None:
        truth = make_scene()
        scene = self.scene("ModularPointCloudOptimizer", fx_and_fy=True, optimize_pp=True)
        scene.preset_pose([truth.cam2world[0], truth.cam2world[3]], [True, False, False, True])
        scene.preset_focal([(30.0, 31.0)], [2])
        scene.preset_principal_point([(11.0, 9.5)], 1)
        scene.compute_global_alignment(init="mst", niter=3)
        torch.testing.assert_close(scene.get_im_poses()[[0, 3]], truth.cam2world[[0, 3]])
        torch.testing.assert_close(scene.get_focals()[2], torch.tensor([30.0, 31.0]))
        torch.testing.assert_close(scene.get_principal_points()[1], torch.tensor([11.0, 9.5]))
        with pytest.raises(InputError, match="3 known focals for 4"):
            scene.preset_focal([1, 2, 3])

    def test_random_start_and_going_on(self) -> None:
        draws = []

        def rand_pose(*shape: int) -> torch.Tensor:
            draws.append(shape)
            return torch.randn(shape, generator=torch.Generator().manual_seed(0))

        scene = self.scene(rand_pose=rand_pose)
        first = scene.compute_global_alignment(niter=2)
        assert draws
        assert scene.compute_global_alignment(niter=2) < first
        with pytest.raises(InputError, match="init is 'best'"):
            scene.compute_global_alignment(init="best")

    def test_pair_viewer_wants_two_images(self) -> None:
        with pytest.raises(InputError, match="pair viewer needs"):
            self.scene("PairViewer")

    def test_pair_viewer_on_a_consistent_pair(self) -> None:
        truth = make_scene(2)
        scene = global_aligner(network_output(truth.edges()), "cpu", GlobalAlignerMode.PairViewer)
        ours, true = (torch.linalg.inv(p[0]) @ p[1] for p in (scene.get_im_poses(), truth.cam2world))
        torch.testing.assert_close(ours[:3, :3], true[:3, :3], atol=1e-3, rtol=0)
        assert scene.get_focals().shape == (2,)
