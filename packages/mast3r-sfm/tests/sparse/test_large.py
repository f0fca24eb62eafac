"""Alignment of many images: ways to solve agree, the number of operations and memory per pair stay the same."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mast3r_model import InputError
from mast3r_sfm.sparse import (
    AdamOptions,
    CameraPriors,
    LmOptions,
    SparseProblem,
    align,
    camera_system,
    reduction,
)
from mast3r_sfm.sparse.bundle import BundleState
from mast3r_sfm.sparse.camera_system import CameraSystem
from mast3r_sfm.sparse.cameras import pixel_depth, to_camera
from mast3r_sfm.sparse.fine import FineSolver
from mast3r_sfm.sparse.lm import start_state
from mast3r_sfm.sparse.objective import Objective
from mast3r_sfm.sparse.similarity import CoarseSolver
from mast3r_sfm.sparse.synthetic_walk import Walk, WalkOptions, synthetic_walk


def walk(images: int, **changes: Any) -> Walk:
    options: dict[str, Any] = {"neighbors": 4, "matches": 80, "shape": (48, 64), "long_range": 0.0}
    return synthetic_walk(WalkOptions(images=images, **{**options, **changes}))


def neighbors_turn_error(found: Tensor, truth: Tensor) -> float:
    """Mean error in degrees of rotations between images next to each other; needs no common frame."""
    ours, true = (poses[:-1, :3, :3].transpose(1, 2) @ poses[1:, :3, :3] for poses in (found, truth))
    cosine = ((ours * true).sum((1, 2)) - 1) / 2
    return float(cosine.clamp(-1, 1).acos().rad2deg().mean())


@pytest.mark.parametrize("seed", [0, 3])
def test_the_fine_stage_makes_a_walks_cameras_better(seed: int) -> None:
    made = walk(16, matches=150, shape=(96, 128), long_range=0.5, seed=seed)
    fine = align(made.problem)
    coarse = align(made.problem, options=LmOptions(fine=False))
    errors = [neighbors_turn_error(each.cam2world, made.cam2world) for each in (fine, coarse)]
    assert errors[0] < 0.8 * errors[1]
    ratio = fine.intrinsics[:, 0, 0] / made.intrinsics[:, 0, 0]
    assert float((ratio - 1).abs().mean()) < 0.03


def test_impossible_walks_are_refused() -> None:
    with pytest.raises(InputError, match="blocks of 8"):
        walk(4, shape=(50, 64))


@pytest.mark.parametrize("shared", [False, True])
def test_all_ways_to_solve_agree(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    problem = walk(12, long_range=0.5, matches=60).problem
    priors = CameraPriors.build(12, shared_intrinsics=shared)

    def losses(**changes: Any) -> Any:
        options = LmOptions(fine_iterations=6, fine_tolerance=0.0, **changes)
        return align(problem, options=options, priors=priors).stages[-1].losses.numpy()

    dense = losses()
    banded = losses(dense_limit=0)
    np.testing.assert_allclose(banded, dense, rtol=1e-6)
    monkeypatch.setattr(camera_system, "_MOST_FACTOR_PRODUCTS", 0.0)
    monkeypatch.setattr(camera_system, "_CG_TOLERANCE", 1e-10)
    np.testing.assert_allclose(losses(dense_limit=0), dense, rtol=1e-5)
    monkeypatch.setattr(reduction, "_MOST_PRODUCTS", 0.0)
    # Here conjugate gradients stop early: the way is another, the end is as good.
    assert losses()[-1] == pytest.approx(dense[-1], rel=1e-2)


@pytest.mark.parametrize("border", [0, 2])
def test_banded_systems_are_solved(border: int) -> None:
    generator = torch.Generator().manual_seed(border)
    count, size = 30, 3
    index = torch.arange(count * size).reshape(count, size)
    if border:  # the last two parameters are shared by all
        index = torch.cat(
            (torch.arange(count)[:, None], torch.tensor([[count, count + 1]]).repeat(count, 1)), 1
        )
    index[4] = -1
    _, numbers = torch.unique(index[index >= 0], return_inverse=True)
    index[index >= 0] = numbers
    row = torch.cat((torch.arange(count), torch.arange(count - 2)))
    column = torch.cat((torch.arange(count), torch.arange(2, count)))
    blocks = 0.3 * torch.randn(len(row), size, size, generator=generator, dtype=torch.float64)
    blocks[:count] = blocks[:count] + blocks[:count].transpose(1, 2) + 6 * torch.eye(size)
    right = torch.randn(count, size, generator=generator, dtype=torch.float64)
    banded = CameraSystem.build(index, row, column, dense_limit=0)
    assert (banded.kind, banded.border) == ("banded", border)
    assert banded.bandwidth < 3 * 3 * size
    solution = banded.solve(blocks, right)
    expand = (
        torch.nn.functional.one_hot(index.clamp_min(0), banded.unknowns).double() * (index >= 0)[..., None]
    )
    full = torch.zeros(count, size, count, size, dtype=torch.float64)
    full[row, :, column] += blocks
    full[column[count:], :, row[count:]] += blocks[count:].transpose(1, 2)
    matrix = torch.einsum("aiu,aibj,bjv->uv", expand, full, expand)
    expected = torch.linalg.solve(matrix, torch.einsum("aiu,ai->u", expand, right))
    assert solution is not None
    torch.testing.assert_close(solution, torch.einsum("aiu,u->ai", expand, expected))
    assert banded.solve(-blocks, right) is None


class CountOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """How many tensor operations run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def solvers(problem: SparseProblem, options: LmOptions) -> tuple[CoarseSolver, FineSolver, BundleState]:
    """Both stages' solvers and where they start."""
    priors = CameraPriors.build(problem.num_images)
    objective = Objective.build(problem, options, torch.float64)
    start, cameras = start_state(problem, priors)
    depth = pixel_depth(cameras, start.log_depth.exp(), objective.image, objective.anchor, objective.offset)
    canonical = to_camera(cameras, objective.image, objective.xy, depth)
    coarse = CoarseSolver(objective, canonical, 0, priors.has_pose, priors.scale_known, options)
    return coarse, FineSolver(problem, objective, start, priors, 0, options), start


def operations_of_steps(images: int) -> list[int]:
    """Of one step of the coarse and of one of the fine stage, if the first try is good."""
    coarse, fine, start = solvers(walk(images).problem, LmOptions())
    similarities = coarse.start()
    with CountOperations() as first:
        arms = coarse._arms(similarities)
        step = coarse._step(similarities, coarse._linearized(similarities, arms), 1e-4)
    with CountOperations() as second:
        now = fine._tried(replace(start, log_depth=start.log_depth[fine._observed]))
        fine_step = fine._reduction.step(fine._linearized(now), 1e-4)
    assert step is not None
    assert fine_step is not None
    return [first.count, second.count]


def test_operations_of_a_step_do_not_grow_with_images() -> None:
    assert operations_of_steps(6) == operations_of_steps(30)


def test_operations_of_adams_iterations_do_not_grow_with_images() -> None:
    costs = []
    for images in (4, 7):
        problem = walk(images, neighbors=2 * images).problem
        counts = []
        for iterations in (1, 2):
            options = AdamOptions(coarse_iterations=iterations, fine_iterations=iterations, tree="mst")
            with CountOperations() as counter:
                align(problem, solver="adam", options=options)
            counts.append(counter.count)
        costs.append(counts[1] - counts[0])
    # Poses are chained level by level of the tree, which may be a level deeper or less deep.
    assert abs(costs[1] - costs[0]) < 0.1 * costs[0]


def held_bytes(value: Any, seen: set[int]) -> int:
    """Bytes of all tensors that an object holds."""
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        new = storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        return storage.nbytes() if new else 0
    if isinstance(value, (list, tuple)):
        return sum(held_bytes(each, seen) for each in value)
    if is_dataclass(value):
        return sum(held_bytes(getattr(value, field.name), seen) for field in fields(value))
    if isinstance(value, FineSolver):
        return sum(held_bytes(each, seen) for each in vars(value).values())
    return 0


def test_memory_grows_with_pairs() -> None:
    per_pair = []
    for images in (12, 24, 48):
        problem = walk(images).problem
        _, solver, _ = solvers(problem, LmOptions(dense_limit=0))
        per_pair.append(held_bytes(solver, set()) / len(problem.pairs))
    assert per_pair[2] < 1.1 * per_pair[1] < 1.2 * per_pair[0]
