"""WildRgbd: from a stand-in of WildRGB-D to pairs (spec 41 section 8); what it shares with Co3d is tested there."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mast3r_model import InputError
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets.wildrgbd import WildRgbd
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareRequest, run_preparation
from mast3r_train.preparing.wildrgbd import SEED, crop_around_exact_point, plan

from .prepared_checks import run_mast3r
from .standin_scenes import render_standin

SIZE = (96, 72)
FRAMES = 6


def write_scene(folder: Path, frames: int = FRAMES) -> None:
    """Photos, depth and masks as PNG, intrinsics by columns, one line of 17 numbers a frame."""
    lines = []
    for number, view in enumerate(render_standin(frames, SIZE)):
        name = f"{number:05d}.png"
        for kind in ("rgb", "depth", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(view.rgb).save(folder / "rgb" / name)
        assert cv2.imwrite(str(folder / "depth" / name), np.round(view.depth * 1000).astype(np.uint16))
        mask = np.zeros(view.depth.shape, np.uint8)
        mask[10:-10, 20:-20] = 255
        assert cv2.imwrite(str(folder / "masks" / name), mask)
        lines.append(" ".join(map(repr, [number, *view.cam2world.ravel().tolist()])))
        K = view.K
    (folder / "cam_poses.txt").write_text("\n".join(lines))
    metadata = {"w": SIZE[0], "h": SIZE[1], "K": K.T.ravel().tolist()}
    (folder / "metadata").write_text(json.dumps(metadata))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wildrgbd")
    for scene in ("scene_000", "scene_001", "scene_002"):
        write_scene(folder / "car" / "scenes" / scene)
    lists = {
        "camera_eval_list": {"train": ["scenes/scene_000", "scenes/scene_001"], "val": ["scenes/scene_002"]},
        "nvs_list": {"train": ["scenes/scene_001", "scenes/gone"], "val": ["scenes/scene_000"]},
    }
    for name, content in lists.items():
        (folder / "car" / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "wildrgbd_processed"
    report = run_preparation(plan(PrepareRequest(raw, out)))
    assert report.complete
    assert report.made == 3 * FRAMES
    return out


def make_dataset(root: Path, **options: Any) -> WildRgbd:
    return WildRgbd(ROOT=root, **{"split": "train", "mask_bg": False, "resolution": (96, 64), **options})


def copy_tree(source: Path, target: Path) -> Path:
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return target


def test_train_is_what_both_lists_train_on(prepared: Path) -> None:
    train, test = (json.loads((prepared / f"selected_seqs_{s}.json").read_text()) for s in ("train", "test"))
    numbers = list(range(FRAMES))
    assert train == {"car": {"scenes/scene_001": numbers}}
    assert test == {"car": {"scenes/scene_000": numbers, "scenes/scene_002": numbers}}


def test_pairs_conform_and_are_in_metres(prepared: Path) -> None:
    assert_conforms(make_dataset(prepared, n_corres=64, seed=1), samples=8)
    assert_options_work(lambda **options: make_dataset(prepared, **options), resolution=(64, 48))
    dataset = make_dataset(prepared, n_corres=200, seed=3, resolution=(256, 192))
    first, second = dataset[10]
    assert first["is_metric_scale"] is True
    is_match = first["valid_corres"]
    points = [
        view["pts3d"][view["corres"][is_match][:, 1], view["corres"][is_match][:, 0]]
        for view in (first, second)
    ]
    scale = np.linalg.norm(points[0] - first["camera_pose"][:3, 3], axis=1)
    assert np.median(np.linalg.norm(points[0] - points[1], axis=1) / scale) < 0.01
    views = render_standin(FRAMES, SIZE)
    for view in (first, second):
        truth = views[int(view["instance"][:5])]
        np.testing.assert_allclose(view["camera_pose"], truth.cam2world, atol=1e-5)
        assert abs(np.median(view["depthmap"]) / np.median(truth.depth) - 1) < 0.1


def test_a_hundred_frames_evenly_spread(raw: Path, tmp_path: Path) -> None:
    longer = copy_tree(raw, tmp_path / "raw")
    poses = np.tile(np.eye(4).ravel(), (250, 1))
    rows = [" ".join(map(str, [number, *pose])) for number, pose in enumerate(poses)]
    (longer / "car/scenes/scene_001/cam_poses.txt").write_text("\n".join(rows))
    frames = [frame for frame in plan(PrepareRequest(longer, tmp_path)).frames if "scene_001" in frame.name]
    numbers = [frame.job.number for frame in frames]
    assert numbers == np.round(np.linspace(0, 249, 100)).astype(int).tolist()


def test_many_scenes_are_drawn_with_one_seed_for_all_categories(raw: Path, tmp_path: Path) -> None:
    big = tmp_path / "raw"
    scenes = [f"scenes/scene_{number:03d}" for number in range(70)]
    for scene in scenes:
        target = big / "car" / scene
        target.mkdir(parents=True)
        for name in ("metadata", "cam_poses.txt"):
            (target / name).write_bytes((raw / "car/scenes/scene_000" / name).read_bytes())
    for name in ("camera_eval_list", "nvs_list"):
        (big / "car" / f"{name}.json").write_text(json.dumps({"train": scenes[:58], "val": scenes[58:]}))
    frames = plan(PrepareRequest(big, tmp_path / "out")).frames
    drawn = list(dict.fromkeys(frame.name.rsplit("/", 2)[0].removeprefix("car/") for frame in frames))
    assert 42 + int("63617465676f7279", 16) == SEED
    random.seed(SEED)
    train = random.sample(scenes[:58], 50)
    random.seed(SEED)
    assert drawn == train + random.sample(scenes[58:], 10)


def test_the_box_is_cut_to_whole_pixels() -> None:
    K = np.array([[90, 0, 47.3], [0, 90, 36.8], [0, 0, 1]], np.float32)
    image = Image.fromarray(np.zeros((72, 96, 3), np.uint8))
    cut, depth, K2 = crop_around_exact_point(image, np.zeros((72, 96, 2), np.float32), K)
    # Around (47.3, 36.8): from 0 to 94.6 and from 1.6 to 72.
    assert cut.size == (94, 71)
    assert depth is not None
    assert depth.shape == (71, 94, 2)
    np.testing.assert_allclose(K2[:2, 2], (47.3, 35.8), rtol=1e-6)
    with pytest.raises(ValueError, match="outside of the image"):
        crop_around_exact_point(image, None, K + np.array([[0, 0, 90]], np.float32))


def test_broken_raw_files_are_named_and_the_rest_is_done(raw: Path, tmp_path: Path) -> None:
    broken = copy_tree(raw, tmp_path / "raw")
    (broken / "car/scenes/scene_001/masks/00002.png").write_bytes(b"cut off")
    (broken / "car/scenes/scene_002/cam_poses.txt").write_text("0 1 2")
    out = tmp_path / "out"
    done = run_mast3r("data", "prepare", "wildrgbd", "--raw", broken, "--out", out)
    assert done.returncode == 3, done.stderr
    assert "masks/00002.png" in done.stderr
    assert "scene_002/cam_poses.txt" in done.stderr
    assert json.loads((out / "selected_seqs_train.json").read_text())["car"]["scenes/scene_001"] == [
        0,
        1,
        3,
        4,
        5,
    ]
    assert_conforms(make_dataset(out, seed=0, n_corres=32), samples=4)
    (broken / "car/scenes/scene_001/masks/00002.png").write_bytes(
        (raw / "car/scenes/scene_001/masks/00002.png").read_bytes()
    )
    report = run_preparation(plan(PrepareRequest(broken, out)))
    assert (report.made, report.kept, list(report.failed)) == (1, 11, ["car/scenes/scene_002"])


def test_bad_input(raw: Path, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"<category>/scenes"):
        plan(PrepareRequest(tmp_path, tmp_path / "out"))
    lacking = copy_tree(raw, tmp_path / "raw")
    (lacking / "car/nvs_list.json").unlink()
    with pytest.raises(InputError, match=r"nvs_list\.json"):
        plan(PrepareRequest(lacking, tmp_path / "out"))
    root = copy_tree(prepared, tmp_path / "wild")
    for path in root.rglob("metadata/*.npz"):
        path.unlink()
    with pytest.raises(SampleError, match=r"metadata/0000\d\.npz does not exist"):
        make_dataset(root)[0]
