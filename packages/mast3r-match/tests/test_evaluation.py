"""Measures on pairs whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mast3r_match import Matches
from mast3r_match.cli import evaluate_pairs as evaluate_command
from mast3r_match.evaluation import (
    PosedPair,
    evaluate_pairs,
    pairs_of_dataset,
    pose_auc,
    read_pair_list,
    summarize,
)
from mast3r_match.evaluation.measures import measure_pair, true_positions
from mast3r_match.evaluation.relative_poses import pose_errors, pose_from_points
from mast3r_model import InputError, PairPrediction, hookimpl, temporary_plugin
from mast3r_model.cli import run

CAMERA = np.array([[60.0, 0, 40], [0, 60, 30], [0, 0, 1]])
SHAPE = (64, 80)


def back_project(depth: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(CAMERA).T * depth[..., None]


@pytest.fixture
def pair() -> PosedPair:
    """Camera 1 stands to the right and is turned by 8 degrees; it sees bumpy ground, its depth is unknown."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    depth = 4 + np.sin(x / 7) + np.cos(y / 5)
    depth[:5] = 0
    angle = np.radians(8)
    motion = np.eye(4)
    motion[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    motion[:3, 3] = [-0.6, 0.1, 0.05]
    blank = torch.zeros(3, *SHAPE)
    return PosedPair("pair", blank, blank, CAMERA, CAMERA, motion, depth, np.zeros(SHAPE))


def prediction_of(pair: PosedPair, scale: float) -> PairPrediction:
    points = torch.from_numpy(scale * back_project(pair.depth0)).float()
    return PairPrediction(points, None, None, None, points, None, None, None)


def test_true_matches_score_full_marks(pair: PosedPair) -> None:
    truth, known, visible = true_positions(pair)
    assert not known[:5].any()
    assert known[5:].all()
    y, x = np.nonzero(visible)
    matches = Matches(np.c_[x, y], truth[visible], np.ones(len(x)))
    scores = measure_pair(pair, prediction_of(pair, 2.5), matches)
    assert scores.within_3px == 1.0
    assert 0.6 < scores.covisibility < 1
    assert scores.rotation_error < 0.2
    assert scores.translation_error < 1
    assert scores.depth_error < 1e-5
    assert scores.inliers > 1500
    assert scores.pose_error == max(scores.rotation_error, scores.translation_error)


def test_wrong_matches_do_not(pair: PosedPair) -> None:
    random = np.random.default_rng(0)
    keypoints = random.integers(5, 55, (300, 2)).astype(float)
    scores = measure_pair(pair, prediction_of(pair, 1), Matches(keypoints, keypoints[::-1], np.ones(300)))
    assert scores.within_3px < 0.2
    nothing = measure_pair(
        pair, prediction_of(pair, 1), Matches(np.empty((0, 2)), np.empty((0, 2)), np.empty(0))
    )
    assert (nothing.matches, nothing.rotation_error, nothing.within_3px) == (0, 180, None)
    assert summarize([scores, nothing]).within_3px == scores.within_3px


def test_points_alone_give_the_pose(pair: PosedPair) -> None:
    """Image 1 sees a bumpy surface; where its points are in camera 0's frame says where camera 1 is."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    in_camera1 = back_project(4 + np.sin(x / 7) + np.cos(y / 5))
    back = np.linalg.inv(pair.camera1_from_camera0)
    points = torch.from_numpy(3.0 * (in_camera1 @ back[:3, :3].T + back[:3, 3])).float()
    wrong = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) < 0.2
    outliers = torch.where(wrong[..., None], torch.randn(points.shape) + 4, points)
    confidence = torch.where(wrong, 1.0, 2.0)
    prediction = PairPrediction(points, None, None, None, outliers, confidence, None, None)
    rotation, translation = pose_errors(pose_from_points(pair, prediction), pair.camera1_from_camera0)
    assert rotation < 0.05
    assert translation < 0.5
    nowhere = PairPrediction(points, None, None, None, torch.full_like(points, torch.nan), None, None, None)
    assert pose_from_points(pair, nowhere) is None
    assert pose_errors(None, pair.camera1_from_camera0) == (180, 90)


def test_hidden_points_are_not_visible(pair: PosedPair) -> None:
    near = PosedPair(
        *(getattr(pair, name) for name in pair.__dataclass_fields__ if name != "depth1"), np.ones(SHAPE)
    )
    _, known, visible = true_positions(near)
    assert known.any()
    assert not visible.any()


def test_pose_auc() -> None:
    assert pose_auc([0, 0, 0]) == pytest.approx({"auc@5": 1, "auc@10": 1, "auc@20": 1}, abs=1e-9)
    assert pose_auc([180, np.inf])["auc@20"] == 0
    # One pair of two is right from 5 degrees on: the curve rises to a half at 5 and stays.
    assert pose_auc([5.0, 90.0])["auc@10"] == pytest.approx((0.5 * 5 * 0.5 + 5 * 0.5) / 10)


class Views:
    """A dataset of one pair, the second view portrait and so stored transposed."""

    def __init__(self, pair: PosedPair) -> None:
        self.pair = pair

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> list[dict[str, Any]]:
        pose1 = np.linalg.inv(self.pair.camera1_from_camera0).astype(np.float32)
        portrait = torch.arange(3 * 80 * 64).float().reshape(3, 80, 64)
        first = {
            "img": self.pair.image0,
            "depthmap": self.pair.depth0.astype(np.float32),
            "camera_intrinsics": CAMERA.astype(np.float32),
            "camera_pose": np.eye(4, dtype=np.float32),
            "true_shape": np.int32(SHAPE),
            "instance": "0",
        }
        second = first | {
            "img": portrait.transpose(1, 2),
            "depthmap": torch.full((64, 80), -1.0),
            "camera_intrinsics": torch.from_numpy(CAMERA[[1, 0, 2]]).float(),
            "camera_pose": torch.from_numpy(pose1),
            "true_shape": torch.tensor([80, 64]),
            "instance": "1",
        }
        return [first, second]


def test_views_are_turned_upright(pair: PosedPair) -> None:
    (found,) = pairs_of_dataset(Views(pair))
    assert found.image1.shape == (3, 80, 64)
    assert torch.equal(found.image1.flatten(), torch.arange(3 * 80 * 64).float())
    np.testing.assert_allclose(found.intrinsics1, CAMERA)
    np.testing.assert_allclose(found.camera1_from_camera0, pair.camera1_from_camera0, atol=1e-6)
    assert found.depth1.shape == (80, 64)
    assert (found.depth1 == 0).all()


def pair_line(names: tuple[str, str], camera: np.ndarray, motion: np.ndarray) -> str:
    numbers = np.concatenate([camera.ravel(), camera.ravel(), motion.ravel()])
    return " ".join([*names, "0", "0", *map(str, numbers)])


def test_lists_of_pairs(
    network: Any, scene: np.ndarray, save_photo: Callable[[str, np.ndarray], Path], tmp_path: Path
) -> None:
    """A camera that moves along a wall: matches shift by (30, 20) pixels."""
    save_photo("a.png", scene[:192, :256])
    save_photo("b.png", scene[20:212, 30:286])
    camera, motion = np.array([[200.0, 0, 128], [0, 200, 96], [0, 0, 1]]), np.eye(4)
    motion[:3, 3] = [-30 / 200, -20 / 200, 0]
    listing = tmp_path / "pairs.txt"
    listing.write_text("# two photos\n" + pair_line(("a.png", "b.png"), camera, motion) + "\n")
    pairs = list(read_pair_list(listing, size=128))
    np.testing.assert_allclose(pairs[0].intrinsics0[0, 0], 100)
    (scores,) = evaluate_pairs(network, pairs)
    assert scores.within_3px > 0.8
    assert scores.covisibility is None
    assert scores.depth_error is None
    listing.write_text("a.png b.png 0 0 1 2 3\n")
    with pytest.raises(InputError, match="line 1: expected 38 columns, got 7"):
        list(read_pair_list(listing))


class ViewsPlugin:
    """Registers the data set above as `Views()`."""

    def __init__(self, pair: PosedPair) -> None:
        self.pair = pair

    @hookimpl
    def mast3r_datasets(self) -> dict[str, object]:
        return {"Views": lambda: Views(self.pair)}


def test_command(
    pair: PosedPair, goldens: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--device", "cpu", "--json", "--model", str(goldens("model/mast3r_catconv.pth"))]
    output = str(tmp_path / "scores.json")
    with temporary_plugin(ViewsPlugin(pair), "views"):
        assert run(evaluate_command, ["Views()", "--limit", "1", "-o", output, *words]) == 0
        document = json.loads(capfd.readouterr().out)
        assert document["result"]["summary"]["pairs"] == 1
        assert len(json.loads(Path(output).read_text())["pairs"]) == 1
        assert run(evaluate_command, ["Views()", "-o", output, *words]) == 1  # it is there already
        assert run(evaluate_command, ["Views()", "--min-covisibility", "1", *words]) == 4
        assert run(evaluate_command, ["Viewz()", *words]) == 1
        assert "did you mean Views?" in capfd.readouterr().err
    assert run(evaluate_command, ["nowhere.txt", *words]) == 1
    assert "no such file: nowhere.txt" in capfd.readouterr().err
    listing = tmp_path / "pairs.txt"
    listing.write_text(pair_line(("a.png", "b.png"), CAMERA, np.eye(4)))
    assert run(evaluate_command, [str(listing), "--min-covisibility", "0.3", *words]) == 1
    assert "knows no depth" in capfd.readouterr().err
