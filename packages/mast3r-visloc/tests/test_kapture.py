"""Kapture folders: every rule of spec 50 A3."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mast3r_model import InputError
from mast3r_visloc.formats import is_kapture, read_kapture

HEADER = "# kapture format: 1.1\n"
SENSORS = "cam, , camera, PINHOLE, 640, 480, 500, 510, 320, 240\n"
RECORDS = "1, cam, a.png\n"
COUNTS = {
    "UNKNOWN_CAMERA": 0,
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL": 5,
    "RADIAL_FISHEYE": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
    "FOV": 5,
    "FULL_OPENCV": 12,
    "THIN_PRISM_FISHEYE": 12,
}


def make(folder: Path, header: str = HEADER, **files: str) -> Path:
    """A kapture folder of the given files; sensors and camera records have a default."""
    (folder / "sensors").mkdir(parents=True, exist_ok=True)
    for name, text in {"sensors": SENSORS, "records_camera": RECORDS, **files}.items():
        (folder / "sensors" / f"{name}.txt").write_text((header if name == "sensors" else "") + text)
    return folder


def test_sensors_alone_are_a_kapture_folder(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "sensors" / "records_camera.txt").unlink()
    assert is_kapture(folder)
    kapture = read_kapture(folder)
    assert kapture.photos == ()
    assert kapture.depth_maps == ()
    assert not kapture.sensor_from_world


def test_another_folder_is_refused(tmp_path: Path) -> None:
    assert not is_kapture(tmp_path)
    with pytest.raises(InputError, match=r"sensors\.txt"):
        read_kapture(tmp_path)


@pytest.mark.parametrize(
    "header", ["# kapture format: 1.0\n", "# kapture format: 1.1\n", "# kapture format:1\n"]
)
def test_versions_that_are_read(tmp_path: Path, header: str) -> None:
    assert len(read_kapture(make(tmp_path, header)).photos) == 1


@pytest.mark.parametrize(
    "header",
    ["", "# sensors\n", "\n# kapture format: 1.1\n", "# kapture format: 1.2\n", "# kapture format: x\n"],
)
def test_versions_that_are_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(InputError, match=r"sensors\.txt, line 1"):
        read_kapture(make(tmp_path, header))


@pytest.mark.parametrize("model", COUNTS)
def test_camera_models(tmp_path: Path, model: str) -> None:
    numbers = ", ".join(str(10 + number) for number in range(COUNTS[model]))
    text = f"cam, phone, camera, {model}, 64, 48{', ' if numbers else ''}{numbers}\n"
    sensor = read_kapture(make(tmp_path, sensors=text)).sensors["cam"]
    assert (sensor.name, sensor.model, sensor.width, sensor.height) == ("phone", model, 64, 48)
    assert sensor.params == tuple(range(10, 10 + COUNTS[model]))
    camera = sensor.camera("corner")
    if model == "UNKNOWN_CAMERA":
        assert camera is None
    else:
        assert camera is not None
        assert camera.params == sensor.params


@pytest.mark.parametrize("model", COUNTS)
def test_wrong_counts_are_refused(tmp_path: Path, model: str) -> None:
    for count in (COUNTS[model] - 1, COUNTS[model] + 1):
        numbers = "".join(", 10" for _ in range(2 + count))
        text = f"# comment\ncam, , camera, {model}{numbers}\n"
        with pytest.raises(InputError, match=r"sensors\.txt, line 3: .*needs"):
            read_kapture(make(tmp_path, sensors=text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cam, , camera, FISHBOWL, 1, 1\n", "unknown camera model 'FISHBOWL'"),
        ("cam, , camera\n", "unknown camera model ''"),
        ("cam, camera\n", "sensor_id, name, sensor_type"),
        ("cam, , camera, UNKNOWN_CAMERA, 64, x\n", "could not convert"),
        ("cam, , camera, UNKNOWN_CAMERA, 64, inf\n", "not finite"),
        ("cam, , camera, UNKNOWN_CAMERA, 64, 0\n", "whole numbers of pixels"),
        (SENSORS + SENSORS, "given twice"),
    ],
)
def test_sensors_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_kapture(make(tmp_path, sensors=text))


def test_pixels_are_the_callers_business(tmp_path: Path) -> None:
    sensor = read_kapture(make(tmp_path)).sensors["cam"]
    corner, centre = sensor.camera("corner"), sensor.camera("centre")
    assert corner is not None
    assert centre is not None
    np.testing.assert_allclose(corner.intrinsics[:2, 2], [319.5, 239.5])
    np.testing.assert_allclose(centre.intrinsics[:2, 2], [320, 240])


def test_other_kinds_of_sensors_and_records_are_left_alone(tmp_path: Path) -> None:
    sensors = SENSORS + "d, , depth, UNKNOWN_CAMERA, 4, 3\nw, , wifi\ng, gps, gnss, EPSG:4326\n"
    folder = make(
        tmp_path,
        sensors=sensors,
        records_camera="\n1, cam, a.png\n# 2, cam, b.png\n2, d, wrong.png\n3, other, c.png\n",
        records_depth="1, d, a.depth\n1, cam, wrong.depth\n",
    )
    kapture = read_kapture(folder)
    assert [photo.name for photo in kapture.photos] == ["a.png"]
    assert [record.name for record in kapture.depth_maps] == ["a.depth"]
    assert kapture.records_folder == folder / "sensors" / "records_data"


def test_photos_are_grouped_by_timestamp(tmp_path: Path) -> None:
    records = "7, b, 1.png\n3, a, 2.png\n7, a, 3.png\n3, b, 4.png\n5, a, 5.png\n"
    sensors = SENSORS.replace("cam", "a", 1) + SENSORS.replace("cam", "b", 1)
    kapture = read_kapture(make(tmp_path, sensors=sensors, records_camera=records))
    assert [photo.name for photo in kapture.photos] == ["1.png", "3.png", "2.png", "4.png", "5.png"]


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from("ab")), unique=True, max_size=14))
def test_order_is_that_of_nested_dictionaries(
    tmp_path_factory: pytest.TempPathFactory, shots: list[tuple[int, str]]
) -> None:
    records = "".join(f"{time}, {device}, {time}{device}\n" for time, device in shots)
    sensors = SENSORS.replace("cam", "a", 1) + SENSORS.replace("cam", "b", 1)
    folder = make(tmp_path_factory.mktemp("kapture"), sensors=sensors, records_camera=records)
    times = sorted({time for time, _ in shots}, key=[time for time, _ in shots].index)
    expected = [shot for time in times for shot in shots if shot[0] == time]
    found = [(photo.timestamp, photo.sensor_id) for photo in read_kapture(folder).photos]
    assert found == expected


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ("1, cam\n", "line 1: expected 'timestamp, device_id, path'"),
        ("1, cam, a, b.png\n", "line 1: expected"),
        ("1.5, cam, a.png\n", "line 1: the timestamp"),
        ("1, cam, a.png\n1, cam, b.png\n", "line 2: a second record"),
        ("1, cam, a.png\n2, cam, a.png\n", "line 2: a second record"),
        ("1, cam, ../a.png\n", "leaves the dataset's folder"),
        ("1, cam, x/../../a.png\n", "leaves the dataset's folder"),
        ("1, cam, /etc/passwd\n", "leaves the dataset's folder"),
        ("1, cam, C:\\a.png\n", "leaves the dataset's folder"),
        ("1, cam, x\\..\\..\\a.png\n", "leaves the dataset's folder"),
        ("1, cam, \n", "is empty"),
    ],
)
def test_records_that_are_refused(tmp_path: Path, records: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_kapture(make(tmp_path, records_camera=records))


def test_poses_are_device_from_world_with_quaternions_of_any_length(tmp_path: Path) -> None:
    folder = make(tmp_path, trajectories="1, cam, 2, 0, 0, 2, 1, 2, 3\n9, stranger, 1, 0, 0, 0, 0, 0, 0\n")
    kapture = read_kapture(folder)
    pose = kapture.cam2world(kapture.photos[0])
    assert pose is not None
    assert set(kapture.sensor_from_world) == {(1, "cam")}
    turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    np.testing.assert_allclose(pose[:3, :3], turn.T, atol=1e-12)
    np.testing.assert_allclose(pose[:3, 3], -turn.T @ [1, 2, 3], atol=1e-12)


@pytest.mark.parametrize("pose", [", , , , 1, 2, 3", "1, 0, 0, 0, , ,", ", , , , , ,"])
def test_empty_parts_of_a_pose_make_it_unknown(tmp_path: Path, pose: str) -> None:
    kapture = read_kapture(make(tmp_path, trajectories=f"1, cam, {pose}\n"))
    assert kapture.cam2world(kapture.photos[0]) is None


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        ("1, , 0, 0, 1, 2, 3", "given in part"),
        ("1, 0, 0, 0, 1, 2,", "given in part"),
        ("0, 0, 0, 0, 1, 2, 3", "quaternion is zero"),
        ("1, 0, 0, 0, 1, nan, 3", "not finite"),
        ("1, 0, 0, 0, 1, 2", "line 1: expected"),
    ],
)
def test_poses_that_are_refused(tmp_path: Path, pose: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_kapture(make(tmp_path, trajectories=f"1, cam, {pose}\n"))


IDENTITY = "1, 0, 0, 0, 0, 0, 0"


def test_rigs_may_nest(tmp_path: Path) -> None:
    rigs = (
        "arm, cam, 1, 0, 0, 0, 0, 0, 1\n"
        "car, arm, 0.7071067811865476, 0, 0, 0.7071067811865476, 0, 2, 0\n"
        f"car, nobody, {IDENTITY}\n"
    )
    kapture = read_kapture(make(tmp_path, rigs=rigs, trajectories="1, car, 1, 0, 0, 0, 3, 0, 0\n"))
    assert set(kapture.sensor_from_world) == {(1, "cam")}
    turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    expected = np.eye(4)
    expected[:3, :3] = turn
    expected[:3, 3] = turn @ [3, 0, 0] + [0, 2, 0] + [0, 0, 1]
    np.testing.assert_allclose(kapture.sensor_from_world[1, "cam"], expected, atol=1e-12)


@pytest.mark.parametrize(("depth", "read"), [(10, True), (11, False)])
def test_rigs_nest_ten_deep(tmp_path: Path, depth: int, read: bool) -> None:
    chain = [*(f"rig{number}" for number in range(depth)), "cam"]
    rigs = "".join(f"{rig}, {rider}, {IDENTITY}\n" for rig, rider in itertools.pairwise(chain))
    folder = make(tmp_path, rigs=rigs, trajectories=f"1, rig0, {IDENTITY}\n")
    if read:
        assert set(read_kapture(folder).sensor_from_world) == {(1, "cam")}
    else:
        with pytest.raises(InputError, match="deep"):
            read_kapture(folder)


def test_rigs_in_a_circle_are_refused(tmp_path: Path) -> None:
    rigs = f"a, b, {IDENTITY}\nb, a, {IDENTITY}\n"
    with pytest.raises(InputError, match=r"rigs\.txt.*circle"):
        read_kapture(make(tmp_path, rigs=rigs, trajectories=f"1, a, {IDENTITY}\n"))


def test_an_id_is_a_rigs_or_a_sensors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: 'cam' is the id of a rig and of a sensor"):
        read_kapture(make(tmp_path, rigs=f"cam, cam, {IDENTITY}\n"))


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "sensors" / "records_camera.txt").write_bytes(b"1, cam, \xff.png\n")
    with pytest.raises(InputError, match="utf-8"):
        read_kapture(folder)
