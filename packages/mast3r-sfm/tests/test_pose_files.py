"""Poses as 7-Scenes, ScanNet and TUM RGB-D publish them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_model import InputError
from mast3r_sfm import compare_cameras, read_cameras
from mast3r_sfm.known_cameras import read_known_cameras


def poses(count: int) -> np.ndarray:
    result = np.tile(np.eye(4), (count, 1, 1))
    result[:, :3, :3] = Rotation.random(count, rng=np.random.default_rng(0)).as_matrix()
    result[:, :3, 3] = np.random.default_rng(1).normal(size=(count, 3))
    return result


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(path)


def test_seven_scenes_frames_lost_by_the_tracker_are_left_out(tmp_path: Path) -> None:
    for number, pose in enumerate(poses(3)):
        write_image(tmp_path / f"frame-{number:06}.color.png")
        np.savetxt(tmp_path / f"frame-{number:06}.pose.txt", pose if number != 1 else np.full((4, 4), np.inf))
    found = read_cameras(tmp_path)
    assert found.names == ("frame-000000.color.png", "frame-000002.color.png")
    assert found.shapes == ((30, 40), (30, 40))
    np.testing.assert_allclose(found.cam2world, poses(3)[[0, 2]])
    assert np.isnan(found.intrinsics).all()


def test_scannet_has_intrinsics_and_photos_of_its_own_folders(tmp_path: Path) -> None:
    (tmp_path / "pose").mkdir()
    (tmp_path / "intrinsic").mkdir()
    K = np.array([[50.0, 0, 20, 0], [0, 51, 15, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    np.savetxt(tmp_path / "intrinsic" / "intrinsic_color.txt", K)
    for number, pose in enumerate(poses(2)):
        write_image(tmp_path / "color" / f"{number}.jpg")
        np.savetxt(tmp_path / "pose" / f"{number}.txt", pose)
    found = read_cameras(tmp_path)
    assert found.names == ("color/0.jpg", "color/1.jpg")
    np.testing.assert_allclose(found.intrinsics, np.broadcast_to(K[:3, :3], (2, 3, 3)))


def test_tum_photos_take_the_nearest_moment_of_the_trajectory(tmp_path: Path) -> None:
    truth = poses(3)
    quaternions = Rotation.from_matrix(truth[:, :3, :3]).as_quat()
    times = [10.0, 11.0, 12.0]
    (tmp_path / "rgb.txt").write_text("# time file\n10.01 rgb/a.png\n11.5 rgb/lost.png\n11.99 rgb/c.png\n")
    rows = np.column_stack([times, truth[:, :3, 3], quaternions])
    np.savetxt(tmp_path / "groundtruth.txt", rows, header="time tx ty tz qx qy qz qw")
    found = read_cameras(tmp_path)
    assert found.names == ("rgb/a.png", "rgb/c.png")
    np.testing.assert_allclose(found.cam2world, truth[[0, 2]], atol=1e-12)


def test_cameras_without_intrinsics_are_compared_by_their_poses(tmp_path: Path) -> None:
    for number, pose in enumerate(poses(4)):
        np.savetxt(tmp_path / f"{number}.pose.txt", pose)
    found = read_cameras(tmp_path)
    result = compare_cameras(found, found)
    assert result.ate < 1e-9
    assert np.isnan(result.focal_error_mean)
    assert not any("focal" in label for label, _ in result.rows())


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.pose.txt", "1 2 3\n", "expected a 4x4 matrix"),
        ("a.pose.txt", "one two\n", "cannot read a matrix"),
        ("groundtruth.txt", "1 2 3\n", "expected lines of"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (tmp_path / "rgb.txt").write_text("1 a.png\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        read_cameras(tmp_path)
    assert complaint in f"{error.value} {error.value.hint}"
    assert name in str(error.value)


def test_a_matrix_of_another_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k.txt").write_text("1 2 3")
    with pytest.raises(InputError, match="shape"):
        read_known_cameras(tmp_path / "k.txt", None)
