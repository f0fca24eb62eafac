"""The golden scenes of spec 30 section 6.8 as problems, shared by the tests of sparse alignment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mast3r_match import Correspondences
from mast3r_sfm.canonical import CanonicalAccumulator, CanonicalView
from mast3r_sfm.sparse import CrossPointmap, SparseProblem, build_problem

Goldens = Callable[[str], Path]
Prediction = tuple[Tensor, Tensor]


class GoldenScene:
    """Inputs of one golden scene."""

    def __init__(self, goldens: Goldens, name: str) -> None:
        self.inputs = np.load(goldens(f"sfm/sparse_ga/{name}_inputs.npz"))
        self.stages = np.load(goldens(f"sfm/sparse_ga/{name}_stages.npz"))
        self.results = np.load(goldens(f"sfm/sparse_ga/{name}_results.npz"))
        self.runs: dict[str, Any] = json.loads(goldens("sfm/sparse_ga/runs.json").read_text())[name]
        self.name = name
        self.edges = [(int(i), int(j)) for i, j in self.inputs["edges"]]
        self.shapes = [(int(h), int(w)) for h, w in self.inputs["hw"]]
        self.K_gt, self.cam2w_gt = self.inputs["K_gt"], self.inputs["cam2w_gt"]
        self.views = self._views()

    @cache  # noqa: B019
    def predictions(self, i: int, j: int) -> dict[str, Prediction]:
        """The network's outputs of edge (1 = i, 2 = j), as float32."""
        if self.name == "noisy":
            return {
                key: tuple(
                    torch.from_numpy(self.inputs[f"pred_{i}_{j}_{kind}{key}"].astype(np.float32))
                    for kind in "XC"
                )
                for key in ("11", "21", "22", "12")
            }
        points = {k: self._backprojected(k) for k in (i, j)}
        conf = {k: 5 + 3 * np.sin(2 * p[..., 0]) + np.cos(3 * p[..., 1]) for k, p in points.items()}
        i_from_j = np.linalg.inv(self.cam2w_gt[i]) @ self.cam2w_gt[j]
        maps = {
            "11": (points[i], conf[i]),
            "21": (_moved(i_from_j, points[j]), 0.8 * conf[j]),
            "22": (points[j], conf[j]),
            "12": (_moved(np.linalg.inv(i_from_j), points[i]), 0.8 * conf[i]),
        }
        return {
            key: tuple(torch.from_numpy(m.astype(np.float32)) for m in pair) for key, pair in maps.items()
        }

    def _backprojected(self, k: int) -> np.ndarray:
        depth, K = self.inputs[f"depth_gt_{k}"].astype(np.float64), self.K_gt[k]
        v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
        return np.stack(((u - K[0, 2]) * depth / K[0, 0], (v - K[1, 2]) * depth / K[1, 1], depth), -1)

    def _views(self) -> list[CanonicalView]:
        accumulators = [CanonicalAccumulator(shape) for shape in self.shapes]
        for i, j in self.edges:
            accumulators[i].add(*self.predictions(i, j)["11"])
            accumulators[j].add(*self.predictions(i, j)["22"])
        return [accumulator.finish() for accumulator in accumulators]

    def correspondences(self) -> list[Correspondences]:
        """Matches of every edge."""
        parts = ("xy1", "xy2", "conf")
        tensors = [
            [torch.from_numpy(self.inputs[f"corr_{i}_{j}_{part}"]) for part in parts] for i, j in self.edges
        ]
        return [Correspondences(xy0.long(), xy1.long(), conf) for xy0, xy1, conf in tensors]

    def problem(self, matching_conf_thr: float = 5.0) -> SparseProblem:
        """The problem upstream solved: cross pointmaps sampled at the blocks' corners."""
        cross = {}
        for i, j in self.edges:
            predictions = self.predictions(i, j)
            cross[j, i] = CrossPointmap.sample(*predictions["21"], at="corner")
            cross[i, j] = CrossPointmap.sample(*predictions["12"], at="corner")
        return build_problem(
            self.views,
            self.edges,
            self.correspondences(),
            cross_pointmaps=cross,
            matching_conf_thr=matching_conf_thr,
        )

    def recorded_problem(self, matching_conf_thr: float = 5.0) -> SparseProblem:
        """The same with upstream's intermediates: its rounding decides gradients of residuals near 0."""
        problem = self.problem(matching_conf_thr)
        image = problem.image.reshape(-1)
        offset = problem.offset.reshape(-1).clone()
        match = torch.arange(problem.num_matches).repeat(2)
        for i in range(problem.num_images):
            end = (image == i).nonzero()[:, 0]
            offset[end[match[end].argsort(stable=True)]] = torch.from_numpy(self.stages[f"anchor_off_{i}"])
        depths = [self.stages[f"core_depth_{i}"].reshape(-1) for i in range(problem.num_images)]
        return replace(
            problem,
            focal=torch.from_numpy(self.stages["base_focals"]),
            core_depth=torch.from_numpy(np.concatenate(depths)),
            offset=offset.reshape(2, -1),
        )


def _moved(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ transform[:3, :3].T + transform[:3, 3]


@pytest.fixture
def golden_scene(goldens: Goldens) -> Callable[[str], GoldenScene]:
    """A golden scene by its name: exact, noisy or shared."""
    return lambda name: GoldenScene(goldens, name)
