"""Making a dataset's pair file scene by scene, and fitting one world to another (spec 41 sections 13 and 16)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_model import ConfigError, InputError
from mast3r_train.datasets.pair_lists import PairList
from mast3r_train.datasets.tartanair import TartanAirFolder
from mast3r_train.preparing import pair_making
from mast3r_train.preparing.pair_making import make_pair_file, missing_files, settings_of
from mast3r_train.preparing.pair_scoring import PairSettings
from mast3r_train.preparing.pose_alignment import align_poses

from .posed_checks import mast3r
from .standin_rigs import render_rig

SCENES = ("house/Easy/P000", "house/Easy/P001", "house/Hard/P000")


@pytest.fixture
def folder(tmp_path: Path) -> TartanAirFolder:
    """Three scenes of four frames in a prepared layout."""
    for seed, scene in enumerate(SCENES):
        (tmp_path / scene).mkdir(parents=True)
        for number, view in enumerate(render_rig(4, (48, 36), seed=seed)):
            stem = tmp_path / scene / f"{number:06d}"
            Image.fromarray(view.rgb).save(f"{stem}_rgb.png")
            np.save(f"{stem}_depth.npy", view.depth)
            np.savez(f"{stem}_cam.npz", camera_pose=view.cam2world, camera_intrinsics=view.K)
    return TartanAirFolder(tmp_path)


def listed(path: Path) -> list[tuple[str, str, str]]:
    pairs = PairList.read(path)
    return [pairs[i] for i in range(len(pairs))]


def test_pairs_of_scenes(folder: TartanAirFolder) -> None:
    path = folder.root / "tartanair_pairs.npz"
    settings = settings_of(folder)
    assert settings == PairSettings()
    report = make_pair_file(folder, path, settings)
    assert (report.scenes, report.pairs) == (3, len(listed(path)))
    assert {scene for scene, _, _ in listed(path)} == set(SCENES)
    assert list(missing_files(folder, path)) == []
    assert [entry.name for entry in folder.root.iterdir() if entry.name.startswith(".")] == []
    scene, frame, _ = listed(path)[0]
    folder.files(scene, frame)[1].unlink()
    assert list(missing_files(folder, path)) == [f"{scene}/{frame}_depth.npy"]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_scenes_do_not_depend_on_each_other_nor_on_workers(folder: TartanAirFolder, workers: int) -> None:
    settings = PairSettings(strides=(2,), random_partners=1)
    one, two = folder.root / "one.npz", folder.root / "two.npz"
    make_pair_file(folder, one, settings)
    make_pair_file(folder, two, settings, workers=workers)
    assert listed(one) == listed(two)
    (folder.root / SCENES[0]).rename(folder.root / "gone")
    make_pair_file(folder, two, settings)
    assert listed(two) == [pair for pair in listed(one) if pair[0] != SCENES[0]]


def test_goes_on_where_it_stopped(folder: TartanAirFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder.root / "pairs.npz"
    made: list[str] = []
    make = pair_making.make_scene_part

    def counted(job: pair_making._SceneJob) -> None:
        if job.scene == SCENES[2] and len(made) < 3:
            raise KeyboardInterrupt
        made.append(job.scene)
        make(job)

    monkeypatch.setattr(pair_making, "make_scene_part", counted)
    with pytest.raises(KeyboardInterrupt):
        make_pair_file(folder, path, PairSettings())
    assert not path.exists()
    made.append("killed")
    make_pair_file(folder, path, PairSettings())
    assert made == [SCENES[0], SCENES[1], "killed", SCENES[2]]
    assert {scene for scene, _, _ in listed(path)} == set(SCENES)


def test_unreadable_frames_are_left_out_and_named(folder: TartanAirFolder) -> None:
    broken = folder.files(SCENES[1], "000002")[1]
    broken.write_bytes(b"\x93NUMPY")
    code, document, errors = mast3r("data", "pairs", "TartanAir", "--root", folder.root)
    assert code == 3
    assert len(document["result"]["unreadable"]) == 1
    assert str(broken) in errors
    path = folder.root / "tartanair_pairs.npz"
    assert document["result"]["pairs"] == len(listed(path))
    names = {name for scene, *pair in listed(path) for name in pair if scene == SCENES[1]}
    assert names == {"000000", "000001", "000003"}


def test_nothing_to_pair(folder: TartanAirFolder, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no scenes to make pairs of"):
        make_pair_file(TartanAirFolder(empty), empty / "p.npz", PairSettings())
    with pytest.raises(InputError, match="no pairs were found in the 3 scenes"):
        make_pair_file(folder, tmp_path / "p.npz", PairSettings(strides=(9,), random_partners=0))
    with pytest.raises(ConfigError, match="without strides"):
        settings_of(folder, strides=(), random_partners=0)
    code, _, errors = mast3r("data", "pairs", "Habitat512", "--root", folder.root)
    assert code == 1
    assert "does not read a pair file of ours" in errors


def _poses(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, rng=rng).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(count, 3))
    return poses


def test_alignment_finds_a_similarity() -> None:
    stored = _poses(20)
    world = _poses(1)[0]
    wanted = world @ stored
    wanted[:, :3, 3] = 2.5 * stored[:, :3, 3] @ world[:3, :3].T + world[:3, 3]
    found = align_poses(stored, wanted)
    assert found.factor == pytest.approx(2.5)
    assert found.spread == pytest.approx(0, abs=1e-9)
    assert found.degrees == pytest.approx(0, abs=1e-5)
    for a, b in zip(stored, wanted, strict=True):
        assert found.cam2world(a) == pytest.approx(b, abs=1e-9)
    wanted[3, :3, 3] += 100  # one wrong pose changes nothing
    assert align_poses(stored, wanted).factor == pytest.approx(2.5)
    assert align_poses(stored, wanted).cam2world(stored[5]) == pytest.approx(wanted[5], abs=1e-6)
    assert align_poses(stored[:1], wanted[:1], factor=2.5).cam2world(stored[0]) == pytest.approx(wanted[0])


def test_alignment_that_cannot_be() -> None:
    stored = _poses(12)
    other = stored[::-1].copy()
    assert align_poses(stored, other).degrees > 30
    assert align_poses(stored, other).spread > 0.1
    still = np.tile(np.eye(4), (3, 1, 1))
    with pytest.raises(ValueError, match="do not move"):
        align_poses(still, stored[:3])


def test_a_pair_file_is_not_replaced(
    folder: TartanAirFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A preparation that adds frames keeps the user's pairs, and says how to make them again."""
    from mast3r_train.preparing import Frame, PrepareRequest, run_preparation
    from mast3r_train.preparing.posed_preparation import posed_preparation

    path = folder.root / "tartanair_pairs.npz"
    make_pair_file(folder, path, PairSettings(strides=(1,), random_partners=0))
    before = path.read_bytes()
    marker = folder.files(SCENES[0], "000001")[2]
    content = marker.read_bytes()
    marker.unlink()
    request = PrepareRequest(tmp_path, folder.root)
    frames = [Frame("one", marker, None)]
    caplog.set_level(logging.WARNING)
    plan = posed_preparation(
        "TartanAir", folder, path.name, frames, lambda job: marker.write_bytes(content) and None, request
    )
    assert run_preparation(plan).complete
    assert path.read_bytes() == before
    assert f"mast3r data pairs TartanAir --root {folder.root}" in caplog.text
