"""Kapture folders: what is read, and what is refused (spec 50 A3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mast3r_model import InputError
from mast3r_sfm.colmap.kapture import is_kapture, read_kapture

SENSORS = (
    "# kapture format: 1.1\n# sensor_device_id, name, sensor_type, [sensor_params]+\n\n"
    "a, front , camera, OPENCV, 640, 480, 500, 510, 320, 240, 0.1, 0, 0, 0\n"
    "b, , camera, UNKNOWN_CAMERA, 640, 480\nd, , depth, PINHOLE, 640, 480, 1, 1, 2, 2\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cameras on a rig that rides on a second rig; three moments out of order."""
    (tmp_path / "sensors").mkdir()
    files = {
        "sensors": SENSORS,
        "records_camera": "7, a, x/1.jpg\n3, a, x/0.jpg\n7, b, y/1.jpg\n9, a, x/2.jpg\n3, d, z.depth\n",
        "rigs": "mast, a, 1, 0, 0, 0, 1, 0, 0\nmast, b, 1, 0, 0, 0, -1, 0, 0\ncar, mast, 0, 0, 0, 2, 0, 0, 0\n",
        "trajectories": "7, car, 1, 0, 0, 0, 0, 0, 5\n3, a, 0, 1, 0, 0, 0, 0, 0\n9, a, , , , , 1, 2, 3\n",
    }
    for name, text in files.items():
        (tmp_path / "sensors" / f"{name}.txt").write_text(text)
    return tmp_path


def test_photos_cameras_and_poses(folder: Path) -> None:
    assert is_kapture(folder)
    photos = read_kapture(folder)
    assert [photo.name for photo in photos] == ["x/1.jpg", "y/1.jpg", "x/0.jpg", "x/2.jpg"]
    assert [photo.sensor for photo in photos] == ["a", "b", "a", "a"]
    calibration = photos[0].calibration
    assert calibration is not None
    assert calibration.model_name == "OPENCV"
    assert calibration.params.tolist() == [500, 510, 320, 240, 0.1, 0, 0, 0]
    assert calibration.has_prior_focal_length
    assert photos[1].calibration is None
    poses = [photo.cam2world for photo in photos]
    assert poses[0] is not None
    assert poses[2] is not None
    # the car looks along z from z = -5, the mast is turned by half a turn about z, camera a sits at x = -1 of it
    np.testing.assert_allclose(
        poses[0], [[-1, 0, 0, 1], [0, -1, 0, 0], [0, 0, 1, -5], [0, 0, 0, 1]], atol=1e-12
    )
    np.testing.assert_allclose(poses[2], np.diag([1.0, -1, -1, 1]), atol=1e-12)
    assert poses[3] is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sensors", SENSORS.replace("1.1", "2.0"), "kapture format: 2.0"),
        ("sensors", SENSORS.replace("# kapture format: 1.1\n", ""), "begins with"),
        ("sensors", SENSORS.replace(", 0.1", ""), "has 8 parameters, got 7"),
        ("sensors", SENSORS.replace("OPENCV", "LENS"), "unknown camera model 'LENS'"),
        ("sensors", SENSORS.replace("510", "wide"), "line 4: could not convert"),
        ("sensors", SENSORS.replace("510", "nan"), "not finite"),
        ("records_camera", "7, a\n", "expected 3 fields or more"),
        ("records_camera", "noon, a, 1.jpg\n", "'noon' is no whole number"),
        ("records_camera", "7, a, 1.jpg\n8, a, 1.jpg\n", "lists a photo twice"),
        ("trajectories", "7, a, 0, 0, 0, 0, 1, 2, 3\n", "quaternion is zero"),
    ],
)
def test_what_cannot_be_read(folder: Path, name: str, text: str, message: str) -> None:
    (folder / "sensors" / f"{name}.txt").write_text(text)
    with pytest.raises(InputError) as caught:
        read_kapture(folder)
    assert message in f"{caught.value} {caught.value.hint}"


def test_another_folder(tmp_path: Path) -> None:
    assert not is_kapture(tmp_path)
    with pytest.raises(InputError, match="is no kapture folder"):
        read_kapture(tmp_path)
