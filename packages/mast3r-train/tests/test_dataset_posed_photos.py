"""PosedPhotos: COLMAP models and scenes of mast3r sfm as training sets, pairs, splits, errors."""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycolmap
import pytest
from PIL import Image
from safetensors.numpy import save_file

from mast3r_model import ConfigError, ImageTransform, InputError, parse_expression
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets import photo_pairs
from mast3r_train.datasets.exr import write_exr
from mast3r_train.datasets.pair_lists import PairList, ScenePairs
from mast3r_train.datasets.posed_photos import PosedPhotos
from mast3r_train.errors import SampleError
from mast3r_train.preparing.pair_scoring import PairSettings

from .loop_toy_pairs import CRITERION, MODEL
from .standin_scenes import StandinView, render_standin

REPOSITORY = Path(__file__).resolve().parents[3]
MAST3R = Path(sys.executable).with_name("mast3r")
COUNT = 6
NAMES = [f"walk/{number}.jpg" for number in range(COUNT)]


def colmap_model(views: list[StandinView], model: str = "PINHOLE") -> pycolmap.Reconstruction:
    """The views as COLMAP knows them, with points that two neighbours see."""
    made = pycolmap.Reconstruction()
    rng = np.random.default_rng(0)
    height, width = views[0].depth.shape
    observed = {number: [] for number in range(len(views))}
    tracks: list[list[tuple[int, int]]] = []
    points = []
    for number, view in enumerate(views[:-1]):
        for x, y in rng.integers((0, 0), (width, height), (40, 2)).tolist():
            if view.depth[y, x] <= 0:
                continue
            local = np.linalg.inv(view.K) @ (x, y, 1) * view.depth[y, x]
            point = view.cam2world[:3, :3] @ local + view.cam2world[:3, 3]
            other = views[number + 1]
            seen = other.K @ (other.cam2world[:3, :3].T @ (point - other.cam2world[:3, 3]))
            track = [(number, len(observed[number])), (number + 1, len(observed[number + 1]))]
            observed[number].append((x + 0.5, y + 0.5))
            observed[number + 1].append(tuple(seen[:2] / seen[2] + 0.5))
            tracks.append(track)
            points.append(point)
    for number, view in enumerate(views):
        fx, fy, cx, cy = view.K[0, 0], view.K[1, 1], view.K[0, 2] + 0.5, view.K[1, 2] + 0.5
        params = {
            "PINHOLE": [fx, fy, cx, cy],
            "SIMPLE_PINHOLE": [fx, cx, cy],
            "SIMPLE_RADIAL": [fx, cx, cy, 0.1],
        }
        camera = pycolmap.Camera(
            camera_id=number + 1, model=model, width=width, height=height, params=params[model]
        )
        made.add_camera_with_trivial_rig(camera)
        image = pycolmap.Image(
            name=NAMES[number] if number < COUNT else f"{number}.jpg",
            keypoints=np.array(observed[number]).reshape(-1, 2),
            camera_id=number + 1,
            image_id=number + 1,
        )
        made.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.linalg.inv(view.cam2world)[:3]))
    for point, track in zip(points, tracks, strict=True):
        elements = [pycolmap.TrackElement(image + 1, place) for image, place in track]
        made.add_point3D(point, pycolmap.Track(elements), np.zeros(3, np.uint8))
    return made


def write_photos(folder: Path, views: list[StandinView]) -> None:
    for name, view in zip(NAMES, views, strict=False):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(view.rgb).save(path, quality=95)


def write_dense_workspace(folder: Path, views: list[StandinView], **options: Any) -> Path:
    """What image_undistorter and patch_match_stereo leave."""
    write_photos(folder, views)
    (folder / "sparse").mkdir(parents=True)
    colmap_model(views, **options).write_binary(folder / "sparse")
    for name, view in zip(NAMES, views, strict=True):
        path = folder / "stereo" / "depth_maps" / f"{name}.geometric.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        pycolmap.DepthMap.from_array(view.depth, 0.0, 1000.0).write(path)
    return folder


def write_scene(
    folder: Path, views: list[StandinView], *, components: tuple[int, ...] = (0,) * COUNT
) -> Path:
    """The state file of mast3r sfm; the network saw the photos at half of their size, stored out of order."""
    arrays: dict[str, np.ndarray] = {}
    entries = []
    order = [3, 0, 5, 1, 2, 4]
    height, width = views[0].depth.shape
    for stored_as, number in enumerate(order):
        view = views[number]
        K = view.K.copy()
        K[:2] *= 2
        K[:2, 2] += 0.5  # original pixels: twice as many, centres at integers
        confidence = np.full(view.depth.shape, 2.0, np.float32)
        confidence[: height // 3] = 0.5
        matrix = ImageTransform.from_resize_and_crop(
            (2 * height, 2 * width), (height, width), (0, 0, width, height)
        ).network_from_original
        of_image = {
            "depth": view.depth, "confidence": confidence, "color": view.rgb, "intrinsics": K,
            "cam2world": view.cam2world, "network_from_original": matrix,
        }  # fmt: skip
        arrays |= {f"images.{stored_as}.{name}": np.ascontiguousarray(a) for name, a in of_image.items()}
        entries.append(
            {
                "name": NAMES[number],
                "original_shape": [2 * height, 2 * width],
                "transform_shapes": [[2 * height, 2 * width], [height, width]],
                "component": components[number],
            }
        )
    arrays["tracks.image"], arrays["tracks.track"] = np.array([0, 1, 1]), np.array([0, 0, 1])
    about = {"schema": "mast3r.scene/1", "images": entries, "report": {"min_confidence": 1.0}}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(arrays, folder / "scene.safetensors", metadata={"about": json.dumps(about)})
    return folder


@pytest.fixture(scope="module")
def views() -> list[StandinView]:
    return render_standin(COUNT)


@pytest.fixture
def dense(views: list[StandinView], tmp_path: Path) -> Path:
    return write_dense_workspace(tmp_path / "dense", views)


@pytest.fixture
def scene(views: list[StandinView], tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene", views)


def photos(root: Path, **options: Any) -> PosedPhotos:
    return PosedPhotos(ROOT=root, **{"resolution": (64, 48), "overlap": (0.05, 1.0), **options})


def assert_true_matches(dataset: PosedPhotos) -> None:
    """Matched pixels show the same point of the scene."""
    for index in range(len(dataset)):
        first, second = dataset[index]
        is_match = first["valid_corres"]
        points = [
            v["pts3d"][v["corres"][is_match][:, 1], v["corres"][is_match][:, 0]] for v in (first, second)
        ]
        scale = np.linalg.norm(points[0] - first["camera_pose"][:3, 3], axis=1)
        assert np.median(np.linalg.norm(points[0] - points[1], axis=1) / scale) < 0.02


def assert_like(dataset: PosedPhotos, views: list[StandinView]) -> None:
    """The source has the stand-in's cameras and depth, whatever the files were."""
    assert list(dataset.source.names) == NAMES
    np.testing.assert_allclose(dataset.source.cam2world, [view.cam2world for view in views], atol=1e-9)
    for number, view in enumerate(views):
        depth, K = dataset.source.geometry(number)
        np.testing.assert_allclose(K, view.K, atol=1e-9)
        known = depth > 0
        assert known.mean() > 0.4
        np.testing.assert_allclose(depth[known], view.depth[known], rtol=2e-3, atol=6e-4)


@pytest.mark.parametrize("model", ["PINHOLE", "SIMPLE_PINHOLE"])
def test_dense_workspace(views: list[StandinView], tmp_path: Path, model: str) -> None:
    dataset = photos(write_dense_workspace(tmp_path / "dense", views, model=model), n_corres=64, seed=0)
    assert_like(dataset, views)
    assert_conforms(dataset)
    assert_true_matches(dataset)
    assert dataset.is_metric_scale is False
    assert photos(dataset.root, metric=True)[0][0]["is_metric_scale"] is True
    view = dataset[0][0]
    assert (view["dataset"], view["label"]) == ("PosedPhotos", "dense")
    assert view["instance"] in NAMES


def test_options(dense: Path) -> None:
    assert_options_work(lambda **options: photos(dense, **options), resolution=(64, 48))
    built = parse_expression(f"10 @ PosedPhotos(ROOT={str(dense)!r}, resolution=(64, 48), metric=True)")
    assert len(built.build(("datasets", "transforms"))) == 10


@pytest.mark.parametrize("kind", ["npy", "png", "exr"])
def test_text_model_with_depth_in_files_beside(views: list[StandinView], tmp_path: Path, kind: str) -> None:
    root = tmp_path / "mine"
    write_photos(root, views)
    (root / "sparse" / "0").mkdir(parents=True)
    colmap_model(views).write_text(root / "sparse" / "0")
    for name, view in zip(NAMES, views, strict=True):
        path = (root / "depth" / name).with_suffix(f".{kind}")
        path.parent.mkdir(parents=True, exist_ok=True)
        depth = view.depth.copy()
        if kind == "png":
            assert cv2.imwrite(str(path), np.round(depth * 500).astype(np.uint16))
        elif kind == "npy":
            depth[depth == 0] = np.nan
            np.save(path, depth)
        else:
            write_exr(path, depth)
    dataset = photos(root, n_corres=64, seed=0, **({"png_unit": 0.002} if kind == "png" else {}))
    assert_like(dataset, views)
    assert_conforms(dataset)


def test_smaller_depth_maps(views: list[StandinView], dense: Path) -> None:
    """patch_match_stereo has --max_image_size; photos are reduced to the depth's size."""
    for name, view in zip(NAMES, views, strict=True):
        path = dense / "stereo" / "depth_maps" / f"{name}.geometric.bin"
        pycolmap.DepthMap.from_array(np.ascontiguousarray(view.depth[::2, ::2]), 0.0, 1000.0).write(path)
    dataset = photos(dense, resolution=(48, 36), n_corres=64, seed=0)
    _, K = dataset.source.geometry(0)
    np.testing.assert_allclose(K[:2, 2] + 0.5, (views[0].K[:2, 2] + 0.5) / 2)
    assert_conforms(dataset)
    assert_true_matches(dataset)


def test_distorted_cameras_are_refused(views: list[StandinView], tmp_path: Path) -> None:
    root = write_dense_workspace(tmp_path / "dense", views, model="SIMPLE_RADIAL")
    with pytest.raises(InputError, match=r"walk/0\.jpg has a SIMPLE_RADIAL camera") as raised:
        photos(root)
    assert "image_undistorter" in str(raised.value.hint)


def test_confidence_beside_a_colmap_model(views: list[StandinView], dense: Path) -> None:
    with pytest.raises(ConfigError, match="no folder confidence"):
        photos(dense, min_conf=1.5)
    for name, view in zip(NAMES, views, strict=True):
        path = dense / "confidence" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        confidence = np.ones(view.depth.shape, np.float32)
        confidence[:, :40] = 3
        np.save(path, confidence)
    depth, _ = photos(dense, min_conf=1.5).source.geometry(0)
    assert not depth[:, 40:].any()
    assert (depth[:, :40] > 0).mean() > 0.7
    (dense / "confidence" / f"{NAMES[2]}.npy").unlink()
    with pytest.raises(SampleError, match=r"walk/2\.jpg has no confidence map"):
        photos(dense, min_conf=1.4).source.geometry(2)


def test_scene_of_mast3r_sfm(views: list[StandinView], scene: Path) -> None:
    dataset = photos(scene, n_corres=64, seed=0)
    assert_like(dataset, views)
    assert_conforms(dataset)
    assert_true_matches(dataset)
    for number, view in enumerate(views):
        assert np.array_equal(np.asarray(dataset.source.image(number)), view.rgb)
        unsure = dataset.source.geometry(number)[0][: len(view.depth) // 3]
        assert not unsure.any()  # the report's threshold
    everything = photos(scene, min_conf=0.0).source.geometry(1)[0]
    assert np.array_equal(everything, views[1].depth)
    assert not photos(scene, min_conf=1.9, overlap=(0, 1)).source.geometry(1)[0][:24].any()
    # Stored are 3, 0, 5, ...: the first track is seen by 3 and 0, the second by 0.
    assert sorted(map(tuple, dataset.source.tracks().tolist())) == [(0, 0), (0, 1), (3, 0)]
    assert_options_work(lambda **options: photos(scene, **options), resolution=(64, 48))


def test_groups_do_not_mix(views: list[StandinView], tmp_path: Path) -> None:
    root = write_scene(tmp_path / "scene", views, components=(0, 0, 0, 1, 1, 1))
    pairs = photos(root).pairs
    assert len(pairs)
    assert ((pairs < 3).all(1) | (pairs >= 3).all(1)).all()
    (root / "pairs.txt").write_text(f"{NAMES[0]} {NAMES[4]}\n")
    with pytest.raises(InputError, match="different groups"):
        photos(root)


def test_options_of_colmap_are_refused_for_scenes(scene: Path) -> None:
    with pytest.raises(ConfigError, match="depth is for COLMAP models only"):
        photos(scene, depth="depth")


def test_pairs_of_a_text_file(dense: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = f"# kapture format: 1.1\n# query_image, map_image, score\n{NAMES[0]}, {NAMES[3]}, 0.5\n{NAMES[2]}, walk/1, 1\n"
    (dense / "pairs.txt").write_text(f"{text}{NAMES[0]}, gone.jpg, 1\n")
    with caplog.at_level(logging.WARNING):
        assert photos(dense).pairs.tolist() == [[0, 3], [2, 1]]
    assert "1 of 3 pairs name absent photos" in caplog.text
    assert not list(dense.glob(".posed*"))
    (dense / "pairs.txt").write_text("one two three four\n")
    with pytest.raises(InputError, match="expected two names"):
        photos(dense)
    (dense / "pairs.txt").write_text("a b\n")
    with pytest.raises(InputError, match="no pair of photos that are there"):
        photos(dense)
    (dense / "pairs.txt").write_text(f"{NAMES[1]} {NAMES[1]}\n")
    with pytest.raises(InputError, match="with itself"):
        photos(dense)


def test_pairs_of_an_npz_file(dense: Path) -> None:
    images = [name.removesuffix(".jpg") for name in NAMES]
    listed = ScenePairs(".", images, np.array([[4, 2], [0, 1]]), np.ones(2, np.float32))
    PairList.joined([listed]).write(dense / "pairs.npz")
    assert photos(dense).pairs.tolist() == [[4, 2], [0, 1]]


def test_pairs_are_found_once(views: list[StandinView], dense: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = photos(dense).pairs
    counted = []
    scored = photo_pairs.score_pairs
    monkeypatch.setattr(photo_pairs, "score_pairs", lambda *a: counted.append(1) or scored(*a))
    assert np.array_equal(photos(dense).pairs, first)
    assert not counted
    path = dense / "stereo" / "depth_maps" / f"{NAMES[0]}.geometric.bin"
    pycolmap.DepthMap.from_array(views[0].depth * 0, 0.0, 1.0).write(path)
    changed = photos(dense).pairs
    assert counted
    assert 0 not in changed
    assert 0 in first


def test_unreadable_depth_makes_no_pairs(dense: Path, caplog: pytest.LogCaptureFixture) -> None:
    (dense / "stereo" / "depth_maps" / f"{NAMES[3]}.geometric.bin").write_bytes(b"96&72&1&cut off")
    dataset = photos(dense)
    assert 3 not in dataset.pairs
    assert "3.jpg.geometric.bin is no depth map of COLMAP's" in caplog.text
    with pytest.raises(SampleError, match="no depth map"):
        dataset.source.geometry(3)


def test_photos_without_depth_are_left_out(dense: Path, caplog: pytest.LogCaptureFixture) -> None:
    (dense / "stereo" / "depth_maps" / f"{NAMES[5]}.geometric.bin").unlink()
    assert list(photos(dense).source.names) == NAMES[:5]
    assert "1 photos have no depth map" in caplog.text


def test_splits_are_disjoint_and_whole(dense: Path) -> None:
    sets = {
        split: {tuple(p) for p in photos(dense, split=split, val_share=0.4).pairs.tolist()}
        for split in ("train", "val", None)
    }
    assert sets["train"]
    assert sets["val"]
    assert not sets["train"] & sets["val"]
    assert sets["train"] | sets["val"] == sets[None]
    with pytest.raises(InputError, match="is in split='val'"):
        photos(dense, split="val", val_share=0.0)


def test_many_photos_look_at_those_with_common_points(views: list[StandinView]) -> None:
    """Of 70 photos, strides and random partners are not all; a track brings 0 and 61 together."""

    class Source:
        names = tuple(map(str, range(70)))
        cam2world = np.tile(views[0].cam2world, (70, 1, 1))

        def tracks(self) -> np.ndarray:
            return np.array([[0, 9], [61, 9], [3, 4], [61, 4], [61, 5], [0, 5]])

    settings = PairSettings(strides=(1,), random_partners=0)
    found = {tuple(pair) for pair in photo_pairs._candidates(Source(), settings).tolist()}
    assert found == {(number, number + 1) for number in range(69)} | {(0, 61), (3, 61)}


def test_bad_folders(views: list[StandinView], dense: Path, scene: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"scene\.safetensors and no COLMAP model"):
        photos(tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist"):
        photos(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="split"):
        photos(dense, split="test")
    with pytest.raises(InputError, match="no two of the 6 photos"):
        photos(dense, overlap=(0.999, 1.0))
    with pytest.raises(ConfigError, match="overlap is"):
        photos(dense, overlap=0.5)
    with pytest.raises(InputError, match="has no elsewhere"):
        photos(dense, depth="elsewhere")
    (dense / "images" / NAMES[0]).write_bytes(b"no image")
    dataset = photos(dense)
    index = int(np.flatnonzero((dataset.pairs == 0).any(1))[0])
    with pytest.raises(SampleError, match=r"walk/0\.jpg is no image"):
        dataset[index]
    Image.fromarray(views[0].rgb[:50]).save(dense / "images" / NAMES[0])
    with pytest.raises(SampleError, match="has 96x50 pixels, its camera"):
        dataset[index]
    (dense / "sparse" / "images.bin").write_bytes(b"cut off")
    with pytest.raises(InputError, match="broken COLMAP model"):
        photos(dense)
    content = (scene / "scene.safetensors").read_bytes()
    (scene / "scene.safetensors").write_bytes(content[:-1000])
    with pytest.raises(InputError, match=r"scene\.safetensors is broken"):
        photos(scene)
    save_file({"a": np.zeros(1)}, scene / "scene.safetensors", metadata={"about": '{"schema": "other"}'})
    with pytest.raises(InputError, match="no scene of the kind"):
        photos(scene)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mast3r_sfm") is None, reason="mast3r-sfm is not installed")
def test_from_photos_to_training_steps(tmp_path: Path) -> None:
    """mast3r sfm -> PosedPhotos -> mast3r train, as a user types it."""
    root = tmp_path / "scene"
    pair = [str(REPOSITORY / "examples" / name) for name in ("a.jpg", "b.jpg")]
    command = [MAST3R, "sfm", *pair, "--size", "224", "-o", root, "--export", "ply"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    options = {"ROOT": root, "resolution": (160, 160), "overlap": (0.0, 1.0), "n_corres": 32}
    assert_conforms(PosedPhotos(**options, seed=0), samples=1)
    expression = f"4 @ PosedPhotos(ROOT={str(root)!r}, resolution=(48, 32), overlap=(0.0, 1.0), n_corres=16)"
    train = [
        *(MAST3R, "train", "--train_dataset", expression, "--model", MODEL, "--train_criterion", CRITERION),
        *(
            "--batch_size",
            2,
            "--epochs",
            1,
            "--num_workers",
            0,
            "--print_freq",
            1,
            "--output_dir",
            tmp_path / "run",
        ),
    ]
    for more in (["--dry-run"], []):
        done = subprocess.run([str(w) for w in (*train, *more)], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(lines) == 2
    assert np.isfinite(losses).all()
