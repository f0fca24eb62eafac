"""``mast3r colmap`` from rendered photos to COLMAP models near the truth; every flag; kapture folders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from mast3r_model.cli import ModelOptions, run
from mast3r_sfm import compare_cameras, read_cameras
from mast3r_sfm.colmap_cli import colmap
from mast3r_train.synthetic import OracleNetwork, SceneViews, render_scene_views

SHAPE = (80, 112)


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)["result"]
        return found


@pytest.fixture(scope="module")
def views() -> SceneViews:
    return render_scene_views(1, 6, path="orbit", shape=SHAPE, procedural=8)


@pytest.fixture(scope="module")
def scene(views: SceneViews, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    views.save(folder)
    return folder


@pytest.fixture
def mast3r_colmap(
    views: SceneViews,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., Ran]:
    """The command in this process, with a network that knows the truth."""
    monkeypatch.chdir(tmp_path)
    network = OracleNetwork(views)
    monkeypatch.setattr(ModelOptions, "load", lambda *_: network)

    def call(*words: object) -> Ran:
        sizes = ["--size", str(max(SHAPE)), "--json"]
        code = run(colmap, [*map(str, words), *sizes], program="mast3r colmap")
        return Ran(code, *capfd.readouterr())

    return call


def kapture_of(scene: Path, folder: Path, *, poses: bool) -> Path:
    """The scene as a kapture folder: one camera on a rig, photos in a folder of their own."""
    cameras = read_cameras(scene)
    K = cameras.intrinsics[0]
    sensors = folder / "sensors"
    (sensors / "records_data" / "left").mkdir(parents=True)
    height, width = cameras.shapes[0]
    (sensors / "sensors.txt").write_text(
        "# kapture format: 1.1\n# sensor_device_id, name, sensor_type, [sensor_params]+\n"
        f"cam, , camera, PINHOLE, {width}, {height}, {K[0, 0]}, {K[1, 1]}, {K[0, 2] + 0.5}, {K[1, 2] + 0.5}\n"
        "gps, , gnss, EPSG:4326\n"
    )
    rig = np.eye(4)
    rig[:3, :3], rig[:3, 3] = Rotation.from_euler("xyz", [0.1, 0.2, 0.3]).as_matrix(), [0.5, 0, 0.1]
    (sensors / "rigs.txt").write_text(f"car, cam, {pose_text(rig)}\n")
    records, trajectories = ["# timestamp, device_id, image_path"], ["# timestamp, device_id, qw, ..."]
    for time, name in enumerate(cameras.names):
        shutil.copy(scene / "images" / Path(name).name, sensors / "records_data" / "left" / Path(name).name)
        records.append(f"{time}, cam, left/{Path(name).name}")
        world2cam = np.linalg.inv(cameras.cam2world[time])
        trajectories.append(f"{time}, car, {pose_text(np.linalg.inv(rig) @ world2cam)}")
    (sensors / "records_camera.txt").write_text("\n".join(records) + "\n")
    if poses:
        (sensors / "trajectories.txt").write_text("\n".join(trajectories) + "\n")
    return folder


def pose_text(pose: np.ndarray) -> str:
    x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
    return ", ".join(map(repr, map(float, (w, x, y, z, *pose[:3, 3]))))


@pytest.mark.parametrize("mapper", ["pycolmap", "glomap"])
def test_photos_become_a_model_near_the_truth(
    mast3r_colmap: Callable[..., Ran], scene: Path, mapper: str
) -> None:
    ran = mast3r_colmap(
        scene / "images", "--mapper", mapper, "--intrinsics", scene, "--min-track", 2, "-o", "out"
    )
    assert ran.code == 0, ran.err
    (model,) = ran.result["models"]
    assert model["images"] == 6
    assert model["mean_reprojection_error"] < 1
    errors = compare_cameras(read_cameras(Path("out/sparse/0")), read_cameras(scene))
    assert errors.registered == 1
    assert errors.rotation_error_mean < 0.3
    assert errors.focal_error_mean < 1e-6
    found = pycolmap.Reconstruction("out/sparse/0")
    colors = np.array([point.color for point in found.points3D.values()])
    assert colors.std(0).min() > 5
    with pycolmap.Database.open("out/database.db") as database:
        assert database.num_images() == 6
        assert database.num_matched_image_pairs() == 15


def test_upstreams_spellings(mast3r_colmap: Callable[..., Ran], scene: Path) -> None:
    names = sorted(path.name for path in (scene / "images").iterdir())
    lines = [f"{names[i]}, {names[j]}, 1.0\n{names[j]}, {names[i]}, 1.0" for i in range(6) for j in range(i)]
    Path("pairs.txt").write_text("# kapture format: 1.1\n" + "\n".join(lines) + "\n")
    ran = mast3r_colmap(
        *("--dir_same_camera", scene / "images", "--pairsfile_path", "pairs.txt", "--pixel_tol", 5),
        *("--conf_thr", 0.5, "--min_len_track", 3, "--use_glomap_mapper", "--glomap_bin", "glomap"),
        *("--ignore_pose", "--skip_geometric_verification", "-o", "out"),
    )
    assert ran.code == 0, ran.err
    assert "GLOMAP runs in this process" in ran.err
    assert "verified all the same" in ran.err
    assert ran.result["pairs"] == 15  # both ways round is one pair
    with pycolmap.Database.open("out/database.db") as database:
        assert database.num_cameras() == 1
    again = mast3r_colmap("--dir", scene / "images", "-o", "out")
    assert again.code == 1
    assert "exists already" in again.err


def test_dense_matches(mast3r_colmap: Callable[..., Ran], scene: Path) -> None:
    sparse = mast3r_colmap(scene / "images", "--graph", "swin-1-noncyclic", "--min-track", 2, "-o", "a")
    dense = mast3r_colmap(
        *(scene / "images", "--graph", "swin-1-noncyclic", "--min-track", 2, "-o", "b"),
        *("--dense_matching", "--skip_geometric_verification"),
    )
    assert sparse.code == dense.code == 0, dense.err
    assert dense.result["matches"] > 4 * sparse.result["matches"]


def test_known_poses_are_kept(mast3r_colmap: Callable[..., Ran], scene: Path) -> None:
    ran = mast3r_colmap(scene / "images", "--poses", scene, "-o", "out")
    assert ran.code == 0, ran.err
    found, truth = read_cameras(Path("out/sparse/0")), read_cameras(scene)
    rows = [row for row in truth.find(found.names) if row is not None]
    np.testing.assert_allclose(found.cam2world, truth.cam2world[rows], atol=1e-6)
    np.testing.assert_allclose(found.intrinsics, truth.intrinsics[rows], rtol=1e-9)
    assert ran.result["models"][0]["points"] > 100
    moved = mast3r_colmap(scene / "images", "--poses", scene, "--mapper", "pycolmap", "-o", "free")
    assert moved.code == 0, moved.err
    assert not np.allclose(read_cameras(Path("free/sparse/0")).cam2world, found.cam2world, atol=1e-3)


@pytest.mark.parametrize("spelling", ["positional", "-i"])
def test_a_kapture_folder(
    mast3r_colmap: Callable[..., Ran], scene: Path, tmp_path: Path, spelling: str
) -> None:
    folder = kapture_of(scene, tmp_path / "kapture", poses=True)
    words = [folder] if spelling == "positional" else ["-i", folder]
    ran = mast3r_colmap(*words, "-o", "out")
    assert ran.code == 0, ran.err
    found, truth = read_cameras(Path("out/sparse/0")), read_cameras(scene)
    assert all(name.startswith("left/") for name in found.names)
    rows = [row for row in truth.find(found.names) if row is not None]
    assert len(rows) == 6
    np.testing.assert_allclose(found.cam2world, truth.cam2world[rows], atol=1e-6)
    np.testing.assert_allclose(found.intrinsics, truth.intrinsics[rows], rtol=1e-9)
    assert len(pycolmap.Reconstruction("out/sparse/0").cameras) == 1
    free = mast3r_colmap(*words, "--ignore-poses", "-o", "free")
    assert free.code == 0, free.err
    assert not np.allclose(read_cameras(Path("free/sparse/0")).cam2world, found.cam2world, atol=1e-3)


def test_a_photo_that_nothing_matches_is_named(
    mast3r_colmap: Callable[..., Ran], scene: Path, tmp_path: Path
) -> None:
    shutil.copytree(scene / "images", tmp_path / "photos")
    (tmp_path / "photos" / "zz.png").write_text("no photo")
    ran = mast3r_colmap("photos", "--intrinsics", scene, "-o", "out")
    assert ran.code == 3, ran.err
    assert list(ran.result["dropped"]) == ["zz.png"]


def test_refusals(mast3r_colmap: Callable[..., Ran], scene: Path, tmp_path: Path) -> None:
    images = scene / "images"
    (tmp_path / "broken").mkdir()
    names = sorted(path.name for path in images.iterdir())
    (tmp_path / "one.txt").write_text(f"{names[0]} {names[1]}\n")
    cases: list[tuple[list[object], int, str]] = [
        ([], 2, "name a folder of photos"),
        ([images, "-i", images], 2, "not both"),
        ([images, "--dense", "--pixel-tol", 1], 2, "means nothing"),
        ([images, "--use_glomap_mapper", "--mapper", "pycolmap"], 2, "give one of them"),
        ([images, "--mapper", "other"], 2, "triangulate"),
        ([images, "--mapper", "triangulate"], 1, "no poses are known"),
        (["-i", images], 1, "is no kapture folder"),
        ([images, "--conf-thr", 1e9], 4, "no matches in 15 pairs"),
        ([images, "--pairs", "one.txt"], 4, "no track has 5"),
        ([sorted(images.iterdir())[0]], 1, "two photos or more"),
        ([tmp_path / "broken"], 1, "no photos"),
    ]
    for words, code, message in cases:
        ran = mast3r_colmap(*words, "-o", "out")
        assert (ran.code, message in ran.err + ran.out) == (code, True), (words, ran)
        assert "Traceback" not in ran.err
        assert not (tmp_path / "out" / "sparse").exists()


def test_flags_are_those_of_the_specification() -> None:
    """Spec 60 F4 and 30 section 11.1."""
    known = {name: parameter for parameter in colmap.params for name in parameter.opts}
    defaults = {
        "--pixel-tolerance": 0.0,
        "--min-confidence": 1.001,
        "--min-track": 5,
        "--verify": True,
        "--dense": False,
        "--shared-camera": False,
        "--ignore-poses": False,
        "--mapper": None,
    }
    for name, default in defaults.items():
        assert known[name].to_info_dict()["default"] == default
    assert known["--mapper"].to_info_dict()["type"]["choices"] == ("pycolmap", "glomap", "triangulate")
    old = {"--dir", "--dir-same-camera", "-i", "--pairsfile-path", "--dense-matching", "--pixel-tol"}
    old |= {"--conf-thr", "--skip-geometric-verification", "--min-len-track", "--use-glomap-mapper"}
    old |= {"--ignore-pose", "--glomap-bin", "-o", "--weights", "--model-name", "--device"}
    assert old <= set(known)


@pytest.mark.slow
def test_a_process_with_the_small_network(scene: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mast3r_model", "colmap", scene / "images", "-o", tmp_path / "out"]
    flags = ["--size", 112, "--graph", "swin-1-noncyclic", "--min-track", 2, "--device", "cpu", "--json"]
    flags += ["--poses", scene]
    done = subprocess.run([*map(str, command + flags)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    result = json.loads(done.stdout)["result"]
    assert result["pairs"] >= 3
    assert result["models"][0]["images"] == 6
    assert (tmp_path / "out" / "database.db").is_file()
