"""BlendedMVS: from a stand-in of the release to pairs; splits, sky, broken files (spec 41 sections 2 and 15)."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mast3r_model import ConfigError, InputError, parse_expression
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets.blendedmvs import BlendedMVS
from mast3r_train.datasets.exr import read_exr
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareRequest, run_preparation
from mast3r_train.preparing.blendedmvs import plan
from mast3r_train.preparing.raw_depth import read_pfm

from .prepared_checks import assert_depth_of_raw, assert_true_matches, run_mast3r, snapshot
from .standin_rigs import render_rig
from .standin_scenes import StandinView, render_standin

SIZE = (96, 72)
TRAIN, VAL = "58cf4771d0dfad964149f8f1", "5a0271884e62597cdedbfffa"  # the second one's lower half ends in 0
FAR_OFF = "000000000000000000000001"
PAIRS = np.dtype([("seq_high", "u8"), ("seq_low", "u8"), ("img1", "i8"), ("img2", "i8"), ("score", "f4")])


def write_pfm(path: Path, depth: np.ndarray, *, little: bool) -> None:
    """Bottom row first; the sign of the scale says which byte order."""
    height, width = depth.shape
    header = f"Pf\n{width} {height}\n{-1 if little else 1}.000000\n".encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + depth[::-1].astype("<f4" if little else ">f4").tobytes())


def write_scene(folder: Path, views: list[StandinView], *, little: bool = True) -> None:
    """A scene as the release has it."""
    for name in ("blended_images", "cams"):
        (folder / name).mkdir(parents=True)
    for number, view in enumerate(views):
        Image.fromarray(view.rgb).save(folder / "blended_images" / f"{number:08d}.jpg", quality=95)
        Image.fromarray(view.rgb // 2).save(folder / "blended_images" / f"{number:08d}_masked.jpg")
        write_pfm(folder / "rendered_depth_maps" / f"{number:08d}.pfm", view.depth, little=little)
        lines = ["extrinsic"]
        lines += [" ".join(map(str, row)) for row in np.linalg.inv(view.cam2world)]
        lines += ["", "intrinsic"]
        lines += [" ".join(map(str, row)) for row in view.K]
        lines += ["", "0.5 0.1 128 13.2", ""]
        (folder / "cams" / f"{number:08d}_cam.txt").write_text("\n".join(lines))
    (folder / "cams" / "pair.txt").write_text("3\n0\n2 1 100.0 2 50.0\n")


def scene_views(name: str) -> list[StandinView]:
    if name == FAR_OFF:
        return render_rig(3, SIZE, center=(14.0, 60.0), seed=1)
    return render_standin(3, SIZE, seed=0 if name == TRAIN else 3)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blendedmvs")
    for name in (TRAIN, VAL, FAR_OFF):
        write_scene(folder / name, scene_views(name), little=name != VAL)
    pairs = [
        (int(name[:8], 16), int(name[8:], 16), i, i + 1, 10000.0)
        for name in (TRAIN, VAL, FAR_OFF)
        for i in (0, 1)
    ]
    np.save(folder / "blendedmvs_pairs.npy", np.array(pairs, PAIRS))
    return folder


def request(raw: Path, out: Path) -> PrepareRequest:
    return PrepareRequest(raw, out, pairs=raw / "blendedmvs_pairs.npy")


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("blendedmvs_out") / "blendedmvs_processed"
    report = run_preparation(plan(request(raw, out)))
    assert report.complete
    assert report.made == 9
    return out


def make_dataset(root: Path, **options: Any) -> BlendedMVS:
    return BlendedMVS(ROOT=root, **{"split": None, "resolution": (64, 48), "seed": 0, **options})


def test_prepared_frames_show_what_the_raw_ones_do(prepared: Path) -> None:
    for name in (TRAIN, VAL, FAR_OFF):
        for number, view in enumerate(scene_views(name)):
            stem = prepared / name / f"{number:08d}"
            with np.load(stem.with_suffix(".npz")) as camera:
                assert {key: camera[key].shape for key in camera} == {
                    "intrinsics": (3, 3),
                    "R_cam2world": (3, 3),
                    "t_cam2world": (3,),
                }
                np.testing.assert_allclose(camera["R_cam2world"], view.cam2world[:3, :3], atol=1e-6)
                np.testing.assert_allclose(camera["t_cam2world"], view.cam2world[:3, 3], atol=1e-5)
                K = camera["intrinsics"]
            with Image.open(stem.with_suffix(".jpg")) as image:
                assert image.size == (512, 384)
            assert_depth_of_raw(read_exr(stem.with_suffix(".exr")), K, view)


def test_the_pair_list_is_copied_to_where_the_loader_reads_it(raw: Path, prepared: Path) -> None:
    name = "blendedmvs_pairs.npy"
    assert (prepared / name).read_bytes() == (raw / name).read_bytes()


def test_pairs_conform_with_all_options(prepared: Path) -> None:
    assert_conforms(make_dataset(prepared, n_corres=64))
    assert_options_work(
        lambda **options: BlendedMVS(ROOT=prepared, split="train", **options), resolution=(64, 48)
    )


def test_matches_show_the_same_point(prepared: Path) -> None:
    """Also with principal points far off the centre, with crops by homography, and without them."""
    assert_true_matches(make_dataset(prepared, n_corres=200, resolution=(96, 64)))
    assert_true_matches(make_dataset(prepared, n_corres=100, resolution=(96, 64), aug_crop="auto"))


def test_splits_are_by_the_number_of_the_sequence(prepared: Path) -> None:
    labels = {
        split: {
            view["label"]
            for pair in (make_dataset(prepared, split=split)[i] for i in range(n))
            for view in pair
        }
        for split, n in (("train", 4), ("val", 2), (None, 6))
    }
    assert labels == {"train": {TRAIN, FAR_OFF}, "val": {VAL}, None: {TRAIN, VAL, FAR_OFF}}
    assert [len(make_dataset(prepared, split=split)) for split in ("train", "val", None)] == [4, 2, 6]


def test_a_view_says_where_it_is_from(prepared: Path) -> None:
    views = make_dataset(prepared)[1]
    assert [(view["dataset"], view["label"], view["instance"]) for view in views] == [
        ("BlendedMVS", TRAIN, "00000001"),
        ("BlendedMVS", TRAIN, "00000002"),
    ]
    assert not views[0]["is_metric_scale"]


def test_published_expressions_build(prepared: Path) -> None:
    text = f"10 @ BlendedMVS(mask_sky=True, split='train', ROOT='{prepared}', resolution=[(64, 48)], aug_crop='auto')"
    assert len(parse_expression(text).build(("datasets", "transforms"))) == 10


def with_unknown_depth(prepared: Path, target: Path) -> Path:
    """A copy in which the first photo of TRAIN has no depth in its upper half."""
    from mast3r_train.datasets.exr import write_exr

    root = Path(shutil.copytree(prepared, target))
    path = root / TRAIN / "00000000.exr"
    depth = read_exr(path)
    depth[:192] = 0
    write_exr(path, depth)
    return root


def test_sky_is_where_the_mask_says_and_nothing_was_measured(prepared: Path, tmp_path: Path) -> None:
    root = with_unknown_depth(prepared, tmp_path / "root")
    mask = np.zeros((384, 512), np.uint8)
    mask[:, 256:] = 127
    mask[:, 400:] = 126
    assert cv2.imwrite(str(root / TRAIN / "00000000.sky.png"), mask)
    options: dict[str, Any] = {"resolution": (512, 384), "n_corres": 50}
    view = make_dataset(root, mask_sky=True, **options)[0][0]
    expected = np.zeros((384, 512), bool)
    expected[:192, 256:400] = True
    was_unknown = make_dataset(root, **options)[0][0]["depthmap"] == 0
    np.testing.assert_array_equal(view["sky_mask"], expected | (was_unknown & (mask >= 127)))
    assert expected[view["sky_mask"]].mean() > 0.5
    assert set(np.unique(view["depthmap"][view["sky_mask"]])) == {-1.0}
    # Without the option nothing is sky, and a reduced map has no depths between -1 and 0.
    assert not make_dataset(root)[0][0]["sky_mask"].any()
    small = make_dataset(root, mask_sky=True)[0][0]["depthmap"]
    assert set(np.unique(small[small <= 0])) == {-1.0, 0.0}
    turned = make_dataset(root, mask_sky=True, aug_crop="auto", n_corres=20)[0][
        0
    ]  # crops turn the camera a bit
    assert turned["sky_mask"].mean() > 0.05
    assert_conforms(make_dataset(root, mask_sky=True, n_corres=32))


def test_missing_masks_are_said_once(prepared: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mast3r.train"):
        dataset = make_dataset(prepared, mask_sky=True)
        for number in range(len(dataset)):
            assert not any(view["sky_mask"].any() for view in dataset[number])
    assert len(caplog.messages) == 1
    assert "`mast3r data sky blendedmvs` makes the masks" in caplog.messages[0]


def test_a_mask_of_another_size_is_named(prepared: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(prepared, tmp_path / "root"))
    assert cv2.imwrite(str(root / TRAIN / "00000001.sky.png"), np.zeros((10, 12), np.uint8))
    with pytest.raises(SampleError, match=r"00000001\.sky\.png has 12x10 pixels, the depth 512x384"):
        make_dataset(root, mask_sky=True)[0]
    (root / TRAIN / "00000001.sky.png").write_bytes(b"no png")
    with pytest.raises(SampleError, match=r"00000001\.sky\.png"):
        make_dataset(root, mask_sky=True)[0]


def test_bad_input(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="BlendedMVS has split='train', 'val' and None, got 'test'"):
        make_dataset(prepared, split="test")
    with pytest.raises(InputError, match=r"has no blendedmvs_pairs\.npy"):
        make_dataset(tmp_path)
    np.save(tmp_path / "blendedmvs_pairs.npy", np.zeros((3, 2)))
    with pytest.raises(InputError, match="no pair list of BlendedMVS"):
        make_dataset(tmp_path)
    (tmp_path / "blendedmvs_pairs.npy").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"blendedmvs_pairs\.npy"):
        make_dataset(tmp_path)
    root = Path(shutil.copytree(prepared, tmp_path / "root"))
    np.savez(
        root / TRAIN / "00000001.npz", intrinsics=np.eye(3), R_cam2world=np.eye(2), t_cam2world=np.zeros(3)
    )
    with pytest.raises(SampleError, match=r"00000001\.npz: expected R_cam2world 3x3"):
        make_dataset(root)[0]
    (root / VAL / "00000000.jpg").write_bytes(b"no photo")
    with pytest.raises(SampleError, match=r"00000000\.jpg"):
        make_dataset(root, split="val")[0]
    (root / FAR_OFF / "00000002.exr").unlink()
    with pytest.raises(SampleError, match=r"00000002\.exr does not exist"):
        make_dataset(root)[5]


def test_integers_of_other_widths_and_names_of_images_do_not_matter(prepared: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(prepared, tmp_path / "root"))
    pairs = np.load(root / "blendedmvs_pairs.npy")
    other = np.dtype([("seq_high", "u4"), ("seq_low", "u8"), ("a", "i4"), ("b", "u2"), ("s", "f8")])
    np.save(root / "blendedmvs_pairs.npy", pairs.astype(other))
    assert [view["instance"] for view in make_dataset(root)[3]] == ["00000001", "00000002"]


def test_preparing_goes_on_where_it_stopped(raw: Path, prepared: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(prepared, tmp_path / "out"))
    before = snapshot(out)
    (out / TRAIN / "00000001.npz").unlink()
    before_raw = snapshot(raw)
    report = run_preparation(plan(request(raw, out)))
    assert (report.made, report.kept, report.complete) == (1, 8, True)
    after = snapshot(out)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {f"{TRAIN}/00000001{suffix}" for suffix in (".jpg", ".exr", ".npz")} | {
        "blendedmvs_pairs.npy"
    }
    assert snapshot(raw) == before_raw


def test_what_is_missing_is_found(raw: Path, prepared: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(prepared, tmp_path / "out"))
    (out / VAL / "00000002.exr").unlink()
    assert run_preparation(plan(request(raw, out))).missing == (f"{VAL}/00000002.exr",)


def test_broken_raw_files_are_named_and_the_rest_is_done(raw: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(raw, tmp_path / "raw"))
    depth = broken / TRAIN / "rendered_depth_maps" / "00000001.pfm"
    depth.write_bytes(depth.read_bytes()[:-8])
    (broken / VAL / "cams" / "00000000_cam.txt").write_text("extrinsic\n1 0 0\n")
    Image.new("RGB", (96, 60)).save(broken / FAR_OFF / "blended_images" / "00000002.jpg")
    out = tmp_path / "out"
    done = run_mast3r(
        "data", "prepare", "blendedmvs", "--raw", broken, "--out", out, "--pairs", broken, "--json"
    )
    assert done.returncode == 3, done.stderr
    for name in ("00000001.pfm", "00000000_cam.txt", "00000002.jpg"):
        assert name in done.stderr
    result = json.loads(done.stdout)
    assert set(result["result"]["failed"]) == {f"{TRAIN}/00000001", f"{VAL}/00000000", f"{FAR_OFF}/00000002"}
    assert result["result"]["made"] == 6
    assert_conforms(make_dataset(out, n_corres=16), samples=6, may_refuse=True)


def test_frames_can_be_sent_to_worker_processes(raw: Path, tmp_path: Path) -> None:
    preparation = plan(request(raw, tmp_path / "out"))
    make, job = pickle.loads(pickle.dumps((preparation.make, preparation.frames[0].job)))  # noqa: S301
    make(job)
    assert preparation.frames[0].marker.is_file()


def test_wrong_raw_folders(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no <24 hex digits>/cams"):
        plan(PrepareRequest(tmp_path, tmp_path / "out", pairs=raw / "blendedmvs_pairs.npy"))
    with pytest.raises(InputError, match=r"neither a file nor a folder with blendedmvs_pairs\.npy"):
        plan(PrepareRequest(raw, tmp_path / "out", pairs=tmp_path))


def test_pfm_files(tmp_path: Path) -> None:
    depth = np.arange(12, dtype=np.float32).reshape(3, 4)
    for little in (True, False):
        write_pfm(tmp_path / "a.pfm", depth, little=little)
        np.testing.assert_array_equal(read_pfm(tmp_path / "a.pfm"), depth)
    (tmp_path / "a.pfm").write_bytes(b"PF\n1 1\n-1.0\n" + np.zeros(3, "<f4").tobytes())
    with pytest.raises(SampleError, match=r"a\.pfm: expected one channel"):
        read_pfm(tmp_path / "a.pfm")
    for content in (b"", b"text"):
        (tmp_path / "a.pfm").write_bytes(content)
        with pytest.raises(SampleError, match=r"a\.pfm is"):
            read_pfm(tmp_path / "a.pfm")
