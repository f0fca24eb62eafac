"""Registration, encodings and the loss of the dense alignment: known answers, plain twins, bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_sfm.dense import DenseOptions, DenseProblem
from mast3r_sfm.dense.options import confidence_weights
from mast3r_sfm.dense.parameters import decode_poses, encode_poses, signed_exp, signed_log
from mast3r_sfm.dense.registration import Similarity, register_cameras, register_points, solve_pnp
from mast3r_sfm.dense.residuals import alignment_loss, alignment_loss_plain, alignment_terms
from mast3r_sfm.dense.solver import learning_rate

from .conftest import make_scene

seeds = st.integers(0, 2**31)


def random_similarity(generator: torch.Generator) -> Similarity:
    quaternion = torch.randn(4, generator=generator, dtype=torch.float64)
    return Similarity(
        scale=torch.rand((), generator=generator, dtype=torch.float64) * 5 + 0.1,
        rotation=roma.unitquat_to_rotmat(quaternion / quaternion.norm()),
        translation=5 * torch.randn(3, generator=generator, dtype=torch.float64),
    )


def assert_same(first: Similarity, second: Similarity) -> None:
    for name in ("scale", "rotation", "translation"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), atol=1e-8, rtol=1e-8)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_registration_recovers_a_similarity(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    true = random_similarity(generator)
    source = torch.randn(3, 30, generator=generator, dtype=torch.float64)
    target = true.points(source)
    weight = torch.rand(30, generator=generator, dtype=torch.float64) + 0.1
    assert_same(register_points(source, target), true)
    target[:, :5] += 100  # outliers of weight zero do not count
    weight[:5] = 0
    assert_same(register_points(source, target, weight), true)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_similarities_are_chained(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = random_similarity(generator), random_similarity(generator)
    points = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(second.after(first).points(points), second.points(first.points(points)))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, count=st.integers(2, 6))
def test_cameras_are_registered(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cameras = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    for camera in cameras:
        pose = random_similarity(generator)
        camera[:3, :3], camera[:3, 3] = pose.rotation, pose.translation
    true = random_similarity(generator)
    found = register_cameras(cameras, true.poses(cameras))
    torch.testing.assert_close(found.poses(cameras), true.poses(cameras), atol=1e-6, rtol=1e-6)


def test_one_camera_keeps_the_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    cameras = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    pose = random_similarity(generator)
    cameras[1, :3, :3], cameras[1, :3, 3] = pose.rotation, pose.translation
    moved = register_cameras(cameras[:1], cameras[1:])
    torch.testing.assert_close(moved.poses(cameras[:1]), cameras[1:])
    assert moved.scale == 1
    doubled = register_cameras(cameras[:1], cameras[1:], scale=torch.tensor(2.0))
    torch.testing.assert_close(doubled.poses(cameras[:1]), cameras[1:])
    assert doubled.scale == 2


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5))
def test_signed_logarithm_is_inverted(values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(signed_exp(signed_log(x)), x)
    torch.testing.assert_close(signed_log(-x), -signed_log(x))


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_poses_survive_their_encoding_at_any_quaternion_length(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pose = random_similarity(generator)
    rows = encode_poses(pose.rotation[None], pose.translation[None])
    rows[:, :4] *= 3
    rotation, translation = decode_poses(rows)
    torch.testing.assert_close(rotation[0], pose.rotation)
    torch.testing.assert_close(translation[0], pose.translation)
    torch.testing.assert_close(rotation, roma.unitquat_to_rotmat(rows[:, :4] / 3))


@pytest.mark.parametrize("focal_known", [True, False])
def test_pnp_finds_the_camera_among_outliers(focal_known: bool) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([-2, -2, 3], [2, 2, 6], (200, 3))
    pose = make_scene().cam2world[1].double().numpy()
    matrix = np.array([[400.0, 0, 160], [0, 400, 120], [0, 0, 1]])
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    pixels = (local @ matrix.T)[:, :2] / local[:, 2:]
    pixels[:40] += rng.uniform(20, 60, (40, 2))
    found = solve_pnp(
        points,
        pixels,
        (matrix[0, 2], matrix[1, 2]),
        focals=(matrix[0, 0], matrix[1, 1]) if focal_known else None,
        image_size=320,
        iterations=100,
    )
    assert found is not None
    assert found[0][0] == pytest.approx(matrix[0, 0], rel=1e-6 if focal_known else 0.1)
    np.testing.assert_allclose(found[1], pose, atol=1e-6 if focal_known else 0.5)
    assert solve_pnp(points[:3], pixels[:3], (0, 0), focals=None, image_size=24) is None


def test_weights_are_zero_in_padding_and_never_negative() -> None:
    confidence = torch.tensor([0.0, 1.0, 4.0])
    for transform, expected in {
        "log": [0, 0, np.log(4)],
        "sqrt": [0, 1, 2],
        "m1": [0, 0, 3],
        "id": [0, 1, 4],
    }.items():
        np.testing.assert_allclose(confidence_weights(confidence, transform), expected, rtol=1e-6)


@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("normalization", ["pixels", "edges"])
@pytest.mark.parametrize("max_points", [1 << 22, 1000, 97])
def test_loss_and_gradients_equal_the_plain_twin_in_chunks_of_any_size(
    distance: str, normalization: str, max_points: int
) -> None:
    problem = DenseProblem.from_edges(make_scene(3).edges())
    options = DenseOptions(distance=distance, normalization=normalization, max_points=max_points)
    weights = torch.rand(6, generator=torch.Generator().manual_seed(1)) + 0.5
    terms = alignment_terms(problem, options, edge_weights=weights)
    results = []
    for loss_function in (alignment_loss, alignment_loss_plain):
        generator = torch.Generator().manual_seed(0)
        points = torch.randn(3, 3, problem.pixels.shape[-1], generator=generator)
        linear = torch.randn(6, 3, 3, generator=generator)
        offset = torch.randn(6, 3, generator=generator)
        inputs = [tensor.requires_grad_() for tensor in (points, linear, offset)]
        loss = loss_function(*inputs, terms)
        (2 * loss).backward()
        results.append([loss.detach(), *(tensor.grad for tensor in inputs)])
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-6)


def test_a_perfect_fit_has_no_gradient() -> None:
    problem = DenseProblem.from_edges(make_scene(2).edges())
    points = torch.zeros(2, 3, problem.pixels.shape[-1]).requires_grad_()
    linear, offset = torch.zeros(2, 3, 3).requires_grad_(), torch.zeros(2, 3).requires_grad_()
    loss = alignment_loss(points, linear, offset, alignment_terms(problem, DenseOptions()))
    loss.backward()
    assert loss == 0
    assert all((tensor.grad == 0).all() for tensor in (points, linear, offset))


def test_schedules() -> None:
    for schedule in ("cosine", "linear"):
        assert learning_rate(0, 0.01, 1e-6, schedule) == pytest.approx(0.01)
        assert learning_rate(1, 0.01, 1e-6, schedule) == pytest.approx(1e-6)
        assert learning_rate(0.5, 0.01, 1e-6, schedule) == pytest.approx((0.01 + 1e-6) / 2)
