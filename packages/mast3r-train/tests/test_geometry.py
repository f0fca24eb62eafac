"""Points and correspondences of views (goldens train/views, the part on correspondences)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mast3r_train.geometry import reciprocal_pairs, reproject, sample_correspondences, world_points

Goldens = Callable[[str], Path]


@pytest.fixture
def arrays(goldens: Goldens) -> dict[str, np.ndarray]:
    with np.load(goldens("train/views/views.npz"), allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture
def cases(goldens: Goldens) -> list[dict]:
    return json.loads(goldens("train/views/views.json").read_text())["corres"]


def view(arrays: dict[str, np.ndarray], case: int, number: int) -> dict[str, torch.Tensor]:
    prefix = f"corres.{case}.view{number}."
    return {
        name: torch.from_numpy(arrays[prefix + name])[None] for name in ("depth", "K", "pose", "valid_mask")
    }


@pytest.mark.parametrize("case", [0, 1])
def test_correspondences_equal_upstreams(arrays: dict[str, np.ndarray], cases: list[dict], case: int) -> None:
    first, second = view(arrays, case, 0), view(arrays, case, 1)
    points1 = world_points(first["depth"], first["K"], first["pose"])
    points2 = world_points(second["depth"], second["K"], second["pose"])
    shape = tuple(first["depth"].shape[1:])
    forward = reproject(points1, second["K"], second["pose"], shape)
    backward = reproject(points2, first["K"], first["pose"], shape)
    # A pixel that projects onto a rounding boundary may fall to either side.
    assert (forward[0].numpy() == arrays[f"corres.{case}.c12"]).mean() > 0.999
    assert (backward[0].numpy() == arrays[f"corres.{case}.c21"]).mean() > 0.999
    forward = torch.from_numpy(arrays[f"corres.{case}.c12"].astype(np.int64))[None]
    backward = torch.from_numpy(arrays[f"corres.{case}.c21"].astype(np.int64))[None]
    is_match = reciprocal_pairs(forward, backward)
    assert int(is_match.sum()) == cases[case]["n_reciprocal"]
    valid = first["valid_mask"].flatten(1) & second["valid_mask"].flatten(1).gather(1, forward)
    assert int((is_match & valid).sum()) == cases[case]["n_reciprocal_both_valid"]

    pixels1, width = np.flatnonzero(is_match[0]), shape[1]
    np.testing.assert_array_equal(
        np.stack([pixels1 % width, pixels1 // width], 1), arrays[f"corres.{case}.all1"].astype(np.int64)
    )
    is_partner = np.zeros_like(is_match[0].numpy())
    is_partner[forward[0].numpy()[pixels1]] = True
    for number, sample in enumerate(cases[case]["samples"]):
        drawn = sample_correspondences(
            forward[0].numpy(),
            is_match[0].numpy(),
            is_partner,
            (width, width),
            sample["n"],
            sample["nneg"],
            np.random.default_rng(sample["rng_seed"]),
        )
        assert int(drawn.valid.sum()) == sample["n_valid"]
        for name, value in (("xy1", drawn.xy1), ("xy2", drawn.xy2), ("valid", drawn.valid)):
            np.testing.assert_array_equal(value, arrays[f"corres.{case}.s{number}.{name}"])


def test_too_many_correspondences_for_the_images() -> None:
    nothing = np.zeros(12, bool)
    with pytest.raises(ValueError, match="13 correspondences wanted"):
        sample_correspondences(np.zeros(12, int), nothing, nothing, (4, 4), 13, 0.5, np.random.default_rng(0))


def test_points_that_do_not_project_go_to_the_first_pixel() -> None:
    points = torch.tensor([[[[0.0, 0.0, 0.0], [1e12, 1e12, 1e-9], [float("nan"), 0.0, 1.0]]]])
    index = reproject(points, torch.eye(3)[None], torch.eye(4)[None], (5, 7))
    assert index.tolist() == [[0, 0, 0]]
