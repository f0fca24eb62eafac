"""MegaDepth: from a stand-in of both releases to pairs; splits, sky, broken files (spec 41 sections 3 and 15)."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_model import ConfigError, InputError, parse_expression
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets.exr import read_exr
from mast3r_train.datasets.megadepth import MegaDepth
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareRequest, run_preparation
from mast3r_train.preparing.colmap_text import ColmapCamera
from mast3r_train.preparing.megadepth import plan, rectified_intrinsics
from mast3r_train.preparing.raw_depth import read_hdf5_depth

from .prepared_checks import assert_depth_of_raw, assert_true_matches, run_mast3r, snapshot
from .standin_scenes import StandinView, render_standin

SCENES = {"0000 0": (96, 72), "0015 1": (72, 96), "0022 0": (96, 64)}
"""Scene -> size of its photos."""

DISTORTION = -0.06
PAIR = np.dtype([("scene_id", "i8"), ("im1_id", "i8"), ("im2_id", "i8"), ("score", "f4")])


def scene_views(scene: str) -> list[StandinView]:
    return render_standin(3, SCENES[scene], seed=list(SCENES).index(scene))


def image_name(scene: str, number: int) -> str:
    return f"{scene[:4]}_{number}_o.jpg"


def camera_of(view: StandinView) -> ColmapCamera:
    """The camera of an original photo, 1.5 times as large, whose rectified photo is the view."""
    height, width = view.depth.shape
    focal = 1.5 * view.K[0, 0]
    for _ in range(30):
        camera = ColmapCamera(
            "SIMPLE_RADIAL", width * 3 // 2, height * 3 // 2, (focal, width * 0.75, height * 0.75, DISTORTION)
        )
        found = rectified_intrinsics(camera, (width, height))
        focal *= view.K[0, 0] / found[0, 0]
    np.testing.assert_allclose(found, view.K, atol=1e-4)
    return camera


def write_scene(raw: Path, scene: str) -> None:
    number, part = scene.split()
    dense, sparse = raw / number / f"dense{part}", raw / number / "sparse" / "manhattan" / part
    for folder in (dense / "imgs", dense / "depths", sparse):
        folder.mkdir(parents=True)
    cameras = ["# Camera list", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]", "# Number of cameras: 3"]
    images = ["# Image list", "#   IMAGE_ID, ...", "#   POINTS2D[]", "# Number of images: 4"]
    images += ["99 1 0 0 0 0 0 0 10 another.jpg", "1.5 2.5 -1 3 4 7"]
    for place, view in enumerate(scene_views(scene)):
        name = image_name(scene, place)
        Image.fromarray(view.rgb).save(dense / "imgs" / name, quality=95)
        with h5py.File(dense / "depths" / f"{Path(name).stem}.h5", "w") as file:
            file["depth"] = view.depth
        camera = camera_of(view)
        cameras.append(
            f"{10 + place} {camera.model} {camera.width} {camera.height} {' '.join(map(str, camera.params))}"
        )
        world2cam = np.linalg.inv(view.cam2world)
        x, y, z, w = Rotation.from_matrix(world2cam[:3, :3]).as_quat()
        words = [place, w, x, y, z, *world2cam[:3, 3], 10 + place, name]
        images += [" ".join(map(str, words)), "" if place == 1 else "10.5 20.5 -1 30 40 5"]
    (sparse / "cameras.txt").write_text("\n".join(cameras) + "\n")
    (sparse / "images.txt").write_text("\n".join(images) + "\n")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("megadepth")
    for scene in SCENES:
        write_scene(folder, scene)
    images = [image_name(scene, number) for scene in SCENES for number in range(3)]
    pairs = [(place, 3 * place + i, 3 * place + i + 1, 0.5) for place in range(3) for i in (0, 1)]
    np.savez(folder / "megadepth_pairs.npz", scenes=list(SCENES), images=images, pairs=np.array(pairs, PAIR))
    return folder


def request(raw: Path, out: Path) -> PrepareRequest:
    return PrepareRequest(raw, out, pairs=raw / "megadepth_pairs.npz")


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("megadepth_out") / "megadepth_processed"
    report = run_preparation(plan(request(raw, out)))
    assert report.complete, report
    assert report.made == 9
    return out


def make_dataset(root: Path, **options: Any) -> MegaDepth:
    return MegaDepth(ROOT=root, **{"split": None, "resolution": (64, 48), "seed": 0, **options})


def test_prepared_frames_show_what_the_raw_ones_do(prepared: Path) -> None:
    for scene in SCENES:
        for number, view in enumerate(scene_views(scene)):
            stem = f"{prepared / scene.replace(' ', '/')}/{image_name(scene, number)}"
            with np.load(f"{stem}.npz") as camera:
                assert camera["cam2world"].dtype == np.float64
                np.testing.assert_allclose(camera["cam2world"], view.cam2world, atol=1e-6)
                np.testing.assert_allclose(camera["intrinsics"], view.K, atol=1e-4)
            with Image.open(f"{stem}.jpg") as image:
                assert image.size == SCENES[scene]  # small photos are not enlarged
            np.testing.assert_array_equal(read_exr(Path(f"{stem}.exr")), view.depth)


@pytest.mark.parametrize(("size", "expected"), [((1200, 900), (800, 600)), ((1000, 1500), (600, 900))])
def test_large_photos_are_reduced_and_negative_depth_is_unknown(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    raw = tmp_path / "raw"
    write_scene(raw, "0000 0")
    name = image_name("0000 0", 0)
    photo = raw / "0000/dense0/imgs" / name
    with Image.open(photo) as image:
        image.resize(size).save(photo)
    depth = np.linspace(1, 2, size[0], dtype=np.float32) * np.ones((size[1], 1), np.float32)
    depth[: size[1] // 4] = -3
    depth[-50:] = np.nan
    with h5py.File(raw / "0000/dense0/depths" / f"{Path(name).stem}.h5", "w") as file:
        file["depth"] = depth
    np.savez(raw / "pairs.npz", scenes=["0000 0"], images=[name], pairs=np.array([(0, 0, 0, 1)], PAIR))
    assert run_preparation(plan(PrepareRequest(raw, tmp_path / "out", pairs=raw / "pairs.npz"))).complete
    stem = tmp_path / "out/0000/0" / name
    with Image.open(f"{stem}.jpg") as image:
        assert image.size == expected
    found = read_exr(Path(f"{stem}.exr"))
    assert found.min() == 0
    assert not found[: expected[1] // 4 - 1].any()
    with np.load(f"{stem}.npz") as camera:
        view = scene_views("0000 0")[0]
        clean = np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)
        full = rectified_intrinsics(camera_of(view), size)
        assert_depth_of_raw(found, camera["intrinsics"], StandinView(view.rgb, clean, full, view.cam2world))


@pytest.mark.parametrize("distortion", [-0.15, -0.02, 0.0, 0.1])
def test_rectified_photos_show_no_border_and_lose_little(distortion: float) -> None:
    """Every pixel of the rectified photo comes from inside of the original, and some from its rim."""
    camera = ColmapCamera("SIMPLE_RADIAL", 1600, 1200, (1500.0, 800.0, 600.0, distortion))
    size = (800, 600)
    K = rectified_intrinsics(camera, size)
    np.testing.assert_allclose(K[:2, 2], (np.array(size) - 1) / 2)
    assert K[0, 0] == K[1, 1]
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    a, b = (x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1]
    radial = 1 + distortion * (a * a + b * b)
    u, v = 1500 * a * radial + 800, 1500 * b * radial + 600
    margin = min(u.min(), v.min(), 1600 - u.max(), 1200 - v.max())
    assert -2 < margin < 12


def test_cameras_of_other_models_are_refused() -> None:
    with pytest.raises(SampleError, match="SIMPLE_RADIAL, got PINHOLE"):
        rectified_intrinsics(ColmapCamera("PINHOLE", 10, 10, (1.0, 1.0, 5.0, 5.0)), (10, 10))


def test_pairs_conform_with_all_options(prepared: Path) -> None:
    assert_conforms(make_dataset(prepared, n_corres=64))
    assert_options_work(
        lambda **options: MegaDepth(ROOT=prepared, split="val", **options), resolution=(64, 48)
    )


def test_matches_show_the_same_point(prepared: Path) -> None:
    assert_true_matches(make_dataset(prepared, n_corres=200, resolution=(96, 64)))
    assert_true_matches(make_dataset(prepared, n_corres=100, resolution=(96, 64), aug_crop="auto"))


def test_splits_are_honoured(prepared: Path) -> None:
    labels = {
        split: [dataset[i][0]["label"] for i in range(len(dataset))]
        for split in ("train", "val", None)
        for dataset in [make_dataset(prepared, split=split)]
    }
    assert labels["train"] == ["0000/0"] * 2
    assert labels["val"] == ["0015/1"] * 2 + ["0022/0"] * 2
    assert labels[None] == labels["train"] + labels["val"]


def test_either_name_of_the_pair_list_is_read(raw: Path, prepared: Path, tmp_path: Path) -> None:
    assert (prepared / "all_metadata.npz").read_bytes() == (raw / "megadepth_pairs.npz").read_bytes()
    root = Path(shutil.copytree(prepared, tmp_path / "root"))
    (root / "all_metadata.npz").rename(root / "megadepth_pairs.npz")
    assert len(make_dataset(root)) == 6


def test_a_view_says_where_it_is_from(prepared: Path) -> None:
    views = make_dataset(prepared, split="val")[1]
    assert [(view["dataset"], view["label"], view["instance"]) for view in views] == [
        ("MegaDepth", "0015/1", "0015_1_o.jpg"),
        ("MegaDepth", "0015/1", "0015_2_o.jpg"),
    ]
    assert views[0]["true_shape"].tolist() == [64, 48]  # portrait photos stay portrait
    assert not views[0]["is_metric_scale"]


def test_published_expressions_build(prepared: Path) -> None:
    text = f"5 @ MegaDepth(split='train', mask_sky=True, ROOT='{prepared}', resolution=[(64, 48)], aug_crop='auto')"
    assert len(parse_expression(text).build(("datasets", "transforms"))) == 5


def test_sky_masks_stand_beside_the_photos(
    prepared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = Path(shutil.copytree(prepared, tmp_path / "root"))
    for photo in root.rglob("*.jpg"):
        depth = read_exr(photo.with_suffix(".exr"))
        mask = np.where(depth == 0, 200, 0).astype(np.uint8)
        mask[-10:] = 255  # nearby ground, which a bad mask calls sky: its depth was measured
        assert cv2.imwrite(str(photo.with_name(f"{photo.stem}.sky.png")), mask)
    assert (root / "0000/0/0000_0_o.jpg.sky.png").is_file()
    with caplog.at_level(logging.WARNING, "mast3r.train"):
        dataset = make_dataset(root, mask_sky=True, resolution=(96, 72), n_corres=32)
        plain = make_dataset(root, resolution=(96, 72), n_corres=32)
        for number in range(2):
            for view, without in zip(dataset[number], plain[number], strict=True):
                assert view["sky_mask"].any()
                np.testing.assert_array_equal(view["sky_mask"], without["depthmap"] == 0)
                np.testing.assert_array_equal(view["valid_mask"], without["valid_mask"])
    assert not caplog.messages
    assert_conforms(dataset)


def test_missing_masks_are_said_once(prepared: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mast3r.train"):
        dataset = make_dataset(prepared, mask_sky=True)
        assert not any(dataset[number][0]["sky_mask"].any() for number in range(6))
    assert len(caplog.messages) == 1
    assert "`mast3r data sky megadepth` makes the masks" in caplog.messages[0]


def test_bad_input(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="MegaDepth has split='train', 'val' and None, got 'test'"):
        make_dataset(prepared, split="test")
    with pytest.raises(InputError, match=r"has no all_metadata\.npz or megadepth_pairs\.npz"):
        make_dataset(tmp_path)
    path = tmp_path / "all_metadata.npz"
    np.savez(path, scenes=["0000 0"], images=["a.jpg"])
    with pytest.raises(InputError, match="has no pairs"):
        make_dataset(tmp_path)
    np.savez(path, scenes=["0000 0"], images=["a.jpg"], pairs=np.zeros((2, 4)))
    with pytest.raises(InputError, match="no fields scene_id"):
        make_dataset(tmp_path)
    np.savez(path, scenes=["0000 0"], images=["a.jpg"], pairs=np.array([(0, 0, 1, 1)], PAIR))
    with pytest.raises(InputError, match=r"images of pairs run from .* expected 0 to 0"):
        make_dataset(tmp_path)
    root = Path(shutil.copytree(prepared, tmp_path / "root"))
    (root / "0000/0/0000_1_o.jpg.jpg").write_bytes(b"no photo")
    with pytest.raises(SampleError, match=r"0000_1_o\.jpg\.jpg"):
        make_dataset(root)[0]
    np.savez(root / "0015/1/0015_0_o.jpg.npz", intrinsics=np.eye(3), cam2world=np.eye(3))
    with pytest.raises(SampleError, match=r"0015_0_o\.jpg\.npz: expected .* cam2world 4x4, got .*\(3, 3\)"):
        make_dataset(root)[2]


def test_preparing_goes_on_where_it_stopped(raw: Path, prepared: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(prepared, tmp_path / "out"))
    before, before_raw = snapshot(out), snapshot(raw)
    (out / "0015/1/0015_2_o.jpg.npz").unlink()
    report = run_preparation(plan(request(raw, out)))
    assert (report.made, report.kept, report.complete) == (1, 8, True)
    after = snapshot(out)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {f"0015/1/0015_2_o.jpg{suffix}" for suffix in (".jpg", ".exr", ".npz")} | {
        "all_metadata.npz"
    }
    assert snapshot(raw) == before_raw


def test_broken_raw_files_are_named_and_the_rest_is_done(raw: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(raw, tmp_path / "raw"))
    (broken / "0000/dense0/depths/0000_1_o.h5").write_bytes(b"no hdf5")
    (broken / "0015/dense1/imgs/0015_0_o.jpg").unlink()
    lines = (broken / "0022/sparse/manhattan/0/images.txt").read_text().replace("0022_2_o.jpg", "other.jpg")
    (broken / "0022/sparse/manhattan/0/images.txt").write_text(lines)
    out = tmp_path / "out"
    done = run_mast3r(
        "data", "prepare", "megadepth", "--raw", broken, "--out", out, "--pairs", broken, "--json"
    )
    assert done.returncode == 3, done.stderr
    assert "0000_1_o.h5 is no HDF5 file" in done.stderr
    assert "images.txt has no 0022_2_o.jpg" in done.stderr
    result = json.loads(done.stdout)["result"]
    assert set(result["failed"]) == {"0000/0/0000_1_o.jpg", "0015/1/0015_0_o.jpg", "0022/0/0022_2_o.jpg"}
    assert result["made"] == 6
    assert "0015/1/0015_0_o.jpg.exr" in result["missing"]
    assert_conforms(make_dataset(out, n_corres=16), samples=6, may_refuse=True)


@pytest.mark.slow
def test_several_processes_write_the_same(raw: Path, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--raw", raw, "--out", out, "--pairs", raw, "--workers", 2)
    done = run_mast3r("data", "prepare", "megadepth", *arguments)
    assert done.returncode == 0, done.stderr
    written = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    assert written == {path.relative_to(prepared) for path in prepared.rglob("*") if path.is_file()}
    for path in written:
        if path.suffix in (".jpg", ".exr"):
            assert (out / path).read_bytes() == (prepared / path).read_bytes()


def test_wrong_raw_folders(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no 0000/dense0"):
        plan(PrepareRequest(tmp_path, tmp_path / "out", pairs=raw))
    incomplete = Path(shutil.copytree(raw, tmp_path / "raw"))
    shutil.rmtree(incomplete / "0022/sparse")
    report = run_preparation(plan(request(incomplete, tmp_path / "out")))
    assert set(report.failed) == {f"0022/0/0022_{number}_o.jpg" for number in range(3)}
    assert all("0022/sparse/manhattan/0/images.txt" in problem for problem in report.failed.values())


def test_hdf5_files_without_a_depth_map_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(SampleError, match=r"a\.h5 does not exist"):
        read_hdf5_depth(path)
    with h5py.File(path, "w") as file:
        file["other"] = np.zeros((2, 2))
    with pytest.raises(SampleError, match=r"a\.h5 is no HDF5 file with a map 'depth'"):
        read_hdf5_depth(path)
    with h5py.File(path, "w") as file:
        file["depth"] = np.zeros((2, 2, 2))
    with pytest.raises(SampleError, match=r"expected a map"):
        read_hdf5_depth(path)
