"""ARKitScenes: from a raw release to training pairs (spec 41 section 4)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation, Slerp

from mast3r_model import ConfigError, InputError
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets.arkitscenes import ARKitScenes
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareReport, PrepareRequest, run_preparation
from mast3r_train.preparing.arkit_trajectory import Sky, Trajectory, read_trajectory, to_milliseconds
from mast3r_train.preparing.arkitscenes import plan

from .prepared_checks import assert_true_matches, run_mast3r, snapshot
from .standin_scenes import StandinView, render_standin

SIZE = (96, 72)
TIMES = (305.1, 306.1, 307.1, 308.1)


def views_of(video: int) -> list[StandinView]:
    return render_standin(8, SIZE)[4 * video : 4 * video + 4]


def write_video(raw: Path, pairs: Path, name: str, views: list[StandinView], sky: Sky) -> None:
    """A video as Apple's script leaves it: photos turned so that ``sky`` is up, depth in mm, poses at 10 Hz."""
    poses = [view.cam2world @ np.linalg.inv(sky.turned_to_camera) for view in views]
    for folder in ("vga_wide", "lowres_depth", "vga_wide_intrinsics"):
        (raw / name / folder).mkdir(parents=True)
    for number, (view, time) in enumerate(zip(views, TIMES, strict=True)):
        rgb, depth = (np.ascontiguousarray(np.rot90(each, sky.clockwise_turns)) for each in view[:2])
        Image.fromarray(rgb).save(raw / name / "vga_wide" / f"{name}_{time:.3f}.png")
        millimetres = np.round(depth * 1000).astype(np.uint16)
        assert cv2.imwrite(str(raw / name / "lowres_depth" / f"{name}_{time:.3f}.png"), millimetres)
        height, width = depth.shape
        fx, fy = view.K[0, 0], view.K[1, 1]
        row = f"{width} {height} {fx} {fy} {(width - 1) / 2} {(height - 1) / 2}\n"
        offset = (0.0, 0.001, -0.001, 0.0)[number]  # the release's names differ so
        (raw / name / "vga_wide_intrinsics" / f"{name}_{time + offset:.3f}.pincam").write_text(row)
    lines = []
    for time in np.arange(304.5, 309.0, 0.1):
        cam2world = poses[int(np.argmin(np.abs(np.array(TIMES) - time)))]
        world2cam = np.linalg.inv(cam2world)
        turn = Rotation.from_matrix(world2cam[:3, :3]).as_rotvec()
        lines.append(
            " ".join(f"{value:.12g}" for value in (round(time, 4) - 0.0004, *turn, *world2cam[:3, 3]))
        )
    (raw / name / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    (pairs / name).mkdir(parents=True)
    np.savez(
        pairs / name / "selected_pairs.npz",
        selection=np.array([f"{name}_{time:.3f}.png" for time in TIMES]),
        pairs=np.array([[0, 1, 0.8], [2, 3, 0.4]]),
        sky_direction_scene=np.array([sky.value]),
    )


@pytest.fixture
def release(tmp_path: Path) -> tuple[Path, Path]:
    """Raw folder and pairs' folder: two videos to train on, one to test."""
    raw, pairs = tmp_path / "raw", tmp_path / "pairs"
    write_video(raw / "Training", pairs / "Training", "41000001", views_of(0), Sky.UP)
    write_video(raw / "Training", pairs / "Training", "41000002", views_of(1), Sky.LEFT)
    write_video(raw / "Validation", pairs / "Test", "42000003", views_of(0), Sky.DOWN)
    (pairs / "Training" / "scene_list.json").write_text(json.dumps(["41000001", "41000002"]))
    (pairs / "Test" / "scene_list.json").write_text(json.dumps(["42000003"]))
    return raw, pairs


def prepare(release: tuple[Path, Path], out: Path) -> PrepareReport:
    return run_preparation(plan(PrepareRequest(release[0], out, release[1])))


@pytest.fixture
def prepared(release: tuple[Path, Path], tmp_path: Path) -> Path:
    assert prepare(release, tmp_path / "out").complete
    return tmp_path / "out"


def test_raw_files_become_true_pairs(prepared: Path) -> None:
    def make(**options: object) -> ARKitScenes:
        return ARKitScenes(ROOT=prepared, split="train", **options)

    train = make(resolution=(64, 48), n_corres=64, seed=1)
    assert len(train) == 4
    assert_conforms(train)
    assert_options_work(make, resolution=(64, 48))
    assert_true_matches(train)
    test = ARKitScenes(ROOT=prepared, split="test", resolution=SIZE, seed=0)
    assert len(test) == 2
    (view, _), (again, _) = test[0], make(resolution=SIZE, seed=0)[0]
    assert (view["dataset"], view["label"]) == ("arkitscenes", "42000003_42000003_305.100.png")
    assert view["instance"] == "0_0"
    assert not set(train.metadata.scenes) & set(test.metadata.scenes)
    np.testing.assert_allclose(view["depthmap"], again["depthmap"])  # the same scene, filmed upside down


@pytest.mark.parametrize("sky", list(Sky))
def test_turned_videos_give_the_upright_scene(sky: Sky, tmp_path: Path) -> None:
    views = views_of(0)
    write_video(tmp_path / "raw/Training", tmp_path / "pairs/Training", "40", views, sky)
    (tmp_path / "pairs/Training/scene_list.json").write_text('["40"]')
    assert prepare((tmp_path / "raw", tmp_path / "pairs"), tmp_path / "out").complete
    with np.load(tmp_path / "out/Training/all_metadata.npz") as stored:
        np.testing.assert_allclose(stored["trajectories"], [view.cam2world for view in views], atol=1e-9)
        np.testing.assert_allclose(stored["intrinsics"], [view.K for view in views], atol=1e-9)
    for view, time in zip(views, TIMES, strict=True):
        stem = tmp_path / "out/Training/40"
        depth = cv2.imread(str(stem / "lowres_depth" / f"40_{time:.3f}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(depth, np.round(view.depth * 1000).astype(np.uint16))
        photo = np.asarray(Image.open(stem / "vga_wide" / f"40_{time:.3f}.jpg")).astype(int)
        assert np.abs(photo - view.rgb).mean() < 6


def test_principal_points_are_swapped_and_not_mirrored(release: tuple[Path, Path], tmp_path: Path) -> None:
    for path in (release[0] / "Training/41000002/vga_wide_intrinsics").iterdir():
        path.write_text("72 96 80 81 30 50\n")
    prepare(release, tmp_path / "out")
    with np.load(tmp_path / "out/Training/41000002/scene_metadata.npz") as stored:
        np.testing.assert_array_equal(stored["intrinsics"][0], [96, 72, 81, 80, 50, 30])


def test_pairs_count_over_all_videos(prepared: Path) -> None:
    with np.load(prepared / "Training/all_metadata.npz") as stored:
        assert stored["pairs"].tolist() == [[0, 1, 0.8], [2, 3, 0.4], [4, 5, 0.8], [6, 7, 0.4]]
        assert stored["counts"].tolist() == [0, 4]
        assert stored["sceneids"].tolist() == [0] * 4 + [1] * 4
    assert json.loads((prepared / "Test/scene_list.json").read_text()) == ["42000003"]


def test_low_resolution_depth_keeps_its_values_and_centres(
    release: tuple[Path, Path], tmp_path: Path
) -> None:
    """INTER_NEAREST_EXACT: an enlarged pixel takes the one whose area holds its centre."""
    small = np.arange(1, 49 * 30 + 1, dtype=np.uint16).reshape(30, 49)  # 96 / 49: no whole number
    path = next((release[0] / "Training/41000001/lowres_depth").iterdir())
    assert cv2.imwrite(str(path), small)
    prepare(release, tmp_path / "out")
    depth = cv2.imread(str(tmp_path / "out/Training/41000001/lowres_depth" / path.name), cv2.IMREAD_UNCHANGED)
    rows = ((np.arange(72) + 0.5) * 30 / 72).astype(int)
    columns = ((np.arange(96) + 0.5) * 49 / 96).astype(int)
    np.testing.assert_array_equal(depth, small[rows[:, None], columns])


def test_interpolation_of_a_smooth_path() -> None:
    def poses(times: np.ndarray) -> np.ndarray:
        cam2world = np.tile(np.eye(4), (len(times), 1, 1))
        turn = np.stack(
            [0.5 * np.sin(times), 3 * times, 0.2 * np.cos(times)], axis=1
        )  # more than half a turn
        cam2world[:, :3, :3] = Rotation.from_rotvec(turn).as_matrix()
        cam2world[:, :3, 3] = times[:, None] * (1, 2, -1)
        return cam2world

    times = np.arange(0, 4, 0.1)
    between = np.array([0.0, 0.55, 1.2345, 3.0, times[-1]])
    found = Trajectory(times, poses(times)).at(between)
    np.testing.assert_allclose(found[:, :3, 3], poses(between)[:, :3, 3], atol=1e-12)
    error = Rotation.from_matrix(found[:, :3, :3].transpose(0, 2, 1) @ poses(between)[:, :3, :3]).magnitude()
    linear = Slerp(times, Rotation.from_matrix(poses(times)[:, :3, :3]))(between)
    worse = (linear.inv() * Rotation.from_matrix(poses(between)[:, :3, :3])).magnitude()
    assert error.max() < 1e-3
    assert error[2] < 0.5 * worse[2]


def test_times_round_half_up() -> None:
    assert [to_milliseconds(text) for text in ("1.0005", "1.0004999", "306.1125")] == [1.001, 1.0, 306.113]


def test_a_second_run_makes_only_what_is_missing(release: tuple[Path, Path], prepared: Path) -> None:
    before = snapshot(prepared)
    (prepared / "Training/41000001/prepared.json").unlink()
    (prepared / "Training/41000001/vga_wide/41000001_306.100.jpg").unlink()
    report = prepare(release, prepared)
    assert (report.made, report.kept) == (1, 2)
    after = snapshot(prepared)
    assert set(after) == set(before)
    again = {name for name in after if after[name] != before[name]}
    images = {name for name in again if name.endswith((".jpg", ".png"))}
    assert images == {
        f"Training/41000001/{kind}/41000001_306.100.{suffix}"
        for kind, suffix in (("vga_wide", "jpg"), ("lowres_depth", "png"))
    }


def test_the_command_names_a_broken_photo_and_does_the_rest(
    release: tuple[Path, Path], tmp_path: Path
) -> None:
    broken = release[0] / "Training/41000001/vga_wide/41000001_306.100.png"
    broken.write_bytes(b"no image")
    untouched = snapshot(release[0])
    arguments = (
        "data",
        "prepare",
        "arkitscenes",
        "--raw",
        release[0],
        "--pairs",
        release[1],
        "--out",
        tmp_path / "out",
    )
    ended = run_mast3r(*arguments, "--workers", 2)
    assert ended.returncode == 3, ended.stderr
    assert broken.name in ended.stderr
    assert snapshot(release[0]) == untouched
    train = ARKitScenes(ROOT=tmp_path / "out", split="train", resolution=(64, 48))
    assert len(train) == 3  # the pair of the broken photo is left out
    assert train.metadata.images[1] == "41000001_307.100.png"
    assert_conforms(train)
    write = np.zeros((72, 96, 3), np.uint8)
    Image.fromarray(write).save(broken)
    assert prepare(release, tmp_path / "out").complete
    assert len(ARKitScenes(ROOT=tmp_path / "out", split="train", resolution=(64, 48))) == 4


def test_contradictions_of_the_release_are_named(release: tuple[Path, Path], tmp_path: Path) -> None:
    selection = release[1] / "Training/41000001/selected_pairs.npz"
    with np.load(selection) as stored:
        arrays = dict(stored)
    np.savez(selection, **{**arrays, "sky_direction_scene": np.array(["RIGHT"])})
    shutil.rmtree(release[0] / "Training/41000002")
    (release[0] / "Validation/42000003/lowres_wide.traj").write_text("1 2 3\n")
    report = prepare(release, tmp_path / "out")
    assert "UP is up by the trajectory, RIGHT by" in report.failed["Training/41000001"]
    assert "41000002 does not exist" in report.failed["Training/41000002"]
    assert "lowres_wide.traj, line 1" in report.failed["Test/42000003"]
    assert "Training/41000001/scene_metadata.npz" in report.missing


def test_trajectories_that_say_nothing_are_refused(tmp_path: Path) -> None:
    looks_back = np.tile(np.eye(4), (2, 1, 1))
    sine, cosine = np.sin(0.3), np.cos(0.3)
    looks_back[0, :3, :3] = np.transpose([(1, 0, 0), (0, 0, -1), (0, 1, 0)])
    looks_back[1, :3, :3] = np.transpose([(-cosine, 0, sine), (-sine, 0, -cosine), (0, -1, 0)])
    np.testing.assert_allclose(np.linalg.det(looks_back[:, :3, :3]), 1)
    with pytest.raises(InputError, match="no side of the images is up"):
        Trajectory(np.arange(2.0), looks_back).sky()  # both axes point up on average
    one = tmp_path / "lowres_wide.traj"
    one.write_text("1.0 0 0 0 0 0 0\n")
    with pytest.raises(InputError, match="2 poses or more"):
        read_trajectory(one)
    one.write_text("1.0 0 0 0 0 0 0\n1.0 0 0 0 0 0 0\n")
    with pytest.raises(InputError, match="do not rise"):
        read_trajectory(one)


def test_wrong_folders_and_splits_are_refused(
    release: tuple[Path, Path], prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="'val'"):
        ARKitScenes(ROOT=prepared, split="val", resolution=64)
    with pytest.raises(InputError, match=r"Test/all_metadata\.npz"):
        ARKitScenes(ROOT=release[0], split="test", resolution=64)
    with pytest.raises(InputError, match=r"all_metadata\.npz"):
        ARKitScenes(ROOT=release[0], split="train", resolution=64)
    with pytest.raises(InputError, match=r"Training/scene_list\.json"):
        plan(PrepareRequest(release[0], tmp_path / "o", release[0]))
    with pytest.raises(InputError, match="Training folder"):
        plan(PrepareRequest(tmp_path / "raw/Training", tmp_path / "o", release[1]))
    photo = prepared / "Training/41000001/vga_wide/41000001_305.100.jpg"
    photo.write_bytes(photo.read_bytes()[:200])
    with pytest.raises(SampleError, match=r"41000001_305\.100\.jpg"):
        ARKitScenes(ROOT=prepared, split="train", resolution=64)[0]


def test_a_metadata_file_that_does_not_fit_itself_is_refused(prepared: Path) -> None:
    path = prepared / "Training/all_metadata.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    for wrong, message in (
        ({"pairs": arrays["pairs"] + 6}, "pairs run from .* expected 0 to 7"),
        ({"trajectories": arrays["trajectories"][1:]}, "trajectories has the shape"),
        ({"pairs": arrays["pairs"][:, :1]}, "pairs has the shape"),
    ):
        np.savez(path, **{**arrays, **wrong})
        with pytest.raises(InputError, match=message):
            ARKitScenes(ROOT=prepared, split="train", resolution=64)
