"""Co3d: from a stand-in of CO3Dv2's archives to pairs; options, draws, broken files (spec 41 section 5)."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mast3r_model import ConfigError, InputError, parse_expression
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets.co3d import Co3d
from mast3r_train.datasets.object_sequences import PAIRS
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareRequest, run_preparation
from mast3r_train.preparing.co3d import CATEGORIES, SEED, make, plan
from mast3r_train.preparing.object_sequences import chosen_at_random, size_to_cover

from .standin_scenes import StandinView, render_standin

SIZE = (96, 72)
MAST3R = Path(sys.executable).with_name("mast3r")


def write_frame(folder: Path, number: int, view: StandinView) -> dict[str, Any]:
    """Photo, depth and mask as the release has them; returns the annotation."""
    name = f"frame{number:06d}.jpg"
    relative = f"{folder.parent.name}/{folder.name}"
    for kind in ("images", "depths", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(view.rgb).save(folder / "images" / name, quality=95)
    bits = view.depth.astype(np.float16).view(np.uint16)
    assert cv2.imwrite(str(folder / "depths" / f"{name}.geometric.png"), bits)
    mask = np.zeros(view.depth.shape, np.uint8)
    mask[10:-10, 20:-20] = 255
    Image.fromarray(mask).save(folder / "masks" / f"{name[:-4]}.png")
    height, width = view.depth.shape
    half, scale = np.array([width, height]) / 2, min(width, height) / 2
    flip = np.diag([-1.0, -1.0, 1.0])
    world2cam = np.linalg.inv(view.cam2world)
    return {
        "sequence_name": folder.name,
        "frame_number": number - 1,
        "frame_timestamp": number / 10,
        "image": {"path": f"{relative}/images/{name}", "size": [height, width]},
        "depth": {
            "path": f"{relative}/depths/{name}.geometric.png",
            "scale_adjustment": 1.0,
            "mask_path": None,
        },
        "mask": {"path": f"{relative}/masks/{name[:-4]}.png", "mass": 0.5},
        "viewpoint": {
            # Row vectors times R, x left and y up.
            "R": (world2cam[:3, :3].T @ flip).tolist(),
            "T": (flip @ world2cam[:3, 3]).tolist(),
            "focal_length": (view.K[[0, 1], [0, 1]] / scale).tolist(),
            "principal_point": ((half - view.K[:2, 2]) / scale).tolist(),
            "intrinsics_format": "ndc_isotropic",
        },
    }


def write_jgz(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        json.dump(content, file)


def write_category(
    raw: Path, category: str, sequences: dict[str, float], frames: int = 5, kind: str = "fewview_train"
) -> None:
    """A category with sequences of a quality each; the last sequence is the test set's."""
    annotations, lists = [], {"train": [], "val": [], "test": []}
    for place, sequence in enumerate(sequences):
        for number, view in enumerate(render_standin(5, SIZE)[place % 2 :][:frames], start=1):
            annotation = write_frame(raw / category / sequence, number, view)
            annotations.append(annotation)
            part = "test" if sequence == list(sequences)[-1] else "train"
            lists[part].append([sequence, number - 1, annotation["image"]["path"]])
    write_jgz(raw / category / "frame_annotations.jgz", annotations)
    scored = [{"sequence_name": name, "viewpoint_quality_score": q} for name, q in sequences.items()]
    write_jgz(raw / category / "sequence_annotations.jgz", scored)
    path = raw / category / "set_lists" / f"set_lists_{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(lists))
    (path.parent / "set_lists_fewview_dev.json").write_text(json.dumps({"train": [["other", 0, "x"]]}))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("co3d")
    write_category(folder, "apple", {"110_1": 0.9, "111_2": 0.2, "112_3": 0.8})
    write_category(folder, "ball", {"7_1": 0.9, "8_1": 0.7}, frames=3)
    return folder


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("co3d_out") / "co3d_processed"
    report = run_preparation(plan(PrepareRequest(raw, out)))
    assert report.complete
    assert report.made == 5 + 5 + 3 + 3
    return out


def make_dataset(root: Path, **options: Any) -> Co3d:
    return Co3d(ROOT=root, **{"split": "train", "mask_bg": False, "resolution": (96, 64), **options})


def test_lists_name_good_sequences_in_upstreams_order(prepared: Path) -> None:
    train, test = (json.loads((prepared / f"selected_seqs_{s}.json").read_text()) for s in ("train", "test"))
    assert train == {"apple": {"110_1": [1, 2, 3, 4, 5]}, "ball": {"7_1": [1, 2, 3]}}
    assert test == {"apple": {"112_3": [1, 2, 3, 4, 5]}, "ball": {"8_1": [1, 2, 3]}}
    of_apple = json.loads((prepared / "apple" / "selected_seqs_train.json").read_text())
    assert of_apple == train["apple"]


@pytest.mark.parametrize(
    ("size", "expected"), [((1000, 2000), (384, 768)), ((640, 480), (512, 384)), ((500, 480), (512, 491))]
)
def test_prepared_sizes(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert size_to_cover(*size) == expected


def test_prepared_frames_show_what_the_raw_ones_do(raw: Path, prepared: Path) -> None:
    for number, view in enumerate(render_standin(5, SIZE), start=1):
        folder = prepared / "apple" / "110_1"
        with np.load(folder / "images" / f"frame{number:06d}.npz") as camera:
            np.testing.assert_allclose(camera["camera_pose"], view.cam2world, atol=1e-5)
            K, largest = camera["camera_intrinsics"], float(camera["maximum_depth"])
            assert K.dtype == camera["camera_pose"].dtype == np.float32
        stored = cv2.imread(
            str(folder / "depths" / f"frame{number:06d}.jpg.geometric.png"), cv2.IMREAD_UNCHANGED
        )
        assert stored.dtype == np.uint16
        assert stored.max() == 65535
        with Image.open(folder / "images" / f"frame{number:06d}.jpg") as image:
            assert image.size == stored.shape[::-1]
            assert min(image.size) >= 384
        # Every prepared pixel has the depth of the raw pixel that it came from.
        v, u = np.mgrid[: stored.shape[0], : stored.shape[1]]
        rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T @ view.K.T
        x, y = np.rint(rays[..., :2]).astype(int).reshape(-1, 2).T
        depth = (stored / 65535 * largest).ravel()
        there = view.depth[np.clip(y, 0, SIZE[1] - 1), np.clip(x, 0, SIZE[0] - 1)]
        error = np.abs(depth - there) - largest / 65000
        assert (error <= 2e-3 * there).mean() > 0.85  # half a pixel beside, it would be half of them
        assert (error <= 3e-2 * there).mean() > 0.95


def test_pairs_conform_with_all_options(prepared: Path) -> None:
    assert_conforms(make_dataset(prepared, n_corres=64, seed=1), samples=12)
    assert_options_work(lambda **options: make_dataset(prepared, **options), resolution=(64, 48))
    assert_conforms(
        make_dataset(prepared, resolution=[(96, 64), (64, 64)], seed=0, mask_bg="rand"), samples=4
    )


def test_matches_show_the_same_point(prepared: Path) -> None:
    dataset = make_dataset(prepared, n_corres=200, seed=3, resolution=(256, 192))
    first, second = dataset[10]
    is_match = first["valid_corres"]
    assert is_match.sum() > 100
    points = [
        view["pts3d"][view["corres"][is_match][:, 1], view["corres"][is_match][:, 0]]
        for view in (first, second)
    ]
    distance = np.linalg.norm(points[0] - points[1], axis=1)
    scale = np.linalg.norm(points[0] - first["camera_pose"][:3, 3], axis=1)
    assert np.median(distance / scale) < 0.01


def test_splits_are_disjoint(prepared: Path) -> None:
    train, test = (
        {label for label, _ in make_dataset(prepared, split=s).sequences} for s in ("train", "test")
    )
    assert train
    assert test
    assert not train & test


def test_draws_are_upstreams(prepared: Path) -> None:
    """Mask, then the second frame's offset, then the first's."""
    dataset = make_dataset(prepared, mask_bg="rand", seed=5)
    for index in (0, 3, 40, 600):
        rng = np.random.default_rng(5 + index)
        masked = rng.choice(2)
        i, j = PAIRS[index % 495]
        second, first = j + rng.integers(-4, 5), i + rng.integers(-4, 5)
        label, frames = dataset.sequences[index // 495]
        names = [f"frame{frames[min(max(k, 0), len(frames) - 1)]:06d}.jpg" for k in (first, second)]
        views = dataset[index]
        if names[0] == names[1]:
            names = [f"{names[0]}_0", f"{names[1]}_1"]
        assert [view["instance"] for view in views] == names
        assert {view["label"] for view in views} == {label}
        assert (views[0]["valid_mask"].mean() < 0.6) == bool(masked)


def test_mask_bg(prepared: Path) -> None:
    whole, object_only = (
        make_dataset(prepared, seed=1, mask_bg=m)[0][0]["valid_mask"] for m in (False, True)
    )
    assert whole.mean() > 0.8
    assert 0.1 < object_only.mean() < 0.5
    assert not object_only[0].any()
    assert (whole | ~object_only).all()


def copy_tree(source: Path, target: Path) -> Path:
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return target


def empty_masks(root: Path, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        path = root / "apple" / "110_1" / "masks" / f"frame{number:06d}.png"
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert cv2.imwrite(str(path), np.zeros_like(mask))


def test_empty_frames_are_replaced_and_nothing_depends_on_the_past(prepared: Path, tmp_path: Path) -> None:
    root = copy_tree(prepared, tmp_path / "co3d")
    empty_masks(root, (1, 2, 4))
    fresh = [make_dataset(root, mask_bg=True, seed=2)[index] for index in range(20)]
    used = make_dataset(root, mask_bg=True, seed=2)
    for index in (*range(20), *range(20)):
        for view, expected in zip(used[index], fresh[index], strict=True):
            assert view["rng"] == expected["rng"]
            assert view["instance"] == expected["instance"]
            assert view["instance"].removesuffix("_0").removesuffix("_1") in (
                "frame000003.jpg",
                "frame000005.jpg",
            )
    assert used._empty == {(0, (96, 64), True): {0, 1, 3}}
    # Without masks nothing is empty.
    assert make_dataset(root, seed=2)[0][0]["instance"].startswith("frame00000")


def test_a_sequence_without_any_depth_is_named(prepared: Path, tmp_path: Path) -> None:
    root = copy_tree(prepared, tmp_path / "co3d")
    empty_masks(root, (1, 2, 3, 4, 5))
    dataset = make_dataset(root, mask_bg=True)
    for _ in range(2):
        with pytest.raises(SampleError, match=r"apple/110_1: no frame has any depth inside of the masks"):
            dataset[0]


def test_bad_input(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="split"):
        make_dataset(prepared, split="val")
    with pytest.raises(ConfigError, match="mask_bg"):
        make_dataset(prepared, mask_bg="never")
    with pytest.raises(InputError, match=r"selected_seqs_train\.json"):
        make_dataset(tmp_path)
    (tmp_path / "selected_seqs_train.json").write_text('{"apple": 3}')
    with pytest.raises(InputError, match="no list of sequences"):
        make_dataset(tmp_path)
    root = copy_tree(prepared, tmp_path / "co3d")
    for number in range(1, 6):
        (root / "apple/110_1/images" / f"frame{number:06d}.jpg").write_bytes(b"no image")
    with pytest.raises(SampleError, match=r"frame00000\d\.jpg"):
        make_dataset(root)[0]


def test_unreleased_dataset_parses_and_fails() -> None:
    parsed = parse_expression("InternalUnreleasedDataset(ROOT='x', aug_crop='auto', resolution=[(1, 1)])")
    with pytest.raises(ConfigError, match="never public; remove it from the expression"):
        parsed.build(("datasets",))


def test_preparing_goes_on_where_it_stopped(raw: Path, prepared: Path, tmp_path: Path) -> None:
    out = copy_tree(prepared, tmp_path / "out")
    gone = out / "apple/110_1/images/frame000002.npz"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    gone.unlink()
    report = run_preparation(plan(PrepareRequest(raw, out)))
    assert (report.made, report.kept) == (1, 15)
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    assert {path.name for path in after if after[path] != before[path]} == {"frame000002.jpg"}
    assert gone.is_file()


def test_what_is_missing_is_found(raw: Path, prepared: Path, tmp_path: Path) -> None:
    out = copy_tree(prepared, tmp_path / "out")
    (out / "apple/110_1/masks/frame000001.png").unlink()
    assert run_preparation(plan(PrepareRequest(raw, out))).missing == ("apple/110_1/masks/frame000001.png",)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_broken_raw_files_are_named_and_the_rest_is_done(raw: Path, tmp_path: Path, workers: int) -> None:
    broken = copy_tree(raw, tmp_path / "raw")
    (broken / "apple/110_1/images/frame000002.jpg").write_bytes(b"cut off")
    (broken / "ball/7_1/depths/frame000001.jpg.geometric.png").unlink()
    out = tmp_path / "out"
    command = [
        MAST3R,
        "data",
        "prepare",
        "co3d",
        "--raw",
        broken,
        "--out",
        out,
        "--workers",
        workers,
        "--json",
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "frame000002.jpg" in done.stderr
    result = json.loads(done.stdout)
    assert set(json.dumps(result).split('"')) >= {
        "apple/110_1/images/frame000002.jpg",
        "ball/7_1/images/frame000001.jpg",
    }
    listed = json.loads((out / "selected_seqs_train.json").read_text())
    assert listed == {"apple": {"110_1": [1, 3, 4, 5]}, "ball": {"7_1": [2, 3]}}
    assert_conforms(make_dataset(out, seed=0, n_corres=32), samples=4)


def test_one_category_and_the_subset(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for category in ("ball", "apple"):
        run_preparation(plan(PrepareRequest(raw, out, options={"category": (category,)})))
    assert list(json.loads((out / "selected_seqs_train.json").read_text())) == ["apple", "ball"]
    with pytest.raises(InputError, match="banana/set_lists"):
        plan(PrepareRequest(raw, out, options={"category": ("banana",)}))
    subset = tmp_path / "subset"
    write_category(subset, "apple", {"9_9": 0.9, "10_1": 0.9}, frames=2, kind="manyview_dev_0")
    with pytest.raises(InputError, match="fewview_train"):
        plan(PrepareRequest(subset, out))
    report = run_preparation(
        plan(PrepareRequest(subset, tmp_path / "o", options={"single_sequence_subset": True}))
    )
    assert report.complete
    assert report.made == 4


def test_seeds_are_upstreams() -> None:
    """The first of 60 sequences for categories 0 and 1, by Python's own generator."""
    import random

    names = [f"{number:03d}" for number in range(60)]
    for place in (0, 1):
        random.seed(SEED + place)
        assert chosen_at_random(names, 50, SEED + place) == random.sample(names, 50)
    assert (len(CATEGORIES), CATEGORIES[0], CATEGORIES[28], CATEGORIES[-1]) == (
        51,
        "apple",
        "microwave",
        "wineglass",
    )


def test_wrong_raw_folders(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="apple/set_lists"):
        plan(PrepareRequest(tmp_path, tmp_path / "out"))
    broken = copy_tree(raw, tmp_path / "raw")
    (broken / "apple/frame_annotations.jgz").write_bytes(b"\x1f\x8bcut")
    with pytest.raises(InputError, match=r"apple/frame_annotations\.jgz cannot be read"):
        plan(PrepareRequest(broken, tmp_path / "out"))


@pytest.mark.slow
def test_annotations_are_read_in_several_processes(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = plan(PrepareRequest(raw, tmp_path / "out")).frames
    monkeypatch.setattr("mast3r_train.preparing.co3d.WORTH_A_PROCESS", 1)
    assert plan(PrepareRequest(raw, tmp_path / "out", workers=2)).frames == alone


def test_depth_in_another_scale_is_refused(raw: Path, tmp_path: Path) -> None:
    import dataclasses

    job = plan(PrepareRequest(raw, tmp_path / "out")).frames[0].job
    scaled = dataclasses.replace(job, annotation=dataclasses.replace(job.annotation, depth_scale=2.0))
    with pytest.raises(SampleError, match="scale_adjustment is 2"):
        make(scaled)
    assert not os.path.exists(scaled.camera)
