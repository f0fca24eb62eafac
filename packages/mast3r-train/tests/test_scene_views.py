"""Many views of one scene: overlap, determinism, what is written; and the oracle that knows them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_model import ConfigError, InputError, NothingFoundError
from mast3r_train.synthetic import OracleNetwork, OracleNoise, SceneViews, render_scene_views
from mast3r_train.synthetic.oracle_noise import smooth_field
from mast3r_train.synthetic.paths import LEAST_OVERLAP

SHAPE = (48, 64)


def make(seed: int = 0, views: int = 6, **options: object) -> SceneViews:
    settings: dict = {"shape": SHAPE, "procedural": 8} | options
    return render_scene_views(seed, views, **settings)


@pytest.fixture(scope="module")
def orbit() -> SceneViews:
    return make()


def network_images(views: SceneViews) -> list[torch.Tensor]:
    return [torch.from_numpy(image).permute(2, 0, 1).float() / 127.5 - 1 for image in views.images]


def world_points(views: SceneViews, index: int) -> np.ndarray:
    y, x = np.mgrid[: views.shape[0], : views.shape[1]]
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(views.intrinsics[index]).T
    pose = views.cam2world[index]
    return (rays * views.depth[index][..., None]) @ pose[:3, :3].T + pose[:3, 3]


def seen_share(views: SceneViews, first: int, second: int) -> float:
    """Share of the pixels of one view whose point another view sees: by a plain projection."""
    pose, (height, width) = views.cam2world[second], views.shape
    points = (world_points(views, first) - pose[:3, 3]) @ pose[:3, :3]
    pixels = points @ views.intrinsics[second].T
    with np.errstate(divide="ignore", invalid="ignore"):
        column, row = np.rint(np.nan_to_num(pixels[..., :2] / pixels[..., 2:], nan=-9.0)).transpose(2, 0, 1)
    inside = (points[..., 2] > 0) & (views.depth[first] > 0)
    inside &= (column >= 0) & (column < width) & (row >= 0) & (row < height)
    there = views.depth[second][np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)]
    return float((inside & (np.abs(there - points[..., 2]) < 0.1 * points[..., 2])).mean())


@pytest.mark.parametrize("path", ["orbit", "walk"])
@pytest.mark.parametrize("seed", [1, 2])
def test_neighbours_see_the_same(path: str, seed: int) -> None:
    views = make(seed, path=path)
    for first in range(len(views) - 1):
        # Probes are smaller images, hence the margin.
        assert seen_share(views, first, first + 1) > LEAST_OVERLAP - 0.1
        assert seen_share(views, first + 1, first) > LEAST_OVERLAP - 0.1
    steps = np.linalg.norm(np.diff(views.cam2world[:, :3, 3], axis=0), axis=1)
    assert (steps > 1e-3).all()


def test_a_random_set_hangs_together() -> None:
    views = make(1, path="random", views=8)
    for second in range(1, len(views)):
        assert max(seen_share(views, first, second) for first in range(second)) > LEAST_OVERLAP - 0.1


def test_equal_seeds_give_equal_views(orbit: SceneViews) -> None:
    again, other = make(), make(seed=3)
    for field in dataclasses.fields(orbit):
        assert np.array_equal(getattr(orbit, field.name), getattr(again, field.name))
    assert not np.array_equal(orbit.images, other.images)


def test_focal_lengths_differ_only_if_asked(orbit: SceneViews) -> None:
    varied = make(same_focal=False, principal_point=2.0)
    assert np.ptp(orbit.intrinsics[:, 0, 0]) == 0
    assert np.ptp(varied.intrinsics[:, 0, 0]) > 1
    assert (orbit.intrinsics[:, :2, 2] == [(SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2]).all()
    assert 0.3 < np.abs(varied.intrinsics[:, :2, 2] - orbit.intrinsics[:, :2, 2]).mean() < 5


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 views"):
        make(views=1)
    with pytest.raises(NothingFoundError, match="no orbit of 4 views"):
        make(views=4, fov=(1.0, 1.5))
    with pytest.raises(InputError, match="50x40"):
        OracleNetwork(make(shape=(40, 50)))
    with pytest.raises(ConfigError, match="outliers"):
        OracleNoise(outliers=1.5)


def test_photos_and_cameras_are_written(orbit: SceneViews, tmp_path) -> None:
    folder = orbit.save(tmp_path / "scene")
    written = [np.asarray(Image.open(folder / name)) for name in orbit.names]
    assert np.array_equal(np.stack(written), orbit.images)
    frames = json.loads((tmp_path / "scene" / "transforms.json").read_text(encoding="utf-8"))["frames"]
    assert [frame["file_path"] for frame in frames] == [f"images/{name}" for name in orbit.names]
    # OpenGL's cameras look along -z: the third axis of the matrix points backwards.
    backward = np.array([np.array(frame["transform_matrix"])[:3, 2] for frame in frames])
    assert np.array_equal(backward, -orbit.cam2world[:, :3, 2])
    assert frames[0]["cx"] == SHAPE[1] / 2


def test_the_exact_oracle_answers_with_the_truth(orbit: SceneViews) -> None:
    network = OracleNetwork(orbit)
    features = network.encode(network_images(orbit))
    (answer,) = network.decode_pairs(features, [(1, 2)])
    solid = [orbit.depth[index] > 0 for index in (1, 2)]
    world = [world_points(orbit, index) for index in (1, 2)]
    pose = orbit.cam2world[1]
    for points, mask, expected in zip((answer.pts3d1, answer.pts3d2_in_view1), solid, world, strict=True):
        in_first = (expected - pose[:3, 3]) @ pose[:3, :3]
        np.testing.assert_allclose(points.numpy()[mask], in_first[mask], atol=1e-4)
    assert torch.equal(answer.conf1 > 2, torch.from_numpy(solid[0]))


def test_descriptors_of_the_same_point_are_nearest(orbit: SceneViews) -> None:
    network = OracleNetwork(orbit)
    (answer,) = network.decode_pairs(network.encode(network_images(orbit)), [(0, 1)])
    assert answer.desc1 is not None
    assert answer.desc2 is not None
    assert answer.desc_conf1 is not None
    torch.testing.assert_close(answer.desc1.norm(dim=-1), torch.ones(SHAPE))
    seen = answer.desc_conf1 > 5
    nearest = (answer.desc1[seen] @ answer.desc2.flatten(0, 1).T).argmax(1).numpy()
    distance = np.linalg.norm(
        world_points(orbit, 1).reshape(-1, 3)[nearest] - world_points(orbit, 0)[seen], axis=1
    )
    footprint = orbit.depth[0][seen] / orbit.intrinsics[0, 0, 0]
    assert seen.float().mean() > 0.2
    assert np.median(distance / footprint) < 1
    assert np.mean(distance / footprint < 4) > 0.98


def test_noise_has_the_size_that_is_set(orbit: SceneViews) -> None:
    noise = OracleNoise(
        smooth_depth=0.02, white_depth=0.01, scale=0.1, focal=0.05, outliers=0.1, unevenness=0.3
    )
    exact, wrong = OracleNetwork(orbit), OracleNetwork(orbit, noise)
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    images = network_images(orbit)
    truth = list(exact.decode_pairs(exact.encode(images), pairs))
    answers = list(wrong.decode_pairs(wrong.encode(images), pairs))
    logs = [(a.pts3d1[..., 2] / t.pts3d1[..., 2]).log() for a, t in zip(answers, truth, strict=True)]
    scales = torch.stack([log.median() for log in logs])
    spread = torch.stack([log.std() for log in logs]).mean()
    assert 0.06 < float(scales.std()) < 0.15
    # sqrt(0.02^2 + 0.01^2) = 0.022, a little more for the unevenness
    assert 0.018 < float(spread) < 0.032
    widths = [(a.pts3d1[..., 0] / a.pts3d1[..., 2]) / (t.pts3d1[..., 0] / t.pts3d1[..., 2])
              for a, t in zip(answers, truth, strict=True)]  # fmt: skip
    assert 0.03 < float(torch.stack([width.median().log() for width in widths]).std()) < 0.075
    solid = torch.from_numpy(orbit.depth > 0)
    changed = torch.cat(
        [
            ((answer.desc1 - true.desc1).norm(dim=-1) > 1e-3)[solid[first]]
            for (first, _), answer, true in zip(pairs, answers, truth, strict=True)
        ]
    )
    assert 0.08 < float(changed.float().mean()) < 0.12


def test_errors_are_where_confidence_is_low(orbit: SceneViews) -> None:
    noise = OracleNoise(white_depth=0.02, unevenness=0.8)
    wrong, exact = OracleNetwork(orbit, noise), OracleNetwork(orbit)
    images = network_images(orbit)
    (answer,) = wrong.decode_pairs(wrong.encode(images), [(0, 1)])
    (truth,) = exact.decode_pairs(exact.encode(images), [(0, 1)])
    error = (answer.pts3d1[..., 2] / truth.pts3d1[..., 2]).log().abs()
    solid = torch.from_numpy(orbit.depth[0] > 0)
    sure = answer.conf1 > answer.conf1[solid].median()
    assert error[sure & solid].mean() < 0.6 * error[~sure & solid].mean()


def test_answers_depend_on_the_images_alone(orbit: SceneViews) -> None:
    noise = OracleNoise.realistic()
    first, second = OracleNetwork(orbit, noise), OracleNetwork(orbit, noise)
    images = network_images(orbit)
    forward = list(first.decode_pairs(first.encode(images), [(0, 1), (2, 3)]))
    backward = list(second.decode_pairs(second.encode(images[::-1]), [(3, 2), (5, 4)]))
    for one, other in zip(forward, backward[::-1], strict=True):
        assert torch.equal(one.pts3d1, other.pts3d1)
        assert torch.equal(one.desc2, other.desc2)
    reseeded = OracleNetwork(orbit, OracleNoise.realistic(seed=1))
    (other_noise,) = reseeded.decode_pairs(reseeded.encode(images[:2]), [(0, 1)])
    assert not torch.equal(other_noise.pts3d1, forward[0].pts3d1)
    assert len({first.fingerprint, second.fingerprint, reseeded.fingerprint}) == 2


def test_the_shared_part_of_the_noise_survives_averaging(orbit: SceneViews) -> None:
    def mean_error(shared: float) -> float:
        wrong, exact = (
            OracleNetwork(orbit, OracleNoise(smooth_depth=0.02, shared=shared)),
            OracleNetwork(orbit),
        )
        images, pairs = network_images(orbit), [(0, other) for other in range(1, 6)]
        truth = next(iter(exact.decode_pairs(exact.encode(images), pairs))).pts3d1[..., 2]
        answers = wrong.decode_pairs(wrong.encode(images), pairs)
        return float(torch.stack([(answer.pts3d1[..., 2] / truth).log() for answer in answers]).mean(0).std())

    assert mean_error(1.0) > 0.017
    assert mean_error(0.0) < 0.013


def test_unknown_images_are_refused(orbit: SceneViews) -> None:
    with pytest.raises(InputError) as caught:
        OracleNetwork(orbit).encode([torch.zeros(3, 24, 32)])
    assert "(24, 32)" in caught.value.message
    assert "size=64" in str(caught.value.hint)


def test_it_can_be_called_like_upstreams_networks(orbit: SceneViews) -> None:
    network = OracleNetwork(orbit)
    images = torch.stack(network_images(orbit))
    first, second = network({"img": images[:2]}, {"img": images[2:4]})
    (answer,) = network.decode_pairs(network.encode(list(images)), [(1, 3)])
    assert torch.equal(first["pts3d"][1], answer.pts3d1)
    assert torch.equal(second["pts3d_in_other_view"][1], answer.pts3d2_in_view1)
    assert set(first) == {"pts3d", "conf", "desc", "desc_conf"}


def test_smooth_fields_are_smooth_and_normalised() -> None:
    field = smooth_field((96, 128), torch.Generator().manual_seed(0))
    assert abs(float(field.mean())) < 1e-5
    assert float(field.std()) == pytest.approx(1, abs=1e-4)
    assert float((field[:, 1:] - field[:, :-1]).abs().max()) < 0.25
