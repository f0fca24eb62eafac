"""The condensed problem against upstream's intermediates (spec 30 section 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mast3r_match import Correspondences
from mast3r_model import InputError
from mast3r_sfm.sparse import CameraPriors, build_problem

GoldenScenes = Callable[[str], Any]


@pytest.mark.parametrize("name", ["noisy", "shared", "exact"])
def test_stages_equal_the_golden(golden_scene: GoldenScenes, name: str) -> None:
    scene = golden_scene(name)
    problem = scene.problem()
    stages = scene.stages
    np.testing.assert_allclose(problem.focal, stages["base_focals"], rtol=1e-4)
    np.testing.assert_allclose(problem.principal_point, stages["pps"])
    np.testing.assert_array_equal(problem.shapes.flip(-1), stages["imsizes"])
    np.testing.assert_array_equal(problem.match_counts(), stages["pairwise_scores"])
    assert float(problem.conf.sum()) * 2 == pytest.approx(scene.runs["stage"]["sum_conf"], rel=1e-6)
    image, anchor = problem.image.reshape(-1), problem.anchor.reshape(-1)
    for i, view in enumerate(scene.views):
        step = 4 if name == "exact" else 1
        np.testing.assert_allclose(
            view.relative_depth[::step, ::step], stages[f"canon2_{i}"], rtol=2e-5, atol=1e-6
        )
        np.testing.assert_allclose(view.core_depth, stages[f"core_depth_{i}"], rtol=1e-5)
        assert float(view.conf.mean()) == pytest.approx(float(stages[f"canon_conf_mean_{i}"]), rel=1e-5)
        # Upstream lists an image's pixels partner by partner; ours lie in the order of pairs, which is the same.
        mine = torch.argsort(torch.arange(len(image)).remainder(problem.num_matches)[image == i], stable=True)
        np.testing.assert_array_equal(problem.xy.reshape(-1, 2)[image == i][mine], stages[f"anchor_uv_{i}"])
        local = anchor[image == i][mine] - problem.anchor_start[i]
        np.testing.assert_array_equal(local, stages[f"anchor_idx_{i}"])
        np.testing.assert_allclose(
            problem.offset.reshape(-1)[image == i][mine], stages[f"anchor_off_{i}"], rtol=1e-5
        )


def test_restriction_keeps_what_belongs_together(golden_scene: GoldenScenes) -> None:
    problem = golden_scene("noisy").problem()
    part = problem.restricted_to([5, 3, 2])
    assert part.pairs.tolist() == [[2, 1], [1, 0]]
    original = {(2, 3): 4, (3, 5): 7}
    for new_pair, old_pair in enumerate(original.values()):
        ours, theirs = part.match_pair == new_pair, problem.match_pair == old_pair
        torch.testing.assert_close(part.xy[:, ours], problem.xy[:, theirs])
        torch.testing.assert_close(
            part.core_depth[part.anchor[:, ours]], problem.core_depth[problem.anchor[:, theirs]]
        )
    assert (part.anchor_image[part.anchor] == part.image).all()
    # Pair (3, 5) is not matched: its records survive, restricted to matches that survive.
    assert part.pair_is_matched.tolist() == [True, False]
    assert len(part.fallback_end) == 220 + 440
    owner = part.image.reshape(-1)[part.fallback_end]
    assert {(int(a), int(b)) for a, b in zip(owner, part.fallback_frame, strict=True)} == {(0, 1), (1, 0)}


def test_useless_pairs_are_left_out_and_wrong_input_refused(golden_scene: GoldenScenes) -> None:
    scene = golden_scene("shared")
    matches = scene.correspondences()
    empty = Correspondences(torch.zeros(0, 2).long(), torch.zeros(0, 2).long(), torch.zeros(0))
    pairs = [*scene.edges, (1, 0), (2, 2), (0, 4)]
    problem = build_problem(scene.views, pairs, [*matches, matches[0], matches[0], empty])
    assert problem.pairs.tolist() == [list(edge) for edge in scene.edges]
    with pytest.raises(InputError, match="not among the 5 views"):
        build_problem(scene.views, [(0, 9)], matches[:1])
    with pytest.raises(InputError, match="1 pairs"):
        build_problem(scene.views, [(0, 1)], matches)
    outside = Correspondences(matches[0].xy0 + 1000, matches[0].xy1, matches[0].confidence)
    with pytest.raises(InputError, match="outside image 0"):
        build_problem(scene.views, [(0, 1)], [outside])


def test_priors_say_what_is_unknown() -> None:
    priors = CameraPriors.build(3, focal=torch.tensor([50.0, torch.nan, 60.0]), focal_sigma=0.01)
    assert priors.has_focal.tolist() == [True, False, True]
    assert not priors.has_pose.any()
    assert priors.restricted_to([2, 1]).focal[0] == 60
    assert CameraPriors.build(3, shared_intrinsics=True).intrinsics_group.tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="expected \\(3,\\)"):
        CameraPriors.build(3, focal=torch.ones(2))
