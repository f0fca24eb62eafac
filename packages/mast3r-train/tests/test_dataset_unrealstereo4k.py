"""UnrealStereo4K from its raw files to samples (spec 41 section 11)."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_model import ConfigError, InputError
from mast3r_train.datasets.unrealstereo4k import UnrealStereo4K
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareRequest
from mast3r_train.preparing.unrealstereo4k import plan, scaled_to_image

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

INSTANTS, BASELINE, SIZE_WH = 3, 0.6, (576, 324)

MIRROR = np.diag([1.0, 1, -1, 1])
"""What makes the release's world left-handed; another axis than the one that the preparation reflects."""


def views() -> list[StandinView]:
    return render_rig(INSTANTS, SIZE_WH, fov=100, center=(288, 162), baseline=BASELINE)


def make_raw(
    root: Path, *, reduced: bool = False, scene: str = "00003", K_of_full_size: bool = False
) -> Path:
    """A scene as released: disparities, w2c of a left-handed world.

    Args:
        root: to write below.
        reduced: JPEG, as in the reduced release.
        scene: its folder.
        K_of_full_size: the text files hold intrinsics of an image four times as large.
    """
    for number, view in enumerate(views()):
        camera, name = number % 2, f"{number // 2:05d}"
        folder = root / scene
        for kind in ("Image", "Disp", "Extrinsics"):
            (folder / f"{kind}{camera}").mkdir(parents=True, exist_ok=True)
        if reduced:
            Image.fromarray(view.rgb).save(folder / f"Image{camera}" / f"{name}.jpg", quality=95)
        else:
            alpha = np.full((*view.rgb.shape[:2], 1), 255, np.uint8)
            Image.fromarray(np.concatenate([view.rgb, alpha], axis=2)).save(
                folder / f"Image{camera}" / f"{name}.png"
            )
        with np.errstate(divide="ignore"):
            disparity = BASELINE * view.K[0, 0] / np.where(view.depth > 0, view.depth, 5000.0)
        disparity[0, 0] = 0.0
        disparity[0, 1] = BASELINE * view.K[0, 0] / 20_000
        np.save(folder / f"Disp{camera}" / f"{name}.npy", disparity.astype(np.float32))
        K = view.K.copy()
        K[:2] *= 4 if K_of_full_size else 1
        world2cam = np.linalg.inv(MIRROR @ view.cam2world)
        assert np.linalg.det(world2cam[:3, :3]) < 0
        lines = [" ".join(f"{n:.12e}" for n in matrix.ravel()) for matrix in (K, world2cam[:3])]
        (folder / f"Extrinsics{camera}" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_raw(tmp_path_factory.mktemp("unrealstereo4k_raw"))


@pytest.fixture(scope="module")
def processed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unrealstereo4k") / "unrealstereo4k_processed"
    report = prepare(plan, raw, out)
    assert report.complete
    assert report.made == 2 * INSTANTS
    return out


def test_processed_files(processed: Path) -> None:
    camera = np.load(processed / "00003/1/00002.npz")
    assert np.linalg.det(camera["cam2world"][:3, :3]) == pytest.approx(1)
    left = np.load(processed / "00003/0/00002.npz")
    relative = np.linalg.inv(left["cam2world"]) @ camera["cam2world"]
    expected = np.eye(4)
    expected[0, 3] = BASELINE  # the right camera lies to the right
    assert relative == pytest.approx(expected, abs=1e-9)
    first = np.load(processed / "00003/0/00000.npz")["cam2world"]
    moved = np.linalg.inv(first) @ left["cam2world"]
    truth = np.linalg.inv(views()[0].cam2world) @ views()[4].cam2world
    # A mirrored world shows the same motions: those of the cameras' own axes.
    assert moved == pytest.approx(truth, abs=1e-9)
    depth = np.load(processed / "00003/0/00000_depth.npy")
    assert depth.shape == (384, 682)
    assert depth.dtype == np.float32
    assert Image.open(processed / "00003/0/00000_rgb.png").size == (682, 384)
    assert depth[0, :2].tolist() == [0, 0]  # no disparity; farther than 10 km
    truth_depth = views()[0].depth
    known = depth[depth > 0]
    assert known.max() == pytest.approx(truth_depth.max(), rel=1e-5)
    assert np.median(known) == pytest.approx(np.median(truth_depth[truth_depth > 0]), rel=0.01)
    assert (depth < 0).mean() == pytest.approx((truth_depth == 0).mean(), abs=0.01)
    assert set(np.unique(depth[depth <= 0])) == {-1, 0}


def test_samples(processed: Path) -> None:
    make = partial(UnrealStereo4K, ROOT=processed)
    assert_dataset_is_sound(make)
    dataset = make(resolution=(96, 64), seed=0)
    listed = [dataset.pairs[i][1:] for i in range(len(dataset))]
    assert ("0/00001", "1/00001") in listed  # both cameras at one time
    assert ("0/00000", "0/00001") in listed  # neighbours
    assert dataset.is_metric_scale


def test_reduced_release_has_the_same_depth(processed: Path, tmp_path: Path) -> None:
    """JPEG, and intrinsics that are those of the full size: nothing else changes."""
    raw = make_raw(tmp_path / "raw", reduced=True, K_of_full_size=True)
    assert prepare(plan, raw, tmp_path / "out").complete
    for frame in ("0/00001", "1/00002"):
        ours, other = (np.load(root / f"00003/{frame}_depth.npy") for root in (processed, tmp_path / "out"))
        assert np.allclose(ours, other, rtol=1e-5, atol=0)
        K, other_K = (
            np.load(root / f"00003/{frame}.npz")["intrinsics"] for root in (processed, tmp_path / "out")
        )
        assert pytest.approx(other_K) == K


def test_files_with_a_left_handed_world_load(processed: Path, tmp_path: Path) -> None:
    root = shutil.copytree(processed, tmp_path / "other")
    for path in root.rglob("0000?.npz"):
        stored = dict(np.load(path))
        stored["cam2world"] = np.diag([1.0, -1, 1, 1]) @ stored["cam2world"]
        np.savez(path, **stored)
    options = {"resolution": (96, 64), "seed": 0, "n_corres": 32}
    ours, other = UnrealStereo4K(ROOT=processed, **options)[2], UnrealStereo4K(ROOT=root, **options)[2]
    for a, b in zip(ours, other, strict=True):
        assert np.array_equal(a["camera_pose"], b["camera_pose"])
        assert np.array_equal(a["pts3d"], b["pts3d"])


def test_resumed_and_corrupt(raw: Path, processed: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(raw, tmp_path / "raw")
    assert_resumable(
        plan, damaged, processed, processed / "00003/1/00001.npz",
        damaged / "00003/Image1/00001.png", ["00003/1/00001"],
    )  # fmt: skip


def test_command_and_the_scene_for_tests(raw: Path, tmp_path: Path) -> None:
    more = shutil.copytree(raw, tmp_path / "raw")
    make_raw(more, scene="00008")
    (more / "00003/Extrinsics0/00000.txt").write_text("1 2\n")
    words = ("data", "prepare", "unrealstereo4k", "--raw", more, "--out", tmp_path / "out")
    code, document, errors = mast3r(*words)
    assert code == 3
    # Both cameras of that instant: the baseline is in both files.
    assert list(document["result"]["failed"]) == ["00003/0/00000", "00003/1/00000"]
    assert "Extrinsics0/00000.txt: expected a line of 9 and one of 12 numbers" in errors
    assert not (tmp_path / "out/00008").exists()
    assert prepare(plan, raw=more, out=tmp_path / "all", out_of_domain=True).made == 4 * INSTANTS - 2


def test_published_expression(processed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAST3R_DATA_ROOT", str(processed.parent))
    dataset = build(
        "68_400 @ UnrealStereo4K(resolution=[(512, 384), (512, 336)], aug_crop='auto', aug_monocular=0.005, "
        "transform=ColorJitter, n_corres=8192, nneg=0.5)"
    )
    assert len(dataset) == 68_400


def test_bad_input(processed: Path, tmp_path: Path) -> None:
    make = partial(UnrealStereo4K, ROOT=processed)
    assert_names_missing_pairs(make, processed / "unrealstereo4k_pairs.npz")
    assert_refuses_broken_image(make, processed / f"00003/{make(resolution=64).pairs[0][1]}_rgb.png")
    with pytest.raises(ConfigError, match="no splits"):
        make(resolution=64, split="val")
    with pytest.raises(InputError, match="00000/Extrinsics0"):
        plan(PrepareRequest(tmp_path, tmp_path / "out"))
    with pytest.raises(SampleError, match="principal point at x=1920"):
        scaled_to_image(np.array([[1920.0, 0, 1920], [0, 1920, 1080], [0, 0, 1]]), 1300, Path("a.png"))
