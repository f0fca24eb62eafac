"""Overlap, angle and choice of pairs (spec 41 section 16), and the pair file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_model import ConfigError, InputError
from mast3r_train.datasets.pair_lists import PAIR, PairList, ScenePairs
from mast3r_train.preparing.pair_candidates import candidate_pairs
from mast3r_train.preparing.pair_scoring import (
    PairScores,
    PairSettings,
    SceneGeometry,
    choose_pairs,
    draw_pairs,
    score_pairs,
    shrink,
)

from .standin_scenes import StandinView, render_standin


def _geometry(views: list[StandinView]) -> SceneGeometry:
    return SceneGeometry.of((view.depth, view.K, view.cam2world) for view in views)


def _plain_score(a: StandinView, b: StandinView) -> tuple[float, float]:
    """The same score point by point, on the small maps."""
    small = [shrink(view.depth, view.K) for view in (a, b)]
    shares, angles = [], []
    for first, second in ((0, 1), (1, 0)):
        (depth, K), (other, other_K) = small[first], small[second]
        poses = [view.cam2world for view in (a, b)]
        world2other = np.linalg.inv(poses[second])
        seen = valid = 0
        for v, u in np.argwhere(depth > 0):
            valid += 1
            local = np.linalg.inv(K) @ (u, v, 1) * depth[v, u]
            point = poses[first][:3, :3] @ local + poses[first][:3, 3]
            there = world2other[:3, :3] @ point + world2other[:3, 3]
            if there[2] <= 0:
                continue
            x, y = (other_K @ there)[:2] / there[2]
            height, width = other.shape
            if not (-0.5 < x < width - 0.5 and -0.5 < y < height - 0.5):
                continue
            measured = other[round(y), round(x)]
            if measured > 0 and abs(there[2] - measured) < 0.05 * measured:
                seen += 1
                rays = [point - pose[:3, 3] for pose in poses]
                cosine = rays[0] @ rays[1] / np.linalg.norm(rays[0]) / np.linalg.norm(rays[1])
                angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        shares.append(seen / valid)
    return min(shares), float(np.median(angles))


def test_scores_are_those_of_the_plain_loop() -> None:
    views = render_standin(5)
    pairs = np.array([(0, 1), (1, 2), (0, 4), (3, 1)])
    scores = score_pairs(_geometry(views), pairs)
    for (first, second), overlap, angle in zip(pairs, scores.overlap, scores.angle, strict=True):
        expected = _plain_score(views[first], views[second])
        assert overlap == pytest.approx(expected[0], abs=1e-9)
        assert angle == pytest.approx(expected[1], abs=1e-4)
    assert (scores.overlap > 0.1).all()
    assert (scores.angle > 1).all()


def test_many_pairs_in_steps_score_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = _geometry(render_standin(5))
    pairs = np.array([(a, b) for a in range(5) for b in range(a)])
    at_once = score_pairs(geometry, pairs)
    monkeypatch.setattr("mast3r_train.preparing.pair_scoring._POINTS_AT_ONCE", 1)
    alone = score_pairs(geometry, pairs)
    assert np.array_equal(at_once.overlap, alone.overlap)
    assert np.array_equal(at_once.angle, alone.angle)


def test_extremes() -> None:
    view = render_standin(2)[0]
    away = view._replace(cam2world=view.cam2world @ np.diag([-1.0, 1, -1, 1]))  # looks backwards
    blind = view._replace(depth=np.zeros_like(view.depth))
    sky = view._replace(depth=np.full_like(view.depth, -1))
    scores = score_pairs(
        _geometry([view, view, away, blind, sky]), np.array([(0, 1), (0, 2), (0, 3), (3, 4)])
    )
    assert scores.overlap.tolist() == [1, 0, 0, 0]
    assert scores.angle == pytest.approx([0, 0, 0, 0], abs=1e-5)
    assert len(score_pairs(_geometry([view]), np.empty((0, 2), np.int64)).overlap) == 0


def test_maps_of_different_sizes_share_a_scene() -> None:
    landscape, portrait = render_standin(2), render_standin(2, (72, 96))
    mixed = _geometry([landscape[0], portrait[0], landscape[1], portrait[1]])
    assert mixed.depth.shape == (4, 85, 64)
    apart = score_pairs(_geometry(landscape), np.array([(0, 1)]))
    together = score_pairs(mixed, np.array([(0, 2)]))
    assert together.overlap == pytest.approx(apart.overlap)
    assert together.angle == pytest.approx(apart.angle)


def test_shrink_keeps_the_geometry() -> None:
    view = render_standin(2)[0]
    small, K = shrink(view.depth, view.K)
    assert small.shape == (48, 64)
    for x, y in ((-0.5, -0.5), (95.5, 71.5)):  # the image's corners
        ray = np.linalg.inv(view.K) @ (x, y, 1)
        assert (K @ ray)[:2] == pytest.approx(((x + 0.5) * 64 / 96 - 0.5, (y + 0.5) * 48 / 72 - 0.5))
    assert set(np.unique(small)) <= set(np.unique(view.depth))


def test_candidates() -> None:
    poses = np.tile(np.eye(4), (8, 1, 1))
    settings = PairSettings(strides=(1, 4), random_partners=0)
    rng = np.random.default_rng(0)
    one_camera = candidate_pairs(poses, settings, rng)
    assert one_camera.tolist() == sorted([[i, i + 1] for i in range(7)] + [[i, i + 4] for i in range(4)])
    rig = candidate_pairs(poses, settings, rng, cameras=["l"] * 4 + ["r"] * 4, instants=list("01230123"))
    within = [[0, 1], [1, 2], [2, 3], [4, 5], [5, 6], [6, 7]]
    assert rig.tolist() == sorted(within + [[i, i + 4] for i in range(4)])


def test_random_candidates_look_about_the_same_way() -> None:
    turned = np.radians([0, 50, 70, 180])
    poses = np.tile(np.eye(4), (4, 1, 1))
    poses[:, 0, 2], poses[:, 2, 2] = np.sin(turned), np.cos(turned)
    found = candidate_pairs(poses, PairSettings(strides=(), random_partners=20), np.random.default_rng(0))
    assert found.tolist() == [[0, 1], [1, 2]]
    many = np.tile(np.eye(4), (50, 1, 1))
    found = candidate_pairs(many, PairSettings(strides=(), random_partners=3), np.random.default_rng(0))
    assert 75 <= len(found) <= 150
    again = candidate_pairs(many, PairSettings(strides=(), random_partners=3), np.random.default_rng(0))
    assert np.array_equal(found, again)


def test_choice_by_overlap_weight_and_partners() -> None:
    candidates = np.array([(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)])
    scores = PairScores(np.array([0.5, 0.8, 0.6, 0.05, 0.97]), np.array([20.0, 5.0, 10.0, 10.0, 10.0]))
    chosen = choose_pairs(candidates, scores, PairSettings())
    assert chosen.pairs.tolist() == [[0, 1], [0, 2], [0, 3]]
    assert chosen.weight == pytest.approx([0.5, 0.4, 0.6])
    two = choose_pairs(candidates, scores, PairSettings(partners=2))
    assert two.pairs.tolist() == [[0, 1], [0, 3]]
    forced = choose_pairs(candidates, scores, PairSettings(partners=1), published=np.arange(5) == 3)
    assert forced.pairs.tolist() == [[0, 3], [1, 2]]


def test_cap_draws_by_weight() -> None:
    weight = np.array([0.9] * 50 + [0.01] * 950)
    settings = PairSettings(max_pairs=50)
    drawn = draw_pairs(weight, settings)
    assert len(drawn) == len(set(drawn.tolist())) == 50
    assert (np.diff(drawn) > 0).all()
    assert (drawn < 50).sum() > 25
    assert np.array_equal(drawn, draw_pairs(weight, settings))
    assert draw_pairs(weight, PairSettings()).tolist() == list(range(1000))
    assert draw_pairs(np.array([0.0, 0.5, 0.0]), PairSettings(max_pairs=1)).tolist() == [1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"strides": (0,)}, {"strides": (), "random_partners": 0}, {"overlap": (0.9, 0.1)}, {"partners": 0},
        {"max_pairs": 0}, {"full_degrees": 0}, {"random_degrees": 0}, {"random_partners": -1},
    ],
)  # fmt: skip
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        PairSettings(**wrong)


def _list() -> PairList:
    parts = [
        ScenePairs("a/b", ["000", "001", "unused", "003"], np.array([(0, 1), (1, 3)]), np.array([0.5, 0.25])),
        ScenePairs("empty", ["000"], np.empty((0, 2), np.int64), np.empty(0)),
        ScenePairs("c", ["Camera_0/7", "Camera_1/7"], np.array([(1, 0)]), np.array([1.0])),
    ]
    return PairList.joined(parts)


def test_pair_file_round_trip(tmp_path: Path) -> None:
    _list().write(tmp_path / "x_pairs.npz")
    read = PairList.read(tmp_path / "x_pairs.npz")
    assert read.scenes == ("a/b", "c")
    assert read.images == ("000", "001", "003", "Camera_0/7", "Camera_1/7")
    assert read.sceneids.tolist() == [0, 0, 0, 1, 1]
    assert read.pairs.dtype == PAIR
    assert [read[i] for i in range(len(read))] == [
        ("a/b", "000", "001"), ("a/b", "001", "003"), ("c", "Camera_1/7", "Camera_0/7")
    ]  # fmt: skip
    assert read.pairs["score"].tolist() == [0.5, 0.25, 1.0]
    assert [read.within(lambda scene: scene == "c")[0]] == [("c", "Camera_1/7", "Camera_0/7")]
    assert len(read.within(lambda scene: False)) == 0


def _stored() -> dict[str, np.ndarray]:
    pairs = _list()
    return {
        "scenes": np.array(pairs.scenes), "images": np.array(pairs.images),
        "sceneids": pairs.sceneids.copy(), "pairs": pairs.pairs.copy(),
    }  # fmt: skip


def _broken(name: str) -> dict[str, np.ndarray]:
    stored = _stored()
    if name == "no pairs":
        del stored["pairs"]
    elif name == "plain pairs":
        stored["pairs"] = np.zeros((3, 4))
    elif name == "image range":
        stored["pairs"]["im2_id"][0] = 5
    elif name == "scene range":
        stored["pairs"]["scene_id"][0] = -1
    elif name == "other scene":
        stored["pairs"]["im1_id"][2] = 0
    elif name == "with itself":
        stored["pairs"]["im1_id"][2] = stored["pairs"]["im2_id"][2]
    elif name == "sceneids":
        stored["sceneids"] = stored["sceneids"][:2]
    elif name == "numbers for names":
        stored["images"] = np.arange(5)
    return stored


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no pairs", "has no pairs"), ("plain pairs", "expected a list of records"),
        ("image range", "im2_id of pairs run from"), ("scene range", "scene_id of pairs run from"),
        ("other scene", "pair 2 is an image of another scene"), ("with itself", "pair 2 is an image with itself"),
        ("sceneids", "expected 5 whole numbers"), ("numbers for names", "expected a list of texts"),
    ],
)  # fmt: skip
def test_pair_files_that_do_not_hold_together(tmp_path: Path, name: str, says: str) -> None:
    np.savez(tmp_path / "bad.npz", **_broken(name))
    with pytest.raises(InputError, match=says) as caught:
        PairList.read(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


def test_objects_in_a_pair_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **{**_stored(), "scenes": np.array(["a", 1], dtype=object)})
    with pytest.raises(InputError, match="safely"):
        PairList.read(tmp_path / "bad.npz")
