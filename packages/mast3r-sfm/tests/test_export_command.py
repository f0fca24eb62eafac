"""``mast3r export`` on a small saved scene; some runs are processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from mast3r_model import ImageTransform
from mast3r_model.cli import run
from mast3r_sfm import PointCloud, Scene, SceneImage, Tracks
from mast3r_sfm.export_cli import export as command

SIZE = (40, 60)
SKY = 12
"""Rows of blue at the top of every photo."""


def make_image(number: int) -> SceneImage:
    """A wall 2 m away, seen from cameras side by side; the left is seen more surely than the right."""
    K = np.array([[60.0, 0, 29.5], [0, 60.0, 19.5], [0, 0, 1]])
    pose = np.eye(4)
    pose[0, 3] = 0.2 * number
    color = np.full((*SIZE, 3), (90, 60, 40), np.uint8)
    color[:SKY] = (60, 140, 250)
    return SceneImage(
        name=f"{number}.jpg",
        original_shape=SIZE,
        transform=ImageTransform(SIZE, SIZE, np.eye(3)),
        intrinsics=K,
        cam2world=pose,
        depth=np.full(SIZE, 2.0) + 0.02 * (number == 2),
        confidence=np.broadcast_to(3 - np.arange(SIZE[1]) / SIZE[1], SIZE),
        color=color,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "scene"
    images = tuple(make_image(number) for number in range(3))
    Scene(images, PointCloud.empty(), Tracks.empty(), report={"min_confidence": 1.5}).save(folder, formats=())
    return folder


@dataclass(frozen=True)
class Ended:
    """What one run of the command left."""

    code: int
    out: str
    err: str


Export = Callable[..., Ended]


@pytest.fixture
def export(capfd: pytest.CaptureFixture[str]) -> Export:
    def call(*arguments: object) -> Ended:
        code = run(command, [str(argument) for argument in arguments], program="mast3r export")
        return Ended(code, *capfd.readouterr())

    return call


def as_process(*arguments: object) -> Ended:
    words = [sys.executable, "-m", "mast3r_model", "export", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def result_of(ended: Ended) -> dict[str, Any]:
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert document["schema"] == "mast3r.export/1"
    assert document["ok"]
    return document["result"]


def count_points(path: Path) -> int:
    return len(trimesh.load(path).vertices)


PIXELS = 3 * SIZE[0] * SIZE[1]


def test_filters_change_what_is_written_and_not_the_scene(
    folder: Path, tmp_path: Path, export: Export
) -> None:
    state = (folder / "scene.safetensors").read_bytes()
    everything = result_of(export(folder, "--format", "ply", "-o", tmp_path / "all", "--json"))
    assert everything["points"] == count_points(tmp_path / "all" / "points.ply") == PIXELS
    surer = result_of(export(folder, "--format", "ply", "--percentile", 25, "-o", tmp_path / "p", "--json"))
    assert surer["points"] == count_points(tmp_path / "p" / "points.ply") == 0.75 * PIXELS
    above = result_of(
        export(folder, "--format", "ply", "--min-confidence", 2.5, "-o", tmp_path / "c", "--json")
    )
    assert above["min_confidence"] == 2.5
    assert above["points"] == count_points(tmp_path / "c" / "points.ply") == 0.5 * PIXELS
    earth = result_of(export(folder, "--format", "ply", "--mask-sky", "-o", tmp_path / "s", "--json"))
    assert earth["points"] == PIXELS - 3 * SKY * SIZE[1]
    colors = trimesh.load(tmp_path / "s" / "points.ply").colors
    assert (colors[:, 2] < 100).all()
    limits = ["--percentile", 25, "--min-confidence", 2.1, "--mask-sky"]
    both = result_of(as_process(folder, "--format", "ply", *limits, "-o", tmp_path / "b", "--json"))
    assert both["points"] == count_points(tmp_path / "b" / "points.ply") == 0.75 * earth["points"]
    assert both["min_confidence"] > 2.1
    few = ["--max-points", "1_000", "--only-photo", "1.jpg", "--only-photo", "2.jpg"]
    thin = result_of(export(folder, "--format", "ply,depth", *few, "-o", tmp_path / "t", "--json"))
    assert thin["points"] == count_points(tmp_path / "t" / "points.ply") == 1000
    unknown = export(folder, "--format", "ply", "--only-photo", "3.jpg", "-o", tmp_path / "u")
    assert unknown.code == 1
    assert (folder / "scene.safetensors").read_bytes() == state


def test_consistent_depths_mesh_and_cameras_to_look_through(folder: Path, tmp_path: Path) -> None:
    flags = ["--tsdf", 0.1, "--mesh", "--transparent-cams", "--cam-size", 0.5]
    result = result_of(
        as_process(folder, "--format", "glb,ply,depth", *flags, "-o", tmp_path / "out", "--json")
    )
    assert {Path(path).suffix for path in result["written"]} == {".glb", ".ply", ".tiff"}
    mesh = trimesh.load(tmp_path / "out" / "mesh.ply")
    assert len(mesh.faces) == 3 * 2 * (SIZE[0] - 1) * (SIZE[1] - 1)
    # two photos say 2 m and one 2.02 m: where all see the wall, its mean is left of that step
    middle = np.abs(mesh.vertices[:, 0] - 0.2) < 0.5
    assert np.ptp(mesh.vertices[middle, 2]) < 0.002
    scene = trimesh.load(tmp_path / "out" / "scene.glb")
    parts = list(scene.geometry.values())
    assert len(parts) == 1 + 3  # no planes with photos
    assert sorted(len(part.faces) for part in parts)[:3] == [48, 48, 48]


def test_the_scene_s_own_folder_is_the_default(folder: Path, export: Export) -> None:
    result = result_of(export(folder, "--format", "cameras", "--format", "colmap", "--json"))
    assert (folder / "cameras.json").is_file()
    assert (folder / "sparse" / "0" / "images.bin").is_file()
    assert result["formats"] == ["cameras", "colmap"]
    assert len(Scene.load(folder).images) == 3
    assert export(folder, "--format", "cameras").code == 0  # again


def test_people_are_told_what_was_written(folder: Path, tmp_path: Path, export: Export) -> None:
    ended = export(folder, "--format", "glb", "-o", tmp_path / "out", "--cam-size", "auto")
    assert ended.code == 0, ended.err
    assert str(tmp_path / "out" / "scene.glb") in ended.out
    assert f"{PIXELS}, of confidence above 1.5" in ended.out


def test_no_point_left_is_done_in_part(folder: Path, tmp_path: Path, export: Export) -> None:
    ended = export(folder, "--format", "cameras", "--min-confidence", 99, "-o", tmp_path / "out")
    assert ended.code == 3, ended.err
    assert "no pixel is left" in ended.err
    nothing = ["--format", "glb", "--min-confidence", 99, "--cam-size", 0]
    ended = export(folder, *nothing, "-o", tmp_path / "none")
    assert ended.code == 4, ended.err
    assert not (tmp_path / "none").exists()


def test_refusals_are_one_line(folder: Path, tmp_path: Path, export: Export) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    cases = {
        "did you mean glb": (1, [folder, "--format", "glbb"]),
        "no format is named": (1, [folder, "--format", ","]),
        "holds no scene": (1, [tmp_path / "nowhere", "--format", "glb"]),
        "exists already": (1, [folder, "--format", "glb", "-o", tmp_path]),
        "--format": (2, [folder]),
        "--percentile": (2, [folder, "--format", "glb", "--percentile", 100]),
    }
    for complaint, (code, arguments) in cases.items():
        ended = export(*arguments)
        assert ended.code == code, (complaint, ended.err)
        assert complaint in ended.err
        assert "Traceback" not in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_process_ends_with_the_code(folder: Path) -> None:
    ended = as_process(folder, "--format", "glbb", "--json")
    assert ended.code == 1
    assert json.loads(ended.out)["error"]["hint"] == "did you mean glb?"
