"""Waymo: from tfrecord files to training pairs, without TensorFlow (spec 41 section 9)."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

from mast3r_model import ConfigError, InputError
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets.exr import read_exr
from mast3r_train.datasets.waymo import Waymo
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareReport, PrepareRequest, run_preparation
from mast3r_train.preparing.tfrecords import crc32c, encode_record, index_records, read_record
from mast3r_train.preparing.waymo import plan, splat
from mast3r_train.preparing.waymo_lidar import lidar_points
from mast3r_train.preparing.waymo_messages import decode

from .prepared_checks import assert_true_matches, run_mast3r, snapshot
from .standin_waymo import (
    BEAMS,
    COLUMNS,
    HALF,
    IMAGE_WH,
    INTRINSICS,
    cam2world,
    color_of,
    compressed,
    frame_message,
    reach,
    vehicle_at,
    vehicle_pose,
    write_drive,
)

TIMES = (0.0, 0.1, 0.5)
DRIVE = "segment-1005_with_camera_labels.tfrecord"


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drive") / DRIVE
    write_drive(path, TIMES)
    return path


def write_pairs(folder: Path) -> Path:
    """The front camera at different times, and two cameras at once."""
    frames = [f"{frame:05d}_{camera}" for frame in range(len(TIMES)) for camera in range(1, 6)]
    path = folder / "waymo_pairs.npz"
    np.savez(
        path,
        scenes=np.array([DRIVE]),
        frames=np.array(frames),
        pairs=np.array([[0, 0, 5], [0, 5, 10], [0, 0, 1]]),
    )
    return path


@pytest.fixture
def release(tmp_path: Path, drive: Path) -> tuple[Path, Path]:
    """Raw folder and list of pairs."""
    (tmp_path / "raw/training").mkdir(parents=True)
    shutil.copy(drive, tmp_path / "raw/training" / DRIVE)
    return tmp_path / "raw", write_pairs(tmp_path)


def prepare(release: tuple[Path, Path], out: Path) -> PrepareReport:
    return run_preparation(plan(PrepareRequest(release[0], out, release[1])))


@pytest.fixture(scope="session")
def prepared_once(tmp_path_factory: pytest.TempPathFactory, drive: Path) -> Path:
    home = tmp_path_factory.mktemp("prepared")
    assert prepare((drive.parent, write_pairs(home)), home / "out").complete
    return home / "out"


@pytest.fixture
def prepared(prepared_once: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    shutil.copytree(prepared_once, tmp_path / "out")
    return tmp_path / "out"


def test_raw_files_become_true_pairs(prepared_once: Path) -> None:
    def make(**options: object) -> Waymo:
        return Waymo(ROOT=prepared_once, **options)

    dataset = make(resolution=(64, 48), n_corres=64, seed=1)
    assert len(dataset) == 3
    assert_conforms(dataset)
    assert_options_work(make, resolution=(64, 48))
    dataset.pairs = dataset.pairs[:2]  # the third: two cameras that share little
    assert_true_matches(dataset, least=10)
    view, other = dataset[0]
    assert (view["dataset"], view["label"]) == ("Waymo", DRIVE)
    assert (view["instance"], other["instance"]) == ("00000_1", "00001_1")
    assert 0.01 < view["valid_mask"].mean() < 0.6


@pytest.mark.parametrize("camera", range(1, 6))
def test_prepared_depth_is_that_of_the_box(prepared_once: Path, camera: int) -> None:
    stem = prepared_once / DRIVE / f"00001_{camera}"
    with np.load(stem.with_name(stem.name + ".npz")) as stored:
        K, pose, distortion = stored["intrinsics"], stored["cam2world"], stored["distortion"]
    np.testing.assert_allclose(pose, cam2world(TIMES[1], camera), atol=1e-12)
    np.testing.assert_array_equal(distortion, INTRINSICS[4:])
    scale = 512 / IMAGE_WH[0]
    np.testing.assert_allclose(
        K[0], [INTRINSICS[0] * scale, 0, (INTRINSICS[2] + 0.5) * scale - 0.5], atol=1e-4
    )
    depth = read_exr(stem.with_name(stem.name + ".exr"))
    photo = np.asarray(Image.open(stem.with_name(stem.name + ".jpg"))).astype(int)
    assert photo.shape == (344, 512, 3)
    assert depth.shape == (344, 512)
    rows, columns = np.nonzero(depth)
    assert len(rows) > 3000
    directions = (
        np.stack([(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones(len(rows))], axis=-1)
        @ pose[:3, :3].T
    )
    exact = reach(pose[:3, 3], directions)
    wrong = np.abs(depth[rows, columns] / exact - 1)
    assert np.median(wrong) < 4e-3  # its pixel was rounded in the small image, whose pixels are four wide
    assert np.percentile(wrong, 99) < 0.05
    points = pose[:3, 3] + exact[:, None] * directions
    assert np.abs(photo[rows, columns] - color_of(points)).mean() < 5


def test_points_lie_on_the_walls_where_the_car_was() -> None:
    """The laser on the roof turns while the car moves: without the poses of pixels its points would be off."""
    frame = frame_message(0.5)
    pose = vehicle_pose(0.5)
    seen = lidar_points(frame, "a frame")
    points = seen.points @ pose[:3, :3].T + pose[:3, 3]
    assert len(points) > 100_000
    np.testing.assert_allclose(np.abs(points / HALF).max(1), 1, atol=1e-6)
    top = next(laser for laser in frame.lasers if laser.name == 1)
    stood = np.tile(np.concatenate(vehicle_at(0.5)), (BEAMS, COLUMNS, 1))
    top.ri_return1.range_image_pose_compressed = compressed("MatrixFloat", stood)
    without = lidar_points(frame, "a frame").points @ pose[:3, :3].T + pose[:3, 3]
    assert np.abs(np.abs(without / HALF).max(1) - 1).max() > 1e-3


RECORDED = {
    0: ((-12.368035, 0.168215, 7.753463), [0, 0, 0, 0, 0, 0]),
    999: ((-0.382926, -11.279348, 6.804096), [5, 80, 0, 0, 0, 0]),
    70_000: ((-13.406568, -4.578245, 1.162438), [0, 0, 0, 0, 0, 0]),
    120_000: ((8.910290, 10.068970, 2.330105), [2, 45, 43, 0, 0, 0]),
    131_139: ((-12.945538, 0.225927, -3.766873), [0, 0, 0, 0, 0, 0]),
}
"""Point of the stand-in's frame at 0.5 s -> what Waymo's `convert_range_image_to_point_cloud` gives for it.

Recorded from waymo-open-dataset-tf-2-12-0 1.6.7, its TensorFlow operations replaced by NumPy's.
"""


def test_points_are_those_of_waymos_functions() -> None:
    seen = lidar_points(frame_message(0.5), "a frame")
    for number, (point, projection) in RECORDED.items():
        np.testing.assert_allclose(seen.points[number], point, atol=2e-5)
        assert seen.projections[number].tolist() == projection


def test_later_points_replace_earlier_ones() -> None:
    scaling = np.diag([2.0, 2.0, 1.0])
    pixels = np.array([[1, 1], [1, 1], [0, 0], [9, 1], [2, 0]])
    found = splat(np.array([3.0, 5.0, -1.0, 7.0, 8.0]), pixels, scaling, (6, 4))
    expected = np.zeros((4, 6))
    expected[2, 2], expected[2, 5], expected[0, 4] = 5, 7, 8  # behind the camera: none; outside: the border
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 60_001])
def test_checksums_are_those_of_tensorboard(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == pywrap_tensorflow.crc32c(data)


def test_known_checksums() -> None:
    """Of RFC 3720, section B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_records_are_found_and_damage_is_named(drive: Path, tmp_path: Path) -> None:
    spans = index_records(drive)
    assert [span.number for span in spans] == [0, 1, 2]
    assert decode("Frame", read_record(spans[2]), "frame").context.name == "drive"
    content = bytearray(drive.read_bytes())
    damaged = tmp_path / "damaged.tfrecord"
    damaged.write_bytes(content[: spans[1].start + 100])
    with pytest.raises(InputError, match=r"damaged\.tfrecord ends within record 1"):
        index_records(damaged)
    content[spans[1].start + 1000] ^= 1
    damaged.write_bytes(content)
    assert read_record(index_records(damaged)[0])
    with pytest.raises(InputError, match=r"damaged\.tfrecord, record 1: the checksum is wrong"):
        read_record(index_records(damaged)[1])
    content[:8] = struct.pack("<Q", 77)
    damaged.write_bytes(content)
    with pytest.raises(InputError, match="record 0: the checksum of its length"):
        index_records(damaged)


def test_a_second_run_makes_only_what_is_missing(
    release: tuple[Path, Path], tmp_path: Path, prepared: Path
) -> None:
    before = snapshot(prepared)
    (prepared / DRIVE / "00001_5.npz").unlink()
    report = prepare(release, prepared)
    assert (report.made, report.kept) == (1, 2)
    after = snapshot(prepared)
    assert set(after) == set(before)
    again = {name for name in after if after[name] != before[name]} - {"waymo_pairs.npz"}
    assert again == {
        f"{DRIVE}/00001_{camera}{suffix}" for camera in range(1, 6) for suffix in (".jpg", ".exr", ".npz")
    }


def test_the_command_names_damage_and_does_the_rest(
    release: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = release[0] / "training"
    content = bytearray((raw / DRIVE).read_bytes())
    content[index_records(raw / DRIVE)[1].start + 1000] ^= 1
    (raw / DRIVE).write_bytes(content)
    (raw / "cut.tfrecord").write_bytes(content[:500])
    untouched = snapshot(release[0])
    ended = run_mast3r(
        "data", "prepare", "waymo", "--raw", release[0], "--pairs", release[1], "--out", tmp_path / "out"
    )
    assert ended.returncode == 3, ended.stderr
    assert f"{DRIVE}, record 1: the checksum is wrong" in ended.stderr
    assert "cut.tfrecord ends within record 0" in ended.stderr
    assert f"{DRIVE}/00001_1.jpg" in ended.stderr
    assert snapshot(release[0]) == untouched
    with pytest.raises(SampleError, match=r"00001_1\.jpg does not exist"):
        Waymo(ROOT=tmp_path / "out", resolution=(64, 48), seed=0)[0]
    left = Waymo(ROOT=tmp_path / "out", resolution=(64, 48), seed=0, skip_unreadable=True)
    assert "2 of 3 pairs are left out, files of 1 images are missing" in caplog.text
    assert len(left) == 1
    assert_conforms(left)


def test_frames_that_lack_something_are_named(tmp_path: Path) -> None:
    frame = frame_message(0.0)
    del frame.images[3]
    raw = tmp_path / "raw"
    raw.mkdir()
    no_laser = frame_message(0.0)
    del no_laser.lasers[0]
    short = frame_message(0.0)
    short.lasers[0].ri_return1.range_image_compressed = b"no zlib"
    records = [each.SerializeToString() for each in (frame, no_laser, short)] + [b"\xff\xff no message"]
    (raw / DRIVE).write_bytes(b"".join(map(encode_record, records)))
    frames = np.array(["00000_1", "00001_1"])
    np.savez(
        tmp_path / "waymo_pairs.npz", scenes=np.array([DRIVE]), frames=frames, pairs=np.array([[0, 0, 1]])
    )
    failed = list(prepare((raw, tmp_path), tmp_path / "out").failed.values())  # --pairs may be the folder
    for message, part in zip(
        failed,
        (
            "no image or no calibration of camera 4",
            "laser 2: no range image",
            "laser 2, range image cannot",
            "is no message Frame",
        ),
        strict=True,
    ):
        assert part in message


def test_wrong_folders_and_splits_are_refused(
    release: tuple[Path, Path], prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no splits"):
        Waymo(ROOT=prepared, split="train", resolution=64)
    with pytest.raises(InputError, match=r"waymo_pairs\.npz"):
        Waymo(ROOT=release[0], resolution=64)
    with pytest.raises(InputError, match=r"training/\*\.tfrecord"):
        plan(PrepareRequest(prepared, tmp_path / "o", release[1]))
    (prepared / DRIVE / "00000_1.exr").write_bytes(b"no exr")
    with pytest.raises(SampleError, match=r"00000_1\.exr"):
        Waymo(ROOT=prepared, resolution=64)[0]
    with np.load(prepared / "waymo_pairs.npz") as stored:
        arrays = dict(stored)
    np.savez(prepared / "waymo_pairs.npz", **{**arrays, "pairs": arrays["pairs"] + 14})
    with pytest.raises(InputError, match=r"run from .* expected 0 to 0"):
        Waymo(ROOT=prepared, resolution=64)
    shutil.rmtree(prepared / DRIVE)
    np.savez(prepared / "waymo_pairs.npz", **arrays)
    with pytest.raises(InputError, match="files of no pair"):
        Waymo(ROOT=prepared, resolution=64, skip_unreadable=True)
