"""Upstream's schedule: losses and gradients at the first iterations, and final losses (spec 30 section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mast3r_sfm.sparse import AdamOptions, CameraPriors, KinematicTree, align
from mast3r_sfm.sparse.objective import Objective
from mast3r_sfm.sparse.parameters import Parameters, initial_parameters

GoldenScenes = Callable[[str], Any]
RECORDED = [
    ("exact", "default", {}),
    ("exact", "f64", {"dtype": torch.float64}),
    ("noisy", "default", {}),
    ("noisy", "thr0", {}),
    ("shared", "shared", {}),
]
NAMES = {
    "principal_point": "pp",
    "log_focal": "logf",
    "quaternion": "quat",
    "translation": "trans",
    "log_size": "logsize",
    "core": "core",
}
TRAINABLE = {1: ("quaternion", "translation", "log_size"), 2: tuple(NAMES)}


@pytest.mark.parametrize(("name", "tag", "changes"), RECORDED)
@pytest.mark.parametrize("stage", [1, 2])
def test_first_iteration_equals_the_golden(
    golden_scene: GoldenScenes, name: str, tag: str, changes: dict[str, object], stage: int
) -> None:
    scene = golden_scene(name)
    problem = scene.recorded_problem(0.0 if tag == "thr0" else 5.0)
    priors = CameraPriors.build(problem.num_images, shared_intrinsics=tag == "shared")
    options = AdamOptions(**changes)
    recorded = scene.runs["runs"][tag]["tree"]
    tree = KinematicTree.from_edges(recorded["root"], torch.tensor(recorded["edges"]))
    model, start = initial_parameters(problem, tree, options, priors)
    values = {}
    for ours, theirs in NAMES.items():
        golden = torch.from_numpy(scene.results[f"{tag}_init{stage}_{theirs}"]).to(options.dtype)
        tensor = dict(start.named())[ours]
        if len(golden) != tensor.numel():  # shared: upstream repeats the one row
            golden = golden[: tensor.numel()]
        if stage == 1:
            np.testing.assert_allclose(tensor.reshape(-1), golden, rtol=2e-5, atol=1e-6)
        values[ours] = golden.reshape(tensor.shape).requires_grad_(ours in TRAINABLE[stage])
    # Residuals of hundredths of a pixel: upstream's own single precision is no better than this.
    double = options.dtype == torch.float64
    objective = Objective.build(problem, options, options.dtype)
    loss = (objective.coarse if stage == 1 else objective.fine)(*model.forward(Parameters(**values)))
    loss.backward()
    first_loss = scene.results[f"{tag}_loss{stage}"][0]
    assert float(loss.detach()) == pytest.approx(first_loss, rel=1e-6 if double else 1e-5)
    for ours in TRAINABLE[stage]:
        golden = scene.results[f"{tag}_grad{stage}_{NAMES[ours]}"].reshape(-1)
        gradient = values[ours].grad.reshape(-1).numpy()
        if tag == "shared" and ours in ("log_focal", "principal_point"):
            golden = golden[: len(gradient)]
        if ours in ("quaternion", "translation"):  # the root's is noise
            width = values[ours].shape[1]
            keep = np.ones(len(gradient), dtype=bool)
            keep[tree.root * width : (tree.root + 1) * width] = False
            golden, gradient = golden[keep], gradient[keep]
        tolerance = (1e-5 if stage == 1 else 1e-4 if double else 2e-2) * np.abs(golden).max()
        np.testing.assert_allclose(gradient, golden, atol=tolerance, rtol=0)


def adam_options(recorded: dict[str, object]) -> tuple[AdamOptions, float, bool]:
    """Our options, matching threshold and sharing for a run's options of upstream."""
    names = {
        "kinematic_mode": "tree",
        "opt_depth": "optimize_depth",
        "opt_pp": "optimize_principal_point",
        "niter1": "coarse_iterations",
        "niter2": "fine_iterations",
        "depth_mode": "depth_mode",
        "exp_depth": "exp_depth",
        "loss_dust3r_w": "fallback_weight",
    }
    options = AdamOptions(strict_parity=True)
    if "dtype" in recorded:
        options = replace(options, dtype=torch.float64)
    changes = {names[key]: value for key, value in recorded.items() if key in names}
    threshold = float(recorded.get("matching_conf_thr", 5.0))
    return replace(options, **changes), threshold, bool(recorded.get("shared_intrinsics"))


def replay(scene: Any, tag: str) -> None:
    options, threshold, shared = adam_options(scene.runs["runs"][tag]["options"])
    problem = scene.problem(threshold)
    priors = CameraPriors.build(problem.num_images, shared_intrinsics=shared)
    alignment = align(problem, solver="adam", options=options, priors=priors)
    for stage, golden in zip(alignment.stages, scene.runs["runs"][tag]["loss"], strict=True):
        tolerance = {"coarse": 0.01, "fine": 0.005}[stage.name]
        assert float(stage.losses[0]) == pytest.approx(
            golden["first"], rel=1e-5 if stage.name == "coarse" else 0.05
        )
        assert float(stage.losses[-1]) <= golden["last"] * (1 + tolerance)


@pytest.mark.parametrize(
    ("name", "tag"), [("shared", "shared"), pytest.param("noisy", "thrall", marks=pytest.mark.slow)]
)
def test_short_replay_equals_the_golden(golden_scene: GoldenScenes, name: str, tag: str) -> None:
    replay(golden_scene(name), tag)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tag"),
    [
        *(("exact", tag) for tag in ("default", "f64", "coarse", "mst", "nodepth", "nopp", "long")),
        *(("noisy", tag) for tag in ("default", "coarse", "thr0", "thr0_f64", "mst", "complete", "nodepth")),
        *(("noisy", tag) for tag in ("nopp", "mul", "expdepth", "nodust3r", "long")),
        *(("shared", tag) for tag in ("default", "shared_f64")),
    ],
)
def test_replay_equals_the_golden(golden_scene: GoldenScenes, name: str, tag: str) -> None:
    replay(golden_scene(name), tag)
