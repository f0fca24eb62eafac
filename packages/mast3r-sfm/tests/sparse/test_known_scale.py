"""Images whose place and size in the world are known: those of a finished scene that others are added to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mast3r_model import InputError
from mast3r_sfm.sparse import CameraPriors, align

GoldenScenes = Callable[[str], Any]
KNOWN = [0, 2, 3]


@pytest.mark.parametrize("known", [KNOWN, [2]])
def test_known_images_give_the_world_its_size(golden_scene: GoldenScenes, known: list[int]) -> None:
    """Their canonical depth is twice the network's in a world twice as large: so everything must be."""
    scene = golden_scene("noisy")
    problem = scene.problem(matching_conf_thr=0.0)
    alone = align(problem)
    sized = torch.zeros(6, dtype=torch.bool)
    sized[known] = True
    poses = alone.cam2world.clone()
    poses[:, :3, 3] *= 2
    given = torch.where(sized[:, None, None], poses, torch.nan)
    scale = torch.exp(alone.anchor_depth.log() - problem.core_depth.double().log())
    in_world = torch.where(sized[problem.anchor_image], 2 * scale, 1.0)
    priors = CameraPriors.build(6, cam2world=given, scale_known=sized)
    found = align(
        replace(problem, core_depth=(problem.core_depth.double() * in_world).float()),
        priors=priors,
    )
    torch.testing.assert_close(found.cam2world[known], poses[known])
    torch.testing.assert_close(found.cam2world, poses, rtol=0, atol=0.05)
    assert float((found.anchor_depth / alone.anchor_depth).median()) == pytest.approx(2, rel=0.01)


def test_a_known_size_needs_a_known_pose() -> None:
    with pytest.raises(InputError, match="needs a known pose"):
        CameraPriors.build(2, scale_known=torch.tensor([True, False]))
