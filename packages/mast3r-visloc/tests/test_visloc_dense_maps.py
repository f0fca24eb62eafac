"""Maps of posed depth through the command: kapture, nerfstudio, RGB-D, and lists of queries (spec 50 D1)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mast3r_visloc.evaluation import pose_error

from .painted_wall import MAP, QUERIES, K, pose_line, write_rgbd
from .visloc_cli import Visloc

CAMERA = MAP[0].camera_spec
SMALL = ("--size", 128)
HEAD = "# kapture format: 1.1\n"


def rgbd(folder: Path) -> None:
    write_rgbd(folder, MAP)


def kapture(folder: Path) -> None:
    data = folder / "sensors" / "records_data"
    data.mkdir(parents=True)
    sensors = [f"{kind}0, , {kind}, {CAMERA}" for kind in ("camera", "depth")]
    photos, depths, poses = [], [], []
    for number, shot in enumerate(MAP):
        shot.save(data)
        shot.depth().astype(np.float32).tofile(data / f"{shot.name}.depth")
        photos.append(f"{number}, camera0, {shot.name}")
        depths.append(f"{number}, depth0, {shot.name}.depth")
        pose = ", ".join(pose_line(shot).split()[1:])
        poses += [f"{number}, {kind}0, {pose}" for kind in ("camera", "depth")]
    for name, lines in (
        ("sensors", sensors), ("records_camera", photos), ("records_depth", depths), ("trajectories", poses)
    ):  # fmt: skip
        (folder / "sensors" / f"{name}.txt").write_text(HEAD + "\n".join(lines) + "\n")


def nerfstudio(folder: Path) -> None:
    frames = []
    for shot in MAP:
        shot.save(folder / "images")
        np.save(folder / "images" / f"{shot.name}.npy", shot.depth())
        frames.append(
            {
                "file_path": f"images/{shot.name}",
                "depth_file_path": f"images/{shot.name}.npy",
                "transform_matrix": (shot.pose @ np.diag([1.0, -1, -1, 1])).tolist(),
            }
        )
    height, width = MAP[0].shape
    camera = {
        "camera_model": "PINHOLE", "w": width, "h": height, "fl_x": K[0, 0], "fl_y": K[1, 1],
        "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5,
    }  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps({**camera, "frames": frames}))


@pytest.mark.parametrize("write", [rgbd, kapture, nerfstudio])
@pytest.mark.parametrize("known", ["list", "camera", "camera-from"])
def test_photos_are_localised_in_posed_depth(
    visloc: Visloc, wall: Path, write: Callable[[Path], None], known: str
) -> None:
    write(Path("map"))
    shutil.copytree(wall / "queries", "queries")
    listed = "".join(f"queries/{shot.name} {CAMERA.replace(',', ' ')}\n" for shot in QUERIES)
    Path("list.txt").write_text(listed)
    words: dict[str, tuple[object, ...]] = {
        "list": ("--queries", "list.txt"),
        "camera": ("queries", "--camera", CAMERA),
        "camera-from": ("queries", "--camera-from", "map_1.color.png" if write is rgbd else MAP[1].name),
    }
    if write is nerfstudio:
        words["camera-from"] = ("queries", "--camera-from", f"images/{MAP[1].name}")
    ran = visloc("localize", "map", *words[known], *SMALL, "-o", "out", "--json")
    assert ran.code == 0, ran.err
    found = ran.result["queries"]
    assert [Path(query["name"]).name for query in found] == [shot.name for shot in QUERIES]
    for query, shot in zip(found, QUERIES, strict=True):
        assert pose_error(np.array(query["cam2world"]), shot.pose).below((0.02, 0.3))
    assert Path("out/report.html").is_file()
