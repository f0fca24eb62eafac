"""Habitat512: views out of maps all around, preparation with a stand-in renderer, lists, pairs (spec 41 section 1)."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import OpenEXR
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_model import ConfigError, InputError
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets.exr import read_exr
from mast3r_train.datasets.habitat import Habitat512
from mast3r_train.errors import SampleError
from mast3r_train.preparing import Preparation, PrepareReport, PrepareRequest, run_preparation
from mast3r_train.preparing.habitat import plan
from mast3r_train.preparing.habitat_lists import lists_of_places
from mast3r_train.preparing.habitat_rendering import open_habitat_scene
from mast3r_train.preparing.panoramas import (
    Panorama,
    distance_of_cube_depth,
    panorama_rays,
    view_of_panorama,
)

from .prepared_checks import assert_true_matches, run_mast3r, snapshot

ROOM = np.array([4.0, 1.5, 5.0])
"""Half sizes of the stand-in's room, around the origin of Habitat's world."""

SIZE = (64, 48)
FOLDERS = tuple(f"hm3d/train/{number}/scene" for number in range(11))
BATCHES = ("00000000", "00000001")
SIZES = "20,10,2"


def look(position: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour (0 to 255) and distance of what unit rays from a point of the room meet; all in world axes."""
    directions = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
    distance = ((np.sign(directions) * ROOM - position) / directions).min(axis=-1)
    points = position + directions * distance[..., None]
    waves = np.array([[1.1, 0.7, 0.4], [0.5, 1.3, 0.9], [0.8, 0.3, 1.2]])
    return np.rint(127.5 + 100 * np.sin(points @ waves + [0, 1, 2])), distance


class Room:
    """Renders maps of the room: right is +X, down is -Y, the middle is -Z of the world."""

    opened: list[tuple[Path, Path | None]] = []  # noqa: RUF012
    open_now = 0

    def __init__(self, scene: Path, config: Path | None, shape: tuple[int, int]) -> None:
        if scene.read_text() == "broken":
            raise SampleError(f"cannot open {scene}")
        self.shape = shape
        self.opened.append((scene, config))
        Room.open_now += 1
        assert Room.open_now == 1

    def render(self, position: np.ndarray) -> Panorama:
        color, distance = look(position, panorama_rays(*self.shape) * [1, -1, -1])
        return Panorama(color.astype(np.uint8), distance.astype(np.float32))

    def close(self) -> None:
        Room.open_now -= 1


def true_view(
    K: np.ndarray, rotation: np.ndarray, position: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Colour and z depth that a camera in the room sees, ray by ray."""
    v, u = np.mgrid[: size[1], : size[0]]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T
    length = np.linalg.norm(rays, axis=-1)
    color, distance = look(position, rays / length[..., None] @ rotation.T)
    return color, distance / length


def place_views(seed: int) -> dict[str, dict[str, Any]]:
    """Five cameras of a place; the first one overlaps all others."""
    rng = np.random.default_rng(seed)
    yaw, position = rng.uniform(0, 360), rng.uniform(-0.8, 0.8, 3)
    views = {}
    for number in range(1, 6):
        turn = Rotation.from_euler("yxz", [yaw + rng.uniform(-15, 15), rng.uniform(-15, 15), 5], degrees=True)
        rotation = turn.as_matrix() @ np.diag([1, -1, -1])  # cameras look along their +z, y down
        K = [[50.0, 0, 31.5 + rng.uniform(-2, 2)], [0, 50.0, 23.5], [0, 0, 1]]
        views[str(number)] = {
            "camera_intrinsics": K,
            "size": list(SIZE),
            "R_cam2world": rotation.tolist(),
            "t_cam2world": (position + rng.uniform(-0.3, 0.3, 3)).tolist(),
        }
    return views


def write_metadata(folder: Path, scene: str, seed: int, config: str = "") -> None:
    folder.mkdir(parents=True)
    content = {
        "scene_dataset_config_file": config,
        "scene": scene,
        "view_batches": {batch: place_views(10 * seed + place) for place, batch in enumerate(BATCHES)},
    }
    (folder / "metadata.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("habitat")
    for number, folder in enumerate(FOLDERS):
        scene = f"{folder}.basis.glb"
        config = "hm3d/annotated.json" if number == 0 else ""
        write_metadata(root / "metadata" / folder, scene, number, config)
        path = root / "scene_datasets" / scene
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a scene")
    (root / "scene_datasets" / "hm3d" / "annotated.json").write_text("{}")
    return root


def plan_of(raw: Path, out: Path, **options: Any) -> Preparation:
    return plan(PrepareRequest(raw, out, raw / "metadata", options={"sizes": SIZES, **options}), Room)


@pytest.fixture(scope="module")
def report_and_folder(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PrepareReport, Path]:
    out = tmp_path_factory.mktemp("habitat_out") / "habitat_processed"
    Room.opened.clear()
    return run_preparation(plan_of(raw, out)), out


@pytest.fixture(scope="module")
def prepared(report_and_folder: tuple[PrepareReport, Path]) -> Path:
    return report_and_folder[1]


def make_dataset(root: Path, **options: Any) -> Habitat512:
    return Habitat512(20, ROOT=root, **{"split": "train", "resolution": (64, 48), "seed": 0, **options})


def test_rays_of_a_map() -> None:
    rays = panorama_rays(90, 180)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1)
    np.testing.assert_allclose(rays[44:46, 89:91].mean((0, 1)), [0, 0, 1], atol=1e-3)  # the middle: forward
    np.testing.assert_allclose(rays[44:46, 134:136].mean((0, 1)), [1, 0, 0], atol=1e-3)  # a quarter on: right
    assert rays[-1, :, 1].min() > 0.99  # the last row: down
    np.testing.assert_allclose(rays[:, 0], rays[:, -1] * [-1, 1, 1], atol=1e-12)  # both sides of the seam


def test_depth_of_a_cube_becomes_distance() -> None:
    rays = panorama_rays(60, 120)
    distance = np.random.default_rng(0).uniform(1, 9, rays.shape[:2])
    # The face that a ray meets is that of its largest coordinate, and the depth is z of that face.
    depth = np.abs(rays * distance[..., None]).max(axis=-1)
    np.testing.assert_allclose(distance_of_cube_depth(depth.astype(np.float32)), distance, rtol=1e-6)


@pytest.mark.parametrize("turn", [(0, 0, 0), (180, 0, 0), (100, 20, 30), (0, 90, 0), (40, -90, 10)])
def test_a_view_of_a_map_is_the_true_view(turn: tuple[int, int, int]) -> None:
    """Also across the map's seam, straight up and down, and with a principal point off the centre."""
    position = np.array([0.5, -0.2, 1.0])
    K = np.array([[70.0, 0, 40.0], [0, 72.0, 20.0], [0, 0, 1]])
    rotation = Rotation.from_euler("yxz", turn, degrees=True).as_matrix() @ np.diag([1, -1, -1])
    to_world = np.diag([1.0, -1.0, -1.0])
    color, distance = look(position, panorama_rays(1000, 2000) @ to_world.T)
    panorama = Panorama(color.astype(np.uint8), distance.astype(np.float32))
    found, depth = view_of_panorama(panorama, K, to_world.T @ rotation, (80, 60), np.random.default_rng(0))
    expected, true_depth = true_view(K, rotation, position, (80, 60))
    assert found.dtype == np.uint8
    assert depth.dtype == np.float32
    difference = np.abs(found.astype(float) - expected)
    assert difference.max() < 12
    assert difference.mean() < 1.0
    np.testing.assert_allclose(depth, true_depth, rtol=0.02)
    assert np.median(np.abs(depth / true_depth - 1)) < 2e-3
    if turn == (100, 20, 30):  # a pixel beside it would be seen
        shifted, _ = true_view(K, rotation, position, (81, 60))
        assert np.abs(found.astype(float) - shifted[:, 1:]).mean() > 1.5 * difference.mean()


def test_colours_are_reproducible_and_unknown_distance_stays_unknown() -> None:
    color, distance = look(np.zeros(3), panorama_rays(96, 192))
    panorama = Panorama(color.astype(np.uint8), np.where(distance > 5.2, 0, distance).astype(np.float32))
    K = np.array([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]])
    first, second = (
        view_of_panorama(panorama, K, np.eye(3), (32, 24), np.random.default_rng(5)) for _ in range(2)
    )
    np.testing.assert_array_equal(first[0], second[0])
    assert (first[1] == 0).any()
    assert first[1][first[1] > 0].min() > 0.5


def test_every_scene_is_opened_once(report_and_folder: tuple[PrepareReport, Path], raw: Path) -> None:
    report, _ = report_and_folder
    assert report.complete, report
    assert report.made == len(FOLDERS) * len(BATCHES)
    scenes = raw / "scene_datasets"
    expected = [scenes / f"{folder}.basis.glb" for folder in sorted(FOLDERS)]
    assert [scene for scene, _ in Room.opened[: len(FOLDERS)]] == expected
    configs = dict(Room.opened)
    assert configs[scenes / f"{FOLDERS[0]}.basis.glb"] == scenes / "hm3d/annotated.json"
    assert configs[scenes / f"{FOLDERS[1]}.basis.glb"] is None


def test_prepared_views_are_the_true_ones(prepared: Path, tmp_path: Path) -> None:
    for number, folder in enumerate(FOLDERS[:2]):
        for place, batch in enumerate(BATCHES):
            for name, view in place_views(10 * number + place).items():
                stem = prepared / folder / f"{batch}_{name}"
                assert json.loads(Path(f"{stem}_camera_params.json").read_text()) == view
                K, R, t = (np.array(view[k]) for k in ("camera_intrinsics", "R_cam2world", "t_cam2world"))
                color, depth = true_view(K, R, t, SIZE)
                error = np.abs(read_exr(Path(f"{stem}_depth.exr")) / depth - 1)  # of the map's coarse pixels
                assert np.median(error) < 0.01
                assert np.quantile(error, 0.99) < 0.08
                Image.fromarray(color.astype(np.uint8)).save(tmp_path / "true.jpeg")
                found, expected = (
                    np.asarray(Image.open(path), dtype=float)
                    for path in (f"{stem}.jpeg", tmp_path / "true.jpeg")
                )
                assert np.abs(found - expected).mean() < 2
    with OpenEXR.File(str(prepared / FOLDERS[0] / "00000000_1_depth.exr")) as file:
        assert next(iter(file.channels().values())).pixels.dtype == np.float16


def test_pairs_conform_with_all_options(prepared: Path) -> None:
    assert_conforms(make_dataset(prepared, n_corres=64))
    assert_options_work(
        lambda **options: Habitat512(10, ROOT=prepared, split="train", **options), resolution=(64, 48)
    )


def test_matches_show_the_same_point(prepared: Path) -> None:
    assert_true_matches(make_dataset(prepared, n_corres=200))


def test_lists_of_the_prepared_folder(prepared: Path) -> None:
    every = (prepared / "Habitat_all_scenes.txt").read_text().splitlines()
    assert every == sorted(f"{folder}/{batch}" for folder in FOLDERS for batch in BATCHES)
    names = {path.name for path in prepared.glob("Habitat_*_scenes_*.txt")}
    # 20 places in 10 folders are for training, 2 in one folder for validation.
    assert names == {
        "Habitat_20_scenes_train.txt",
        "Habitat_10_scenes_train.txt",
        "Habitat_2_scenes_train.txt",
        "Habitat_2_scenes_val.txt",
        "Habitat_1_scenes_val.txt",
    }
    train = (prepared / "Habitat_20_scenes_train.txt").read_text().splitlines()
    val = (prepared / "Habitat_2_scenes_val.txt").read_text().splitlines()
    assert sorted(train + val) == every
    assert not {place.rpartition("/")[0] for place in train} & {place.rpartition("/")[0] for place in val}


def test_lists_are_drawn_by_numpys_legacy_generator() -> None:
    places = {f"s{number:03d}": [f"{batch:08d}" for batch in range(100)] for number in range(120)}
    lists = dict(lists_of_places(places))
    assert set(lists) == {
        "Habitat_1000_scenes_train.txt",
        "Habitat_10000_scenes_train.txt",
        "Habitat_100_scenes_val.txt",
        "Habitat_1000_scenes_val.txt",  # drawn with the training list of 10,000
    }
    np.random.seed(777)
    folders = list(places.items())
    np.random.shuffle(folders)
    train = [f"{folder}/{batch}" for folder, batches in folders[12:] for batch in batches]
    np.random.shuffle(train)
    assert lists["Habitat_1000_scenes_train.txt"] == train[:1000]
    assert {line.partition("/")[0] for line in lists["Habitat_1000_scenes_val.txt"]} <= {
        folder for folder, _ in folders[:12]
    }
    assert dict(lists_of_places(places)) == lists


def test_draws_are_upstreams(prepared: Path) -> None:
    dataset = make_dataset(prepared, seed=4)
    for index in range(5):
        chosen = np.random.default_rng(4 + index).choice([1, 2, 3, 4])
        folder, _, batch = dataset.places[index].rpartition("/")
        views = dataset[index]
        assert [view["instance"] for view in views] == [f"{batch}_0", f"{batch}_{chosen}"]
        assert {(view["dataset"], view["label"]) for view in views} == {("Habitat", folder)}
        assert views[0]["is_metric_scale"]


def test_views_that_are_missing_or_have_no_pose_are_replaced(prepared: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(prepared, tmp_path / "root"))
    dataset = make_dataset(root)
    place = root / dataset.places[0]
    stems = [f"{place}_{number}" for number in range(1, 6)]
    expected = json.loads(Path(f"{stems[2]}_camera_params.json").read_text())
    Path(f"{stems[0]}_depth.exr").unlink()
    camera = json.loads(Path(f"{stems[1]}_camera_params.json").read_text())
    camera["t_cam2world"][1] = float("nan")
    Path(f"{stems[1]}_camera_params.json").write_text(json.dumps(camera))
    view = dataset[0][0]
    assert view["instance"] == f"{place.name}_0"
    np.testing.assert_allclose(view["camera_pose"][:3, 3], expected["t_cam2world"], rtol=1e-6)
    for stem in stems:
        Path(f"{stem}.jpeg").unlink()
    with pytest.raises(SampleError, match=f"no usable view of {dataset.places[0]}"):
        dataset[0]


def test_bad_input(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="split='train' and 'val', got 'test'"):
        make_dataset(prepared, split="test")
    with pytest.raises(InputError, match=r"has no Habitat_20_scenes_train\.txt"):
        make_dataset(tmp_path)
    with pytest.raises(InputError) as raised:
        Habitat512(1_000, ROOT=prepared, split="val", resolution=64)
    assert "Habitat_1000_scenes_val.txt" in raised.value.message
    assert "Habitat_2_scenes_val.txt" in str(raised.value.hint)


def test_preparing_goes_on_where_it_stopped(raw: Path, prepared: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(prepared, tmp_path / "out"))
    before, before_raw = snapshot(out), snapshot(raw)
    (out / FOLDERS[3] / "00000001_5_camera_params.json").unlink()
    report = run_preparation(plan_of(raw, out))
    assert (report.made, report.kept, report.complete) == (1, 21, True)
    after = snapshot(out)
    changed = {name for name in after if after[name] != before.get(name) and not name.startswith("Habitat_")}
    assert changed == {
        f"{FOLDERS[3]}/00000001_5{suffix}" for suffix in (".jpeg", "_depth.exr", "_camera_params.json")
    }
    for path in prepared.glob("Habitat_*.txt"):
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert snapshot(raw) == before_raw


def test_what_cannot_be_rendered_is_named_and_the_rest_is_done(raw: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(raw, tmp_path / "raw"))
    (broken / "scene_datasets" / f"{FOLDERS[1]}.basis.glb").write_text("broken")
    (broken / "scene_datasets" / f"{FOLDERS[2]}.basis.glb").unlink()
    path = broken / "metadata" / FOLDERS[4] / "metadata.json"
    content = json.loads(path.read_text())
    content["view_batches"][BATCHES[0]]["3"]["t_cam2world"][0] = float("nan")
    del content["view_batches"][BATCHES[1]]["5"]
    path.write_text(json.dumps(content))
    out = tmp_path / "out"
    report = run_preparation(plan_of(broken, out))
    problems = {(folder, batch): f"{folder}/{batch}" for folder in FOLDERS for batch in BATCHES}
    failed = {problems[folder, batch] for folder in (FOLDERS[1], FOLDERS[2], FOLDERS[4]) for batch in BATCHES}
    assert set(report.failed) == failed
    assert report.made == 22 - 6
    assert "does not exist" in report.failed[problems[FOLDERS[2], BATCHES[0]]]
    assert "view 3 of 00000000: its metadata hold numbers" in report.failed[problems[FOLDERS[4], BATCHES[0]]]
    assert "view 5 of 00000001: its metadata are no camera" in report.failed[problems[FOLDERS[4], BATCHES[1]]]
    every = (out / "Habitat_all_scenes.txt").read_text().splitlines()
    assert set(every) == set(problems.values()) - failed
    assert any("scenes_val.txt" in name and "too few" in name for name in report.missing)
    assert_conforms(Habitat512(10, ROOT=out, split="train", resolution=(64, 48)), samples=4)


def test_wrong_raw_folders(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no scene_datasets"):
        plan(PrepareRequest(tmp_path, tmp_path / "out", raw / "metadata"), Room)
    with pytest.raises(InputError, match=r"has no metadata\.json"):
        plan(PrepareRequest(raw, tmp_path / "out", tmp_path), Room)
    for sizes in ("many", "", "10,-1"):
        with pytest.raises(ConfigError, match="--sizes"):
            plan_of(raw, tmp_path / "out", sizes=sizes)
    (tmp_path / "metadata.json").write_text('{"scene": "x"}')
    with pytest.raises(InputError, match=r"metadata\.json holds no views"):
        plan(PrepareRequest(raw, tmp_path / "out", tmp_path), Room)


def test_without_habitat_sim_the_command_says_what_is_missing(raw: Path, tmp_path: Path) -> None:
    metadata = raw / "metadata"
    done = run_mast3r(
        "data", "prepare", "habitat", "--raw", raw, "--out", tmp_path / "out", "--pairs", metadata
    )
    assert done.returncode == 1
    assert "needs Habitat-Sim (the module habitat_sim), which is not installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_places_can_be_sent_to_worker_processes(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mast3r_train.preparing.habitat.require_habitat_sim", lambda: None)
    frames = plan(PrepareRequest(raw, tmp_path / "out", raw / "metadata")).frames
    sent = pickle.loads(pickle.dumps(frames[0].job))  # noqa: S301
    assert sent == frames[0].job
    assert sent.open_scene is open_habitat_scene


def test_finished_views_need_no_habitat_sim(raw: Path, prepared: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(prepared, tmp_path / "out"))
    (out / "Habitat_20_scenes_train.txt").unlink()
    report = run_preparation(plan(PrepareRequest(raw, out, raw / "metadata", options={"sizes": SIZES})))
    assert (report.made, report.complete) == (0, True)
    assert (out / "Habitat_20_scenes_train.txt").is_file()


def pretended_habitat_sim(log: list[Any]) -> ModuleType:
    """The parts of the library that are called, as its documentation has them, over the stand-in's room."""

    class Simulator:
        def __init__(self, configuration: Any) -> None:
            if "broken" in configuration.backend.scene_id:
                raise RuntimeError("no such stage")
            self.sensors = {spec.uuid: spec for spec in configuration.agents[0].sensor_specifications}
            log.append(configuration.backend)
            self.state: Any = None

        def get_agent(self, number: int) -> Any:
            assert number == 0
            return SimpleNamespace(set_state=lambda state: setattr(self, "state", state))

        def get_sensor_observations(self) -> dict[str, np.ndarray]:
            assert {spec.sensor_type for spec in self.sensors.values()} == {"COLOR", "DEPTH"}
            assert all(spec.position == [0.0, 0.0, 0.0] for spec in self.sensors.values())
            height, width = self.sensors["color"].resolution
            rays = panorama_rays(height, width)
            color, distance = look(self.state.position.astype(float), rays * [1, -1, -1])
            alpha = np.full((height, width, 1), 255)
            depth = np.abs(rays * distance[..., None]).max(axis=-1)
            return {
                "color": np.concatenate([color, alpha], -1).astype(np.uint8),
                "depth": depth.astype(np.float32),
            }

        def close(self) -> None:
            log.append("closed")

    module: Any = ModuleType("habitat_sim")
    module.__spec__ = SimpleNamespace()
    module.SimulatorConfiguration = SimpleNamespace
    module.EquirectangularSensorSpec = SimpleNamespace
    module.SensorType = SimpleNamespace(COLOR="COLOR", DEPTH="DEPTH")
    module.agent = SimpleNamespace(AgentConfiguration=SimpleNamespace)
    module.AgentState = SimpleNamespace
    module.Configuration = lambda backend, agents: SimpleNamespace(backend=backend, agents=agents)
    module.Simulator = Simulator
    return module


def test_habitat_sim_is_asked_for_colour_and_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pretended library: the real one could not be installed here."""
    log: list[Any] = []
    monkeypatch.setitem(sys.modules, "habitat_sim", pretended_habitat_sim(log))
    renderer = open_habitat_scene(Path("a.glb"), Path("config.json"), (40, 80))
    assert (log[0].scene_id, log[0].scene_dataset_config_file) == ("a.glb", "config.json")
    position = np.array([0.3, 0.1, -0.5])
    panorama = renderer.render(position)
    color, distance = look(position, panorama_rays(40, 80) * [1, -1, -1])
    assert panorama.color.shape == (40, 80, 3)
    np.testing.assert_allclose(panorama.color, color, atol=1)
    np.testing.assert_allclose(panorama.distance, distance, rtol=1e-5)
    renderer.close()
    assert log[-1] == "closed"
    with pytest.raises(SampleError, match=r"cannot open broken\.glb: no such stage"):
        open_habitat_scene(Path("broken.glb"), None, (40, 80))
