"""NianticMapFree: releases, imported and computed depth, pairs, samples (spec 41 section 13)."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_model import ConfigError, InputError
from mast3r_train.datasets.colmap_depth import read_colmap_map
from mast3r_train.datasets.nianticmapfree import NianticMapFree, NianticMapFreeFolder, split_of
from mast3r_train.preparing import PrepareRequest
from mast3r_train.preparing.mapfree import plan
from mast3r_train.preparing.pair_scoring import SceneGeometry, score_pairs

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

SIZE_WH = (144, 192)
TRAIN, VAL, TEST = "s00007", "s00460", "s00525"
FACTOR = 2.7
"""Metres in a unit of the imported depth."""


def released(scene: str, size_wh: tuple[int, int] = SIZE_WH) -> dict[str, StandinView]:
    """Frames by path: two walks of 4 photos; of other scenes, a reference and 4 queries."""
    views = render_rig(8, size_wh, fov=65, seed=int(scene[1:]), tiled=size_wh != SIZE_WH)
    # The world is that of the reference.
    to_reference = np.linalg.inv(views[0].cam2world)
    views = [view._replace(cam2world=to_reference @ view.cam2world) for view in views]
    counts = (4, 4) if scene == TRAIN else (1, 4)
    names = [f"seq{k}/frame_{number:05d}.jpg" for k in (0, 1) for number in range(counts[k])]
    return dict(zip(names, views[: counts[0]] + views[4:], strict=True))


def write_release(root: Path, size_wh: tuple[int, int] = SIZE_WH) -> Path:
    for part, scene in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        folder = root / part / scene
        views = released(scene, size_wh)
        intrinsics, poses = ["# path fx fy cx cy W H"], ["# path qw qx qy qz tx ty tz"]
        for path, view in views.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(view.rgb).save(folder / path, quality=95)
            K = view.K
            intrinsics.append(f"{path} {K[0, 0]} {K[1, 1]} {K[0, 2]} {K[1, 2]} {size_wh[0]} {size_wh[1]}")
            world2cam = np.linalg.inv(view.cam2world)
            x, y, z, w = Rotation.from_matrix(world2cam[:3, :3]).as_quat()
            numbers = (w, x, y, z, *world2cam[:3, 3])
            poses.append(f"{path} " + " ".join(f"{n:.12e}" for n in numbers))
        (folder / "intrinsics.txt").write_text("\n".join(intrinsics) + "\n")
        if part != "test":
            (folder / "poses.txt").write_text("\n".join(poses) + "\n")
        if part == "train":
            names = [f"seq{k}/frame_{n:05d}.jpg" for k in (0, 1) for n in range(4)]
            rows = [(a, b) for b in range(8) for a in range(b)]
            geometry = SceneGeometry.of((views[n].depth, views[n].K, views[n].cam2world) for n in names)
            overlaps = score_pairs(geometry, np.array(rows)).overlap
            idxs = np.array([(a // 4, a % 4, b // 4, b % 4) for a, b in rows], dtype=np.int32)
            overlaps[0] = 0.05
            np.savez(folder / "overlaps.npz", idxs=idxs[overlaps > 0], overlaps=overlaps[overlaps > 0])
    return root


def write_depth_release(root: Path) -> Path:
    """Depth as published by others: each sequence in a world and a scale of its own."""
    for scene in (TRAIN, VAL):
        for path, view in released(scene).items():
            sequence, name = int(path[3]), Path(path).stem
            folder = root / scene / f"dense{sequence}"
            for kind in ("rgb", "depth", "cam", "sky_mask"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(view.rgb).save(folder / "rgb" / f"{name}.jpg", quality=95)
            depth = np.where(view.depth > 0, view.depth / FACTOR, 3.0).astype(np.float32)
            depth[40, :3] = (np.nan, 401 / FACTOR, 399 / FACTOR)
            np.save(folder / "depth" / f"{name}.npy", depth)
            sky = Image.fromarray(np.where(view.depth == 0, 255, 0).astype(np.uint8))
            sky.save(folder / "sky_mask" / f"{name}.jpg", quality=100)
            other_world = np.eye(4)
            other_world[:3, :3] = Rotation.from_euler(
                "xyz", (30, 40 + 50 * sequence, 60), degrees=True
            ).as_matrix()
            other_world[:3, 3] = (5, sequence, -2)
            pose = view.cam2world.copy()
            pose[:3, 3] /= FACTOR
            np.savez(folder / "cam" / f"{name}.npz", intrinsic=view.K, pose=other_world @ pose)
    return root


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("mapfree_raw"))


@pytest.fixture(scope="module")
def depths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_depth_release(tmp_path_factory.mktemp("mapfree_depths"))


@pytest.fixture(scope="module")
def processed(raw: Path, depths: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mapfree") / "mapfree_processed"
    report = prepare(plan, raw, out, import_from=depths)
    assert report.complete
    assert report.made == 8 + 5
    return out


def test_imported_depth_is_metric_and_in_one_world(processed: Path) -> None:
    folder = NianticMapFreeFolder(processed)
    assert folder.scenes() == [TRAIN, VAL]
    for scene in (TRAIN, VAL):
        scales = json.loads((processed / scene / "metric_scale.json").read_text())
        for one in ("dense0", "dense1"):
            assert scales[one]["factor"] == pytest.approx(FACTOR)
            assert scales[one]["spread"] == pytest.approx(0, abs=1e-6)
        for path, view in released(scene).items():
            frame = f"dense{path[3]}/{Path(path).stem}"
            K, pose = folder.camera(scene, frame)
            assert pose == pytest.approx(view.cam2world, abs=1e-6)
            assert pytest.approx(view.K) == K
            expected = np.where(view.depth > 0, view.depth, -1)
            expected[40, :3] = [
                (d if mask else -1) for d, mask in zip((0, 0, 399), view.depth[40, :3] > 0, strict=True)
            ]
            assert np.allclose(folder.depth(scene, frame), expected, rtol=1e-5, atol=0)


def test_samples(processed: Path) -> None:
    for split, scene in (("train", TRAIN), ("val", VAL)):
        make = partial(NianticMapFree, ROOT=processed, split=split)
        assert_dataset_is_sound(make, (192, 128))
        dataset = make(resolution=(96, 72), seed=0)
        assert {dataset.pairs[i][0] for i in range(len(dataset))} == {scene}
        assert dataset[0][0]["sky_mask"].any()
        assert dataset[0][0]["true_shape"].tolist() == [96, 72]  # portrait


def test_pairs_are_those_of_the_release(raw: Path, processed: Path) -> None:
    train = NianticMapFree(ROOT=processed, split="train", resolution=64)
    stored = np.load(raw / "train" / TRAIN / "overlaps.npz")
    given = {
        frozenset((f"dense{a}/frame_{i:05d}", f"dense{b}/frame_{j:05d}")): overlap
        for (a, i, b, j), overlap in zip(stored["idxs"].tolist(), stored["overlaps"].tolist(), strict=True)
    }
    listed = {frozenset(train.pairs[i][1:]) for i in range(len(train))}
    assert listed == {pair for pair, overlap in given.items() if 0.1 <= overlap <= 0.9}
    assert any(len({name[:6] for name in pair}) == 2 for pair in listed)  # across the two walks
    val = NianticMapFree(ROOT=processed, split="val", resolution=64)
    queries = [("dense0/frame_00000", f"dense1/frame_{n:05d}") for n in range(4)]
    assert [val.pairs[i][1:] for i in range(len(val))] == queries


def test_split_by_number() -> None:
    names = ("s00000", "s00459", "s00460", "s00524", "s00525", "s00654", "x00000", "s1")
    assert [split_of(name) for name in names] == ["train", "train", "val", "val", "test", "test", None, None]


def test_a_folder_of_others_with_the_release_beside_it(raw: Path, processed: Path, tmp_path: Path) -> None:
    """Pairs need overlaps.npz, of the folder itself or of the release."""
    root = shutil.copytree(processed, tmp_path / "other")
    (root / TRAIN / "overlaps.npz").unlink()
    (root / "mapfree_pairs.npz").unlink()
    code, document, errors = mast3r("data", "pairs", "NianticMapFree", "--root", root)
    assert code == 3
    assert list(document["result"]["failed"]) == [TRAIN]
    assert "overlaps.npz does not exist" in errors
    with pytest.raises(InputError, match="no pairs of split='train'"):
        NianticMapFree(ROOT=root, split="train", resolution=64)
    code, document, _ = mast3r(
        "data", "pairs", "nianticmapfree", "--root", root, "--raw", raw, "--min_overlap", "0.01"
    )
    assert code == 0
    more = NianticMapFree(ROOT=root, split="train", resolution=64)
    assert len(more) == len(NianticMapFree(ROOT=processed, split="train", resolution=64)) + 1


def test_no_masks_no_sky(processed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = shutil.copytree(processed, tmp_path / "bare")
    for folder in root.rglob("sky_mask"):
        shutil.rmtree(folder)
    dataset = NianticMapFree(ROOT=root, split="val", resolution=(96, 72), seed=0)
    assert "no masks" in caplog.text
    assert not dataset[0][0]["sky_mask"].any()


def test_poses_that_are_not_the_releases(raw: Path, depths: Path, tmp_path: Path) -> None:
    wrong = shutil.copytree(depths, tmp_path / "wrong")
    for number, path in enumerate(sorted((wrong / TRAIN / "dense1/cam").glob("*.npz"))):
        stored = dict(np.load(path))
        stored["pose"][:3, 3] *= 1 + 0.7 * (number % 2)
        np.savez(path, **stored)
    report = prepare(plan, raw, tmp_path / "out", import_from=wrong)
    assert list(report.failed) == [TRAIN]
    assert "dense1: its poses are not those of poses.txt" in report.failed[TRAIN]
    assert report.made == 5


def test_resumed_and_corrupt(raw: Path, depths: Path, processed: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(depths, tmp_path / "depths")
    assert_resumable(
        plan, raw, processed, processed / VAL / "dense1/cam/frame_00002.npz",
        damaged / VAL / "dense1/depth/frame_00002.npy", [f"{VAL}/dense1/frame_00002"],
        lists=("overlaps.npz", "metric_scale.json"), import_from=damaged,
    )  # fmt: skip


def test_command(raw: Path, depths: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(depths, tmp_path / "depths")
    (damaged / TRAIN / "dense0/cam/frame_00003.npz").write_bytes(b"broken")
    code, document, errors = mast3r(
        "data", "prepare", "mapfree", "--raw", raw, "--import", damaged, "--out", tmp_path / "out"
    )
    assert code == 3
    assert document["result"]["made"] == 12
    assert list(document["result"]["failed"]) == [f"{TRAIN}/dense0/frame_00003"]
    assert "dense0/cam/frame_00003.npz" in errors
    code, _, errors = mast3r("data", "prepare", "mapfree", "--raw", raw, "--out", tmp_path / "none")
    assert code == 1
    assert "no depth: give --import DIR" in errors


def test_stereo_is_refused_without_cuda(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pycolmap

    monkeypatch.setattr(pycolmap, "has_cuda", False)
    with pytest.raises(InputError, match=r"the installed pycolmap .* built without CUDA") as caught:
        plan(PrepareRequest(raw, tmp_path / "out", options={"depth": "colmap"}))
    assert "--import" in str(caught.value.hint)
    monkeypatch.setitem(__import__("sys").modules, "pycolmap", None)
    with pytest.raises(InputError, match="pycolmap"):
        plan(PrepareRequest(raw, tmp_path / "out", options={"depth": "colmap"}))


def test_stereo_around_a_substitute_for_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is COLMAP's own but PatchMatch itself, in whose place the true depth is written."""
    import pycolmap

    size_wh = (288, 384)
    raw = write_release(tmp_path / "raw", size_wh)
    calls = []

    def write_true_depth(workspace: Path, options: Any) -> None:
        assert options.geom_consistency
        model = pycolmap.Reconstruction(Path(workspace) / "sparse")
        assert model.num_points3D() > 10
        scene = TRAIN if TRAIN in str(workspace) else VAL
        views = released(scene, size_wh)
        for image in model.images.values():
            view = views[image.name]
            assert image.cam_from_world().matrix() == pytest.approx(
                np.linalg.inv(view.cam2world)[:3], abs=1e-6
            )
            assert image.camera.params[2:] == pytest.approx(view.K[:2, 2] + 0.5)
            assert (Path(workspace) / "images" / image.name).is_file()
            path = Path(workspace) / "stereo" / "depth_maps" / f"{image.name}.geometric.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            pycolmap.DepthMap.from_array(view.depth, 0.1, 100).write(path)
        calls.append(sorted(image.name for image in model.images.values()))

    monkeypatch.setattr(pycolmap, "has_cuda", True)
    monkeypatch.setattr(pycolmap, "patch_match_stereo", write_true_depth)
    report = prepare(plan, raw, tmp_path / "out", depth="colmap")
    assert report.failed == {}
    assert report.complete
    assert len(calls) == 3  # both walks of the training scene, the validation scene as a whole
    assert not any((tmp_path / "out/.colmap").iterdir())
    folder = NianticMapFreeFolder(tmp_path / "out")
    for scene in (TRAIN, VAL):
        for path, view in released(scene, size_wh).items():
            frame = f"dense{path[3]}/{Path(path).stem}"
            assert np.array_equal(folder.depth(scene, frame), view.depth)
            assert folder.camera(scene, frame)[1] == pytest.approx(view.cam2world, abs=1e-9)
    assert len(NianticMapFree(ROOT=tmp_path / "out", split="train", resolution=64)) > 3


def test_depth_maps_of_colmap(tmp_path: Path) -> None:
    import pycolmap

    depth = np.arange(12, dtype=np.float32).reshape(3, 4)
    pycolmap.DepthMap.from_array(depth, 0.1, 100).write(tmp_path / "a.bin")
    assert np.array_equal(read_colmap_map(tmp_path / "a.bin"), depth)
    (tmp_path / "b.bin").write_bytes((tmp_path / "a.bin").read_bytes()[:-3])
    with pytest.raises(InputError, match="no depth map of COLMAP's"):
        read_colmap_map(tmp_path / "b.bin")


def test_published_expression(processed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAST3R_DATA_ROOT", str(processed.parent))
    options = "aug_crop='auto', aug_monocular=0.005, transform=ColorJitter, n_corres=8192, nneg=0.5"
    text = f"22_800 @ NianticMapFree(split='train', resolution=[(512, 384), (512, 160)], {options})"
    assert len(build(text)) == 22_800


def test_bad_input(processed: Path, tmp_path: Path) -> None:
    make = partial(NianticMapFree, ROOT=processed, split="val")
    assert_names_missing_pairs(make, processed / "mapfree_pairs.npz")
    assert_refuses_broken_image(make, processed / VAL / "dense0/rgb/frame_00000.jpg")
    with pytest.raises(ConfigError, match="'train' and 'val'"):
        make(split="test", resolution=64)
    with pytest.raises(InputError, match=r"train/s00000/poses\.txt"):
        plan(PrepareRequest(tmp_path, tmp_path / "out", options={"import_from": processed}))
