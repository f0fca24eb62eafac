"""``mast3r visloc`` with the built-in network on rendered rooms: photos in, poses near the truth (spec 50 D9)."""

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
from PIL import Image

from mast3r_model.cli import root, run
from mast3r_sfm import read_cameras
from mast3r_train.synthetic import SceneViews, render_scene_views

SHAPE = (144, 192)
HELD_OUT = (2, 5)
SIZE = ("--size", max(SHAPE), "--device", "cpu", "--threads", 1)


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
    return render_scene_views(2, 9, path="orbit", shape=SHAPE, procedural=8)


@pytest.fixture(scope="module")
def folder(views: SceneViews, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``rgbd/`` with all views, ``map/`` without the held-out ones, those in ``queries/``, and their truth."""
    path = tmp_path_factory.mktemp("room")
    for name in ("rgbd", "map", "queries"):
        (path / name).mkdir()
    for place in (path / "rgbd", path / "map"):
        np.savetxt(place / "intrinsics.txt", views.intrinsics[0], fmt="%.17g")
        for index in range(len(views)):
            if place.name == "map" and index in HELD_OUT:
                continue
            Image.fromarray(views.images[index]).save(place / f"{index}.color.png")
            np.save(place / f"{index}.depth.npy", views.depth[index].astype(np.float32))
            np.savetxt(place / f"{index}.pose.txt", views.cam2world[index], fmt="%.17g")
    model = pycolmap.Reconstruction()
    for number, index in enumerate(HELD_OUT, 1):
        Image.fromarray(views.images[index]).save(path / "queries" / f"{index}.color.png")
        model.add_camera_with_trivial_rig(
            pycolmap.Camera(
                model="PINHOLE",
                params=camera_params(views),
                camera_id=number,
                width=SHAPE[1],
                height=SHAPE[0],
            )
        )
        model.add_image_with_trivial_frame(
            pycolmap.Image(name=f"{index}.color.png", camera_id=number, image_id=number),
            pycolmap.Rigid3d(np.linalg.inv(views.cam2world[index])[:3]),
        )
    (path / "truth").mkdir()
    model.write_text(path / "truth")
    return path


def camera_params(views: SceneViews) -> list[float]:
    K = views.intrinsics[0]
    return [*K[[0, 1], [0, 1]], *(K[:2, 2] + 0.5)]


@pytest.fixture
def visloc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Ran:
        code = run(root(), ["visloc", *map(str, words)])
        return Ran(code, *capfd.readouterr())

    return call


def held_out(folder: Path) -> str:
    names = [f"{index}.color.png" for index in HELD_OUT]
    return f"RgbdFolder({str(folder / 'rgbd')!r}, queries={names})"


def test_photos_of_a_room_are_localised(visloc: Callable[..., Ran], folder: Path, views: SceneViews) -> None:
    camera = f"PINHOLE,{SHAPE[1]},{SHAPE[0]}," + ",".join(map(repr, map(float, camera_params(views))))
    words = ("localize", folder / "map", folder / "queries", *SIZE, "--camera", camera, "--topk", 4)
    ran = visloc(*words, "--truth", folder / "truth", "-o", "out", "--json")
    assert ran.code == 0, ran.err
    assert ran.result["summary"]["recalls"][:2] == [100.0, 100.0]
    assert "hint: nano is the small built-in checkpoint" in ran.err
    report = json.loads(Path("out/report.json").read_text())
    assert [query["name"] for query in report["queries"]] == [f"{index}.color.png" for index in HELD_OUT]
    assert set(report["queries"][0]["timings"]) >= {"read", "encode"}
    names = {image.name for image in pycolmap.Reconstruction("out/colmap").images.values()}
    assert len(names) == len(views)
    assert Path("out/report.html").stat().st_size > 10_000


def test_an_index_changes_no_pose(visloc: Callable[..., Ran], folder: Path) -> None:
    shutil.copytree(folder / "map", "map")
    words = ("localize", "map", folder / "queries", *SIZE, "--topk", 3, "--json")
    before = visloc(*words, "--jobs", 1)
    assert visloc("index", "map", *SIZE).code == 0
    after = visloc(*words, "--jobs", 2)
    assert (before.code, after.code) == (0, 0), after.err
    for mine, theirs in zip(before.result["queries"], after.result["queries"], strict=True):
        assert mine["candidates"] == theirs["candidates"]
        np.testing.assert_allclose(mine["cam2world"], theirs["cam2world"], atol=1e-9)


def test_a_room_is_evaluated(visloc: Callable[..., Ran], folder: Path) -> None:
    ran = visloc("evaluate", held_out(folder), *SIZE, "--retrieval", "encoder", "--topk", 4, "-o", "out")
    assert ran.code == 0, ran.err
    assert "acc@0.25m,2deg=100.000" in ran.out
    exported = visloc("export", "out", "--format", "ltvl", "-o", "submission.txt")
    assert exported.code == 0, exported.err
    names = [line.split()[0] for line in Path("submission.txt").read_text().splitlines()]
    assert names == [f"{index}.color.png" for index in HELD_OUT]


def test_a_photo_of_another_room_is_not_localised(visloc: Callable[..., Ran], folder: Path) -> None:
    other = render_scene_views(7, 2, path="orbit", shape=SHAPE, procedural=8)
    Image.fromarray(other.images[0]).save("other.png")
    ran = visloc("localize", folder / "map", "other.png", *SIZE, "--topk", 4)
    assert ran.code == 4, ran.out
    assert "failed" in ran.out


def test_it_is_a_process_too(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mast3r_model", "visloc", "localize"]
    words = [folder / "map", folder / "queries" / f"{HELD_OUT[0]}.color.png", *SIZE, "--topk", 2, "-q"]
    done = subprocess.run(
        [*command, *map(str, words)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{HELD_OUT[0]}.color.png   localised")
    assert done.stderr == ""


@pytest.mark.slow
def test_photos_are_localised_in_a_scene_of_mast3r_sfm(
    visloc: Callable[..., Ran],
    folder: Path,
    views: SceneViews,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The scene has its own frame and scale: the held-out camera's place among the others is the truth."""
    (tmp_path / "photos").mkdir()
    for path in (folder / "map").glob("*.color.png"):
        shutil.copy(path, tmp_path / "photos")
    words = ["sfm", "photos", "-o", "scene", *SIZE, "--shared-intrinsics"]
    assert run(root(), list(map(str, words))) in (0, 3), capfd.readouterr().err
    capfd.readouterr()
    cameras = read_cameras(tmp_path / "scene")
    words = ["localize", "scene", folder / "queries", *SIZE, "--camera-from", cameras.names[0], "--json"]
    ran = visloc(*words)
    assert ran.code == 0, ran.err
    known = [int(Path(name).name.split(".")[0]) for name in cameras.names]
    found = np.array([*cameras.cam2world, *(query["cam2world"] for query in ran.result["queries"])])
    truth = views.cam2world[[*known, *HELD_OUT]]
    aligned = pycolmap.estimate_sim3d(found[: len(known), :3, 3], truth[: len(known), :3, 3])
    assert aligned is not None
    scale, rotation = aligned.scale, aligned.rotation.matrix()
    places = scale * found[:, :3, 3] @ rotation.T + aligned.translation
    missed = np.linalg.norm(places - truth[:, :3, 3], axis=1)
    # A photo cannot be placed better than those that it is placed among.
    assert missed[len(known) :].max() < 2 * missed[: len(known)].max()
    assert missed.max() < 0.2 * views.radius
    cosines = (np.einsum("nij,nij->n", rotation @ found[:, :3, :3], truth[:, :3, :3]) - 1) / 2
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).max() < 6
