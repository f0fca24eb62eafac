"""VirtualKitti from its raw files to samples, and read as released (spec 41 section 12)."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_model import ConfigError, InputError
from mast3r_train.datasets.virtualkitti import VirtualKitti, read_raw_cameras
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareRequest
from mast3r_train.preparing.virtualkitti import plan

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

INSTANTS, SIZE_WH = 8, (207, 63)
"""A sixth of the release's 1242x375, nearly; its shape."""

SCENES = ("Scene01/clone", "Scene20/15-deg-left")


def views(scene: str) -> list[StandinView]:
    # Scene20's principal point is a bit off the centre (103, 31), as the option allows.
    center = (103.25, 31.25) if scene.startswith("Scene20") else (103, 31)
    return render_rig(INSTANTS, SIZE_WH, baseline=0.532725, center=center, seed=SCENES.index(scene))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes as released: depth in cm, the sky at 65535; world-to-camera in text files."""
    root = tmp_path_factory.mktemp("virtualkitti_raw")
    for scene in SCENES:
        intrinsics = ["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"]
        extrinsics = ["frame cameraID r1,1 r1,2 r1,3 t1 r2,1 r2,2 r2,3 t2 r3,1 r3,2 r3,3 t3 0 0 0 1"]
        for number, view in enumerate(views(scene)):
            frame, camera = divmod(number, 2)
            frames = root / scene / "frames"
            for kind in ("rgb", "depth"):
                (frames / kind / f"Camera_{camera}").mkdir(parents=True, exist_ok=True)
            photo = frames / "rgb" / f"Camera_{camera}" / f"rgb_{frame:05d}.jpg"
            Image.fromarray(view.rgb).save(photo, quality=95)
            depth = np.where(view.depth > 0, np.rint(view.depth * 100), 65535).astype(np.uint16)
            Image.fromarray(depth).save(frames / "depth" / f"Camera_{camera}" / f"depth_{frame:05d}.png")
            K = view.K
            intrinsics.append(f"{frame} {camera} {K[0, 0]} {K[1, 1]} {K[0, 2]} {K[1, 2]}")
            numbers = np.linalg.inv(view.cam2world).ravel()
            extrinsics.append(f"{frame} {camera} " + " ".join(f"{n:.12e}" for n in numbers))
        (root / scene / "intrinsic.txt").write_text("\n".join(intrinsics) + "\n")
        (root / scene / "extrinsic.txt").write_text("\n".join(extrinsics) + "\n")
    return root


@pytest.fixture(scope="module")
def processed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("virtualkitti") / "virtualkitti_processed"
    report = prepare(plan, raw, out)
    assert report.complete
    assert report.made == 2 * 2 * INSTANTS
    return out


def test_processed_files(raw: Path, processed: Path) -> None:
    folder = processed / "Scene01/clone/Camera_1"
    truth = views("Scene01/clone")[2 * 3 + 1]
    stored = np.load(folder / "00003_cam.npz")
    assert stored["camera_pose"] == pytest.approx(truth.cam2world, abs=1e-9)
    assert stored["camera_intrinsics"] == pytest.approx(truth.K)
    released = raw / "Scene01/clone/frames"
    assert (folder / "00003_rgb.jpg").read_bytes() == (released / "rgb/Camera_1/rgb_00003.jpg").read_bytes()
    assert (folder / "00003_depth.png").read_bytes() == (
        released / "depth/Camera_1/depth_00003.png"
    ).read_bytes()


def test_samples(processed: Path) -> None:
    make = partial(VirtualKitti, ROOT=processed)
    assert_dataset_is_sound(make, (96, 48))
    view = make(resolution=(207, 63), seed=0)[0][0]
    truth = views(view["label"])[2 * int(view["instance"][-5:]) + int(view["instance"][7])]
    is_known = truth.depth > 0
    assert np.allclose(view["depthmap"][is_known], truth.depth[is_known], rtol=0, atol=0.0051)
    assert np.array_equal(view["sky_mask"], truth.depth == 0)
    assert (view["depthmap"][view["sky_mask"]] == -1).all()


def test_the_release_itself_gives_the_same_samples(raw: Path, processed: Path, tmp_path: Path) -> None:
    released = shutil.copytree(raw, tmp_path / "released")
    code, document, _ = mast3r("data", "pairs", "VirtualKitti", "--root", released)
    assert code == 0
    a, b = (
        VirtualKitti(ROOT=root, resolution=(96, 48), seed=0, n_corres=16) for root in (released, processed)
    )
    assert document["result"]["pairs"] == len(a) == len(b)
    assert np.array_equal(a.pairs.pairs, b.pairs.pairs)
    for ours, other in zip(a[3], b[3], strict=True):
        for key in ("depthmap", "camera_pose", "camera_intrinsics", "pts3d", "corres"):
            assert np.array_equal(ours[key], other[key])
        assert ours["rng"] == other["rng"]
        assert bool((ours["img"] == other["img"]).all())


def test_pairs_are_near_in_time_or_of_both_cameras(processed: Path) -> None:
    dataset = VirtualKitti(ROOT=processed, resolution=64)
    kinds = set()
    for index in range(len(dataset)):
        _, first, second = dataset.pairs[index]
        apart = abs(int(first[-5:]) - int(second[-5:]))
        same_camera = first[:8] == second[:8]
        assert (1 <= apart <= 5) if same_camera else apart == 0
        kinds.add(same_camera)
    assert kinds == {True, False}


def test_splits(processed: Path) -> None:
    scenes = {}
    for split in (None, "train", "test"):
        dataset = VirtualKitti(ROOT=processed, resolution=64, split=split)
        scenes[split] = {dataset.pairs[i][0] for i in range(len(dataset))}
    assert scenes == {None: set(SCENES), "train": {SCENES[0]}, "test": {SCENES[1]}}


def test_optical_center(processed: Path, tmp_path: Path) -> None:
    make = partial(VirtualKitti, ROOT=processed, resolution=(207, 63), split="test", seed=0)
    centered, stored = make()[0][0], make(optical_center_is_centered=False)[0][0]
    assert centered["camera_intrinsics"][:2, 2] == pytest.approx([103, 31], abs=1e-4)
    assert stored["camera_intrinsics"][:2, 2] == pytest.approx([103.25, 31.25], abs=1e-4)
    root = shutil.copytree(processed, tmp_path / "off")
    for path in root.rglob("*_cam.npz"):
        camera = dict(np.load(path))
        camera["camera_intrinsics"][0, 2] = 103.6
        np.savez(path, **camera)
    with pytest.raises(SampleError, match=r"_cam\.npz: the principal point \[103\.6.* is not the centre"):
        make(ROOT=root)[0]
    assert make(ROOT=root, optical_center_is_centered=False)[0][0]["camera_intrinsics"][
        0, 2
    ] == pytest.approx(103.6)


def test_resumed_and_corrupt(raw: Path, processed: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(raw, tmp_path / "raw")
    assert_resumable(
        plan, damaged, processed, processed / "Scene01/clone/Camera_0/00002_cam.npz",
        damaged / "Scene01/clone/frames/rgb/Camera_0/rgb_00002.jpg", ["Scene01/clone/Camera_0/00002"],
    )  # fmt: skip


def test_command_with_a_corrupt_file(raw: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(raw, tmp_path / "raw")
    (damaged / "Scene20/15-deg-left/frames/depth/Camera_1/depth_00004.png").write_bytes(b"no image")
    code, document, errors = mast3r(
        "data", "prepare", "virtualkitti", "--raw", damaged, "--out", tmp_path / "out"
    )
    assert code == 3
    assert document["result"]["made"] == 4 * INSTANTS - 1
    assert list(document["result"]["failed"]) == ["Scene20/15-deg-left/Camera_1/00004"]
    assert "depth_00004.png" in errors
    assert len(VirtualKitti(ROOT=tmp_path / "out", resolution=64)) > 10


def test_published_expression(processed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAST3R_DATA_ROOT", str(processed.parent))
    dataset = build(
        "45_600 @ VirtualKitti(optical_center_is_centered=True, resolution=[(512, 384), (512, 160)], "
        "aug_crop='auto', aug_monocular=0.005, transform=ColorJitter, n_corres=8192, nneg=0.5)"
    )
    assert len(dataset) == 45_600


def test_bad_input(processed: Path, tmp_path: Path) -> None:
    make = partial(VirtualKitti, ROOT=processed)
    assert_names_missing_pairs(make, processed / "virtualkitti_pairs.npz")
    scene, frame, _ = make(resolution=64).pairs[0]
    assert_refuses_broken_image(make, processed / scene / f"{frame}_rgb.jpg")
    with pytest.raises(ConfigError, match="'train', 'test' and None"):
        make(resolution=64, split="val")
    with pytest.raises(ConfigError, match="optical_center_is_centered"):
        make(resolution=64, optical_center_is_centered="yes")
    with pytest.raises(InputError, match="Scene01/clone/frames/rgb/Camera_0"):
        plan(PrepareRequest(tmp_path, tmp_path / "out"))
    (tmp_path / "intrinsic.txt").write_text("header\n0 0 1 2 3\n")
    with pytest.raises(SampleError, match=r"intrinsic\.txt, line 2: expected frame, camera and 4 numbers"):
        read_raw_cameras(tmp_path)
