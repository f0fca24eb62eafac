"""StaticThings3D: from a stand-in of the release to pairs; draws, background, broken files (spec 41 section 6)."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mast3r_model import ConfigError, InputError
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets.exr import read_exr, write_exr
from mast3r_train.datasets.staticthings3d import StaticThings3D
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareRequest, run_preparation
from mast3r_train.preparing.raw_depth import read_float3
from mast3r_train.preparing.staticthings3d import NUMBERS, SUFFIXES, plan

from .prepared_checks import assert_depth_of_raw, assert_true_matches, run_mast3r, snapshot
from .standin_rigs import render_rig
from .standin_scenes import StandinView

SIZE = (96, 54)
SEQUENCE = "TRAIN/B/0007"
PAIRS = np.dtype(
    [("scene", "S1"), ("seq", "i8"), ("cam1", "S1"), ("im1", "i8"), ("cam2", "S1"), ("im2", "i8")]
)
LISTED = [(b"B", 7, b"l", 6, b"r", 6), (b"B", 7, b"l", 6, b"l", 8), (b"B", 7, b"r", 15, b"l", 14)]


def views() -> list[StandinView]:
    """Left and right take turns; the farther end of the stand-in's scene is beyond 200 units."""
    found = []
    for view in render_rig(10, SIZE, baseline=0.2, seed=2):
        pose = view.cam2world.copy()
        pose[:3, 3] *= 30
        found.append(view._replace(depth=view.depth * 30, cam2world=pose))
    return found


def write_float3(path: Path, array: np.ndarray) -> None:
    """As the release's files: text lines, sizes innermost first, little-endian numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["float", str(array.ndim), *map(str, reversed(array.shape))]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode() + array.astype("<f4").tobytes())


def write_frame(raw: Path, camera: str, number: int, view: StandinView) -> None:
    name = f"{SEQUENCE}/{camera}/{number:04d}"
    write_float3(raw / "intrinsics" / SEQUENCE / f"{number:04d}.float3", view.K)
    write_float3(raw / "poses" / f"{name}.float3", np.linalg.inv(view.cam2world))
    write_float3(raw / "depths" / f"{name}.float3", view.depth)
    for kind, pixels in (("clean", view.rgb), ("final", view.rgb // 2)):
        path = raw / f"frames_{kind}pass" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staticthings")
    for place, view in enumerate(views()):
        write_frame(folder, ("left", "right")[place % 2], 6 + place // 2, view)
    np.save(folder / "staticthings_pairs.npy", np.array(LISTED, PAIRS))
    return folder


def request(raw: Path, out: Path) -> PrepareRequest:
    return PrepareRequest(raw, out, pairs=raw / "staticthings_pairs.npy")


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("staticthings_out") / "staticthings3d_processed"
    report = run_preparation(plan(request(raw, out)))
    assert report.complete
    assert report.made == 2 * len(NUMBERS)
    return out


def make_dataset(root: Path, **options: Any) -> StaticThings3D:
    return StaticThings3D(ROOT=root, **{"mask_bg": False, "resolution": (96, 64), "seed": 0, **options})


def test_prepared_frames_show_what_the_raw_ones_do(prepared: Path) -> None:
    for place, view in enumerate(views()):
        stem = f"{prepared / SEQUENCE}/{('left', 'right')[place % 2]}/{6 + place // 2:04d}"
        with np.load(f"{stem}.npz") as camera:
            assert camera["intrinsics"].dtype == camera["cam2world"].dtype == np.float32
            np.testing.assert_allclose(camera["cam2world"], view.cam2world, atol=1e-4)
            K = camera["intrinsics"]
        brightness = {}
        for kind in ("clean", "final"):
            with Image.open(f"{stem}_{kind}.jpg") as image:
                assert image.size == (682, 384)
                brightness[kind] = np.asarray(image).mean()
        assert brightness["final"] == pytest.approx(brightness["clean"] / 2, rel=0.05)
        assert_depth_of_raw(read_exr(Path(f"{stem}.exr")), K, view)


def test_pairs_conform_with_all_options(prepared: Path) -> None:
    assert_conforms(make_dataset(prepared, mask_bg="rand", n_corres=64))
    assert_options_work(lambda **options: StaticThings3D(ROOT=prepared, **options), resolution=(64, 48))


def test_matches_show_the_same_point(prepared: Path) -> None:
    """Colours differ: the final pass of the stand-in is darker, so only the points are looked at."""
    dataset = make_dataset(prepared, n_corres=200)
    assert len(dataset) == 3
    for number in range(3):
        first, second = dataset[number]
        matched = first["valid_corres"]
        assert matched.sum() > 100
        points = [v["pts3d"][v["corres"][matched][:, 1], v["corres"][matched][:, 0]] for v in (first, second)]
        xy = first["corres"][matched]
        footprint = first["depthmap"][xy[:, 1], xy[:, 0]] / first["camera_intrinsics"][0, 0]
        assert np.median(np.linalg.norm(points[0] - points[1], axis=1) / footprint) < 2


def test_colours_of_matches_are_alike_where_the_rendering_is(prepared: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(prepared, tmp_path / "root"))
    for clean in root.rglob("*_clean.jpg"):
        shutil.copy(clean, clean.with_name(clean.name.replace("clean", "final")))
    assert_true_matches(make_dataset(root, n_corres=200))


def test_draws_are_upstreams(prepared: Path) -> None:
    """First the mask if it is drawn, then the rendering of each view, 1 the clean one, before its crop."""
    for mask_bg in ("rand", True, False):
        seen = set()
        for seed in range(8):
            rng = np.random.default_rng(seed)
            masked = rng.choice(2) if mask_bg == "rand" else mask_bg
            kinds = [("final", "clean")[rng.choice(2)] for _ in range(2)]
            views = make_dataset(prepared, mask_bg=mask_bg, seed=seed)[0]
            assert [view["instance"] for view in views] == [
                f"left_0006_{kinds[0]}.jpg",
                f"right_0006_{kinds[1]}.jpg",
            ]
            assert all((view["depthmap"].max() <= 200) == bool(masked) for view in views)
            seen.add((bool(masked), *kinds))
        assert len(seen) >= 3


def test_the_background_is_unknown_not_sky(prepared: Path) -> None:
    whole, masked = (make_dataset(prepared, mask_bg=mask)[0][0] for mask in (False, True))
    assert whole["depthmap"].max() > 200
    np.testing.assert_array_equal(masked["depthmap"], np.where(whole["depthmap"] > 200, 0, whole["depthmap"]))
    assert not masked["sky_mask"].any()


def test_the_mask_is_drawn_by_default(prepared: Path) -> None:
    assert StaticThings3D(ROOT=prepared, resolution=64).mask_bg == "rand"


def test_a_view_says_where_it_is_from(prepared: Path) -> None:
    views = make_dataset(prepared)[2]
    assert {(view["dataset"], view["label"], view["is_metric_scale"]) for view in views} == {
        ("StaticThings3D", SEQUENCE, False)
    }
    assert [view["instance"].rsplit("_", 1)[0] for view in views] == ["right_0015", "left_0014"]


def test_bad_input(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no splits, got 'train'"):
        make_dataset(prepared, split="train")
    with pytest.raises(ConfigError, match="mask_bg is True, False or 'rand'"):
        make_dataset(prepared, mask_bg="never")
    with pytest.raises(InputError, match=r"has no staticthings_pairs\.npy"):
        make_dataset(tmp_path)
    path = tmp_path / "staticthings_pairs.npy"
    np.save(path, np.zeros((3, 6)))
    with pytest.raises(InputError, match="no pair list of StaticThings3D"):
        make_dataset(tmp_path)
    np.save(path, np.array([(b"D", 7, b"l", 6, b"r", 6)], PAIRS))
    with pytest.raises(InputError, match="got b'D' in 'scene'"):
        make_dataset(tmp_path)
    np.save(path, np.array([{"pickled": 1}]), allow_pickle=True)
    with pytest.raises(InputError, match=r"cannot be read|read safely"):
        make_dataset(tmp_path)
    root = Path(shutil.copytree(prepared, tmp_path / "root"))
    for kind in ("clean", "final"):
        (root / SEQUENCE / "left" / f"0006_{kind}.jpg").write_bytes(b"no photo")
    with pytest.raises(SampleError, match=r"0006_(clean|final)\.jpg"):
        make_dataset(root)[0]
    write_exr(root / SEQUENCE / "left" / "0014.exr", np.ones((5, 5), np.float32))
    with pytest.raises(SampleError, match=r"left/0014.*682x384.*5x5"):
        make_dataset(root)[2]


def test_pair_lists_with_text_instead_of_bytes(prepared: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(prepared, tmp_path / "root"))
    text = np.dtype([("a", "U1"), ("b", "i4"), ("c", "U1"), ("d", "i4"), ("e", "U1"), ("f", "i4")])
    np.save(root / "staticthings_pairs.npy", np.load(root / "staticthings_pairs.npy").astype(text))
    assert make_dataset(root)[2][0]["instance"].startswith("right_0015_")


def test_preparing_goes_on_where_it_stopped(raw: Path, prepared: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(prepared, tmp_path / "out"))
    before = snapshot(out)
    (out / SEQUENCE / "right" / "0010.npz").unlink()
    before_raw = snapshot(raw)
    report = run_preparation(plan(request(raw, out)))
    assert (report.made, report.kept, report.complete) == (1, 19, True)
    after = snapshot(out)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {f"{SEQUENCE}/right/0010{suffix}" for suffix in SUFFIXES} | {"staticthings_pairs.npy"}
    assert snapshot(raw) == before_raw


def test_broken_raw_files_are_named_and_the_rest_is_done(raw: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(raw, tmp_path / "raw"))
    depth = broken / "depths" / SEQUENCE / "left" / "0012.float3"
    depth.write_bytes(depth.read_bytes()[:-4])
    (broken / "frames_finalpass" / SEQUENCE / "right" / "0006.png").unlink()
    write_float3(broken / "poses" / SEQUENCE / "left" / "0013.float3", np.zeros((4, 4)))
    out = tmp_path / "out"
    pairs = broken / "staticthings_pairs.npy"
    done = run_mast3r(
        "data", "prepare", "staticthings3d", "--raw", broken, "--out", out, "--pairs", pairs, "--json"
    )
    assert done.returncode == 3, done.stderr
    assert "0012.float3 is no .float3 file" in done.stderr
    assert "0013.float3 holds no pose" in done.stderr
    result = json.loads(done.stdout)["result"]
    assert set(result["failed"]) == {
        f"{SEQUENCE}/{name}" for name in ("left/0012", "right/0006", "left/0013")
    }
    assert result["made"] == 17
    assert f"{SEQUENCE}/right/0006.npz" in result["missing"]
    assert_conforms(make_dataset(out, n_corres=16), samples=3, may_refuse=True)


def test_frames_can_be_sent_to_worker_processes(raw: Path, tmp_path: Path) -> None:
    preparation = plan(request(raw, tmp_path / "out"))
    make, job = pickle.loads(pickle.dumps((preparation.make, preparation.frames[0].job)))  # noqa: S301
    make(job)
    assert preparation.frames[0].marker.is_file()


def test_wrong_raw_folders(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no intrinsics/TRAIN"):
        plan(PrepareRequest(tmp_path, tmp_path / "out", pairs=raw / "staticthings_pairs.npy"))
    np.save(tmp_path / "broken.npy", np.zeros(3))
    with pytest.raises(InputError, match="no pair list"):
        plan(PrepareRequest(raw, tmp_path / "out", pairs=tmp_path / "broken.npy"))


@pytest.mark.parametrize("shape", [(3,), (3, 3), (5, 7), (2, 3, 4)])
def test_float3_files(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    write_float3(tmp_path / "a.float3", array)
    np.testing.assert_array_equal(read_float3(tmp_path / "a.float3"), array)


def test_float3_holds_numbers_that_look_like_line_ends(tmp_path: Path) -> None:
    array = np.frombuffer(b"\n\n\n\n" * 6, "<f4").reshape(2, 3)
    write_float3(tmp_path / "a.float3", array)
    assert read_float3(tmp_path / "a.float3").tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"float\n",
        b"double\n1\n1\n" + bytes(8),
        b"float\n9\n1\n",
        b"float\n2\n3\n",
        b"float\n1\nx\n",
        b"float\n1\n-1\n",
    ],
)
def test_broken_float3_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.float3").write_bytes(content)
    with pytest.raises(SampleError, match=r"a\.float3 is"):
        read_float3(tmp_path / "a.float3")
