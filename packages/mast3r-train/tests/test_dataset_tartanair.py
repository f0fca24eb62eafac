"""TartanAir from its raw files to samples (spec 41 section 10)."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_model import ConfigError, InputError
from mast3r_train.datasets.pair_lists import PairList
from mast3r_train.datasets.tartanair import TartanAir
from mast3r_train.preparing import PrepareRequest
from mast3r_train.preparing.tartanair import cam2world_of_ned, plan

from .posed_checks import (
    assert_dataset_is_sound,
    assert_names_missing_pairs,
    assert_refuses_broken_image,
    assert_resumable,
    build,
    mast3r,
    prepare,
)
from .standin_rigs import render_rig
from .standin_scenes import StandinView

SCENE = "office/Easy/P003"
FRAMES = 4

NED_AXES = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
"""Rows: OpenCV's x, y, z in the axes forward, right, down."""


def views() -> list[StandinView]:
    return render_rig(FRAMES, (640, 480), fov=90, center=(320, 240))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One flight as released: NED poses in a NED world, depth of the sky at 10 km."""
    root = tmp_path_factory.mktemp("tartanair_raw")
    flight = root / SCENE
    for folder in ("image_left", "depth_left"):
        (flight / folder).mkdir(parents=True)
    lines = []
    to_ned_world = np.eye(4)
    to_ned_world[:3, :3] = NED_AXES.T
    for number, view in enumerate(views()):
        Image.fromarray(view.rgb).save(flight / "image_left" / f"{number:06d}_left.png")
        depth = np.where(view.depth > 0, view.depth, 10_000).astype(np.float32)
        depth[0, 0] = np.inf
        np.save(flight / "depth_left" / f"{number:06d}_left_depth.npy", depth)
        cam2world = to_ned_world @ view.cam2world  # the world's axes too are north, east, down
        ned = cam2world[:3, :3] @ NED_AXES  # camera with axes forward, right, down
        lines.append(" ".join(f"{n:.12e}" for n in (*cam2world[:3, 3], *Rotation.from_matrix(ned).as_quat())))
    (flight / "pose_left.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def processed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tartanair") / "tartanair_processed"
    report = prepare(plan, raw, out)
    assert report.complete
    assert report.made == FRAMES
    return out


def test_processed_files(processed: Path) -> None:
    stored = np.load(processed / SCENE / "000002_cam.npz")
    truth = views()[2]
    assert stored["camera_intrinsics"].tolist() == [[320, 0, 320], [0, 320, 240], [0, 0, 1]]
    # The world stays NED; seen from another camera it is the same.
    other = np.load(processed / SCENE / "000000_cam.npz")["camera_pose"]
    relative = np.linalg.inv(other) @ stored["camera_pose"]
    expected = np.linalg.inv(views()[0].cam2world) @ truth.cam2world
    assert relative == pytest.approx(expected, abs=1e-9)
    depth = np.load(processed / SCENE / "000002_depth.npy")
    assert depth.dtype == np.float32
    assert np.array_equal(np.array(Image.open(processed / SCENE / "000002_rgb.png")), truth.rgb)


def test_a_camera_that_looks_north() -> None:
    pose = cam2world_of_ned(np.array([10.0, 20, -5, 0, 0, 0, 1]))
    assert pose[:3, 2].tolist() == [1, 0, 0]  # forward: north
    assert pose[:3, 0].tolist() == [0, 1, 0]  # right: east
    assert pose[:3, 1].tolist() == [0, 0, 1]  # down
    assert pose[:3, 3].tolist() == [10, 20, -5]


def test_samples(processed: Path) -> None:
    assert_dataset_is_sound(partial(TartanAir, ROOT=processed))
    dataset = TartanAir(ROOT=processed, resolution=(640, 480), seed=0)
    assert dataset.is_metric_scale
    view = dataset[0][0]
    assert (view["dataset"], view["label"]) == ("TartanAir", SCENE)
    truth = views()[int(view["instance"])]
    depth = np.where(truth.depth > 0, truth.depth, -1)
    depth[0, 0] = 0  # not finite in the release
    assert np.array_equal(view["depthmap"], depth)
    assert np.array_equal(view["sky_mask"], depth < 0)
    assert view["sky_mask"].any()


def test_resumed_and_corrupt(raw: Path, processed: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(raw, tmp_path / "raw")
    assert_resumable(
        plan, damaged, processed, processed / SCENE / "000001_cam.npz",
        damaged / SCENE / "image_left" / "000001_left.png", [f"{SCENE}/000001"],
    )  # fmt: skip


def test_command(raw: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(raw, tmp_path / "raw")
    (damaged / "office/Hard/P000").mkdir(parents=True)
    (damaged / "office/Hard/P000/pose_left.txt").write_text("1 2 3\n")
    code, document, errors = mast3r(
        "data", "prepare", "tartanair", "--raw", damaged, "--out", tmp_path / "out"
    )
    assert code == 3
    assert document["result"]["made"] == FRAMES
    assert list(document["result"]["failed"]) == ["office/Hard/P000"]
    assert "office/Hard/P000/pose_left.txt" in errors
    assert len(TartanAir(ROOT=tmp_path / "out", resolution=64)) == len(
        PairList.read(tmp_path / "out/tartanair_pairs.npz")
    )
    code, document, _ = mast3r(
        "data", "pairs", "tartanair", "--root", tmp_path / "out", "--strides", "1", "--random", "0", "--out",
        tmp_path / "out/tartanair_pairs_near.npz",
    )  # fmt: skip
    assert code == 0
    assert document["result"]["pairs"] == FRAMES - 1
    near = build(f"TartanAir(pairs_subset='near', ROOT='{tmp_path / 'out'}', resolution=(64, 48))")
    assert [near.pairs[i][1:] for i in range(3)] == [
        ("000000", "000001"),
        ("000001", "000002"),
        ("000002", "000003"),
    ]


def test_published_expression(processed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAST3R_DATA_ROOT", str(processed.parent))
    dataset = build(
        "68_400 @ TartanAir(pairs_subset='', resolution=[(512, 384), (512, 336), (512, 288), (512, 256), (512, 160)], "
        "aug_crop='auto', aug_monocular=0.005, transform=ColorJitter, n_corres=64, nneg=0.5)"
    )
    assert len(dataset) == 68_400


def test_bad_input(processed: Path, tmp_path: Path) -> None:
    make = partial(TartanAir, ROOT=processed)
    assert_names_missing_pairs(make, processed / "tartanair_pairs.npz")
    scene, first, _ = make(resolution=64).pairs[0]
    assert_refuses_broken_image(make, processed / scene / f"{first}_rgb.png")
    with pytest.raises(InputError, match=r"tartanair_pairs_other\.npz"):
        make(resolution=64, pairs_subset="other")
    with pytest.raises(ConfigError, match="no splits"):
        make(resolution=64, split="train")
    with pytest.raises(ConfigError, match="pairs_subset"):
        make(resolution=64, pairs_subset="../x")
    with pytest.raises(InputError, match=r"pose_left\.txt"):
        plan(PrepareRequest(tmp_path, tmp_path / "out"))
