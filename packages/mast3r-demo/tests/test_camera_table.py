"""The cameras as a table and as CSV."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mast3r_demo.views import CAMERA_COLUMNS, camera_rows, write_camera_csv
from mast3r_demo.views.camera_table import quaternion_wxyz, yaw_pitch_roll

from .small_scene import small_scene


def turn(axis: int, degrees: float) -> np.ndarray:
    pose, angle = np.eye(4), np.deg2rad(degrees)
    a, b = [k for k in range(3) if k != axis]
    pose[a, a] = pose[b, b] = np.cos(angle)
    pose[b, a], pose[a, b] = np.sin(angle), -np.sin(angle)
    return pose if axis != 1 else pose.T


def test_rows_say_where_each_photo_was_taken() -> None:
    scene = small_scene(2, alone=1)
    rows = camera_rows(scene, {"0002.jpg": "holiday.jpg"})
    assert all(len(row) == len(CAMERA_COLUMNS) for row in rows)
    named = [dict(zip(CAMERA_COLUMNS, row, strict=True)) for row in rows]
    assert [row["photo"] for row in named] == ["0001.jpg", "holiday.jpg", "0003.jpg"]
    assert named[1]["x"] == 0.5
    assert named[1]["focal (px)"] == 120.0
    assert [row["error (px)"] for row in named] == [0.5, 1.0, None]
    assert [row["group"] for row in named] == [1, 1, 2]
    assert named[0]["mean confidence"] == pytest.approx(2.52, abs=0.01)


@pytest.mark.parametrize(
    ("axis", "degrees", "expected"),
    [(1, 30, (30, 0, 0)), (0, 20, (0, 20, 0)), (2, 10, (0, 0, 10)), (1, -170, (-170, 0, 0))],
)
def test_angles_are_to_the_right_up_and_clockwise(
    axis: int, degrees: float, expected: tuple[float, float, float]
) -> None:
    pose = turn(axis, degrees)
    np.testing.assert_allclose(yaw_pitch_roll(pose), expected, atol=1e-9)
    ahead = pose[:3, 2]
    if axis == 1:
        assert np.sign(ahead[0]) == np.sign(degrees)  # to the right
    if axis == 0:
        assert ahead[1] < 0  # up, since y points down
    w, x, y, z = quaternion_wxyz(pose)
    assert w >= 0
    assert abs([x, y, z][axis]) == pytest.approx(abs(np.sin(np.deg2rad(degrees) / 2)))
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    np.testing.assert_allclose(R, pose[:3, :3], atol=1e-9)


def test_csv_holds_all_of_it_and_no_formula(tmp_path: Path) -> None:
    scene = small_scene()
    scene = replace(scene, images=(replace(scene.images[0], cam2world=turn(1, 30)), *scene.images[1:]))
    path = tmp_path / "cameras.csv"
    write_camera_csv(scene, path, {"0003.jpg": "=1+1.jpg"})
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["0001.jpg", "0002.jpg", "0003.jpg"]
    assert rows[2]["photo"] == "'=1+1.jpg"
    assert float(rows[0]["yaw_deg"]) == pytest.approx(30)
    assert (int(rows[1]["width"]), int(rows[1]["height"])) == (96, 128)
    assert float(rows[1]["cx"]) == pytest.approx(47.5)
