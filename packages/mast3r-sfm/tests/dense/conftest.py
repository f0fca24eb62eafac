"""Recorded and made-up pointmaps for the tests of the dense alignment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mast3r_sfm.dense import EdgePrediction

Goldens = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def runs(goldens: Goldens) -> dict[str, Any]:
    """Losses and errors that upstream's runs ended with."""
    return json.loads(goldens("sfm/dust3r_ga/dust3r_ga.json").read_text())


@pytest.fixture
def recorded(goldens: Goldens) -> Callable[[str], Mapping[str, np.ndarray]]:
    """The recorded inputs and results of a set: clean, noisy, known."""

    def load(name: str) -> Mapping[str, np.ndarray]:
        return dict(np.load(goldens(f"sfm/dust3r_ga/dust3r_ga_{name}.npz")))

    return load


def recorded_edges(golden: Mapping[str, np.ndarray]) -> list[EdgePrediction]:
    """A recorded set's edges."""
    pairs = golden["edges"].tolist() if "edges" in golden else [[0, 1], [1, 0]]

    def map_of(name: str) -> Tensor:
        return torch.from_numpy(golden[name]).float()

    return [
        EdgePrediction(
            i, j, map_of(f"pts1_{e}"), map_of(f"conf1_{e}"), map_of(f"pts2_{e}"), map_of(f"conf2_{e}")
        )
        for e, (i, j) in enumerate(pairs)
    ]


def network_output(edges: list[EdgePrediction], *, stacked: bool = False) -> dict[str, Any]:
    """The edges as `mast3r_model.inference` would return them."""

    def column(name: str) -> Any:
        values = [getattr(edge, name) for edge in edges]
        return torch.stack(values) if stacked else values

    return {
        "view1": {"idx": [edge.i for edge in edges]},
        "view2": {"idx": [edge.j for edge in edges]},
        "pred1": {"pts3d": column("pts3d_i"), "conf": column("conf_i")},
        "pred2": {"pts3d_in_other_view": column("pts3d_j"), "conf": column("conf_j")},
    }


@dataclass(frozen=True)
class TrueScene:
    """Cameras on an arc around a smooth relief."""

    intrinsics: Tensor
    cam2world: Tensor
    depths: list[Tensor]

    def local_points(self, image: int) -> Tensor:
        height, width = self.depths[image].shape
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1).float()
        return (pixels @ torch.linalg.inv(self.intrinsics[image]).T) * self.depths[image][..., None]

    def points_in(self, image: int, frame: int) -> Tensor:
        moved = torch.linalg.inv(self.cam2world[frame]) @ self.cam2world[image]
        return self.local_points(image) @ moved[:3, :3].T + moved[:3, 3]

    def edges(
        self, pairs: list[tuple[int, int]] | None = None, *, noise: float = 0.0
    ) -> list[EdgePrediction]:
        """Both directions of the pairs (all, if not given), every edge with a scale of its own."""
        count = len(self.depths)
        pairs = pairs or [(i, j) for i in range(count) for j in range(i)]
        generator = torch.Generator().manual_seed(0)
        edges = []
        for i, j in [*pairs, *[(j, i) for i, j in pairs]]:
            scale = 1 + 0.1 * torch.rand((), generator=generator)
            maps = []
            for image in (i, j):
                points = self.points_in(image, i)
                points = points * (1 + noise * torch.randn(points[..., :1].shape, generator=generator))
                maps += [scale * points, 4 + torch.rand(points.shape[:2], generator=generator)]
            edges.append(EdgePrediction(i, j, *maps))
        return edges


def make_scene(count: int = 4, shapes: tuple[tuple[int, int], ...] = ((18, 24), (24, 18))) -> TrueScene:
    """Cameras looking at a bumpy surface, of different focals, landscape and portrait in turn."""
    matrices, poses, depths = [], [], []
    for image in range(count):
        height, width = shapes[image % len(shapes)]
        angle = 0.25 * image
        center = torch.tensor([4 * np.sin(angle), 0.1 * image, 4 - 4 * np.cos(angle)]).float()
        forward = torch.tensor([0.0, 0.0, 4.0]) - center
        forward = forward / forward.norm()
        right = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), forward)
        right = right / right.norm()
        pose = torch.eye(4)
        pose[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
        pose[:3, 3] = center
        focal = (1.1 + 0.1 * image) * max(height, width)
        matrices.append(torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]))
        y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
        # No common surface is needed: the pointmaps of an image agree with themselves in every frame.
        depths.append(4 + 0.5 * torch.sin(5 * x + image) * torch.cos(4 * y))
        poses.append(pose)
    return TrueScene(torch.stack(matrices), torch.stack(poses), depths)


@pytest.fixture
def scene() -> TrueScene:
    return make_scene()


@dataclass(frozen=True)
class CameraErrors:
    """After the best global rotation (degrees), and of the centres after Umeyama's similarity."""

    rotation_deg: float
    center_rms: float


def camera_errors(cam2world: Tensor, truth: Any) -> CameraErrors:
    """Written for the tests alone, in float64 numpy."""
    ours, true = np.asarray(cam2world, np.float64), np.asarray(truth, np.float64)
    u, _, v = np.linalg.svd(sum(t[:3, :3] @ o[:3, :3].T for o, t in zip(ours, true, strict=True)))
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    cosines = [
        (np.trace(t[:3, :3].T @ rotation @ o[:3, :3]) - 1) / 2 for o, t in zip(ours, true, strict=True)
    ]
    source, target = ours[:, :3, 3], true[:, :3, 3]
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, v = np.linalg.svd(b.T @ a)
    signs = np.array([1, 1, np.linalg.det(u @ v)])
    moved = (s * signs).sum() / (a**2).sum() * a @ (u @ np.diag(signs) @ v).T
    return CameraErrors(
        rotation_deg=float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean()),
        center_rms=float(np.sqrt(((moved - b) ** 2).sum(1).mean())),
    )
