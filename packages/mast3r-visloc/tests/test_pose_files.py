"""Files of poses, names of photos, true poses, and comparing them."""

from __future__ import annotations

import math

import numpy as np
import pycolmap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mast3r_model import ConfigError, InputError, Mast3rError
from mast3r_visloc.evaluation import (
    FAILED,
    GroundTruth,
    NamedPose,
    compare_poses,
    read_poses,
    read_truth,
    write_poses,
    write_upstream_results,
)
from mast3r_visloc.evaluation.names import match_names

from .run_cases import random_pose

LABEL = "label_tol_5_conf_1.001_reproj_diag_0.008"


def numbers_of(line: str) -> tuple[str, np.ndarray]:
    name, *numbers = line.split()
    return name, np.array(numbers, dtype=float)


def test_upstreams_files_are_reproduced(goldens, tmp_path):
    import json

    export = json.loads((goldens / "evaluation.json").read_text())["export"]
    with np.load(goldens / "evaluation.npz", allow_pickle=False) as file:
        poses = file["pr_cam_to_world"]
    given_poses = [
        NamedPose(name, None if index is None else poses[index])
        for name, index in zip(export["names"], export["pose_index"], strict=True)
    ]
    for path in write_upstream_results(tmp_path, LABEL, given_poses):
        made = path.read_text().splitlines()
        wanted = (goldens / "evaluation_export" / path.name).read_text().splitlines()
        assert len(made) == len(wanted) == 4
        for one, other in zip(made, wanted, strict=True):
            name, numbers = numbers_of(one)
            wanted_name, wanted_numbers = numbers_of(other)
            assert name == wanted_name
            # The sign of an eigenvector, and the last digit, are those of the LAPACK at hand.
            sign = math.copysign(1, numbers[0] * wanted_numbers[0])
            np.testing.assert_allclose(numbers[:4] * sign, wanted_numbers[:4], rtol=0, atol=1e-14)
            np.testing.assert_allclose(numbers[4:], wanted_numbers[4:], rtol=0, atol=5e-14)
        assert made[1] == wanted[1], "a failure, to the byte"


def names():
    characters = st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"])
    return st.text(characters, min_size=1, max_size=20).map(str.strip).filter(
        lambda name: name and not name.startswith("#") and len(name.splitlines()) == 1 and "," not in name
    )  # fmt: skip


coordinates = st.floats(-1e7, 1e7, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    poses=st.dictionaries(
        names(),
        st.tuples(st.integers(0, 2**31), coordinates, coordinates, coordinates),
        min_size=1,
        max_size=5,
    ),
    sign=st.sampled_from(["positive", "upstream"]),
)
def test_poses_survive_a_round_trip(tmp_path_factory, poses, sign):
    path = tmp_path_factory.mktemp("poses") / "poses.txt"
    wanted = {}
    for name, (seed, *centre) in poses.items():
        wanted[name] = random_pose(0)
        wanted[name][:3, :3] = Rotation.random(random_state=seed).as_matrix()
        wanted[name][:3, 3] = centre
    assert write_poses(path, [NamedPose(*item) for item in wanted.items()], sign=sign) == len(wanted)
    found = read_poses(path)
    assert list(found) == list(wanted)
    for name, pose in wanted.items():
        size = max(np.abs(pose[:3, 3]).max(), 1)
        np.testing.assert_allclose(found[name][:3, :3], pose[:3, :3], rtol=0, atol=1e-14)
        np.testing.assert_allclose(found[name][:3, 3], pose[:3, 3], rtol=0, atol=1e-14 * size)
    if sign == "positive":
        # The real part is the seventh number from the end: names may hold blanks.
        assert all(float(line.rsplit(" ", 7)[1]) >= 0 for line in path.read_text("utf-8").splitlines())


def test_failures_are_left_out_or_replaced(tmp_path):
    poses = [
        NamedPose("a/1.jpg", random_pose(1)),
        NamedPose("a/2.jpg", None, random_pose(2)),
        NamedPose("3.jpg", None),
    ]
    path = tmp_path / "poses.txt"
    assert write_poses(path, poses) == 1
    assert list(read_poses(path)) == ["a/1.jpg"]
    assert write_poses(path, poses, on_failure="nearest") == 2
    np.testing.assert_allclose(read_poses(path)["a/2.jpg"], random_pose(2), atol=1e-12)
    assert write_poses(path, poses, on_failure="identity", name_style="base") == 3
    assert path.read_text().splitlines()[2] == "3.jpg 1.0 -0.0 -0.0 -0.0 0.0 0.0 0.0"
    with pytest.raises(ConfigError, match="unknown way"):
        write_poses(path, poses, on_failure="zero")  # type: ignore[arg-type]


def test_names_are_shortened_as_asked_and_must_stay_unique(tmp_path):
    poses = [NamedPose("s/left/1.jpg", random_pose(1)), NamedPose("s/right/1.jpg", random_pose(2))]
    path = tmp_path / "poses.txt"
    with pytest.raises(InputError, match=r"not unique, such as '1\.jpg'"):
        write_poses(path, poses, name_style="base")
    assert not path.exists()
    write_poses(path, poses, name_style="parent")
    assert list(read_poses(path)) == ["left/1.jpg", "right/1.jpg"]
    with pytest.raises(ConfigError, match="unknown name style"):
        write_poses(path, poses, name_style="short")  # type: ignore[arg-type]
    for name in ("", " a.jpg", "a\nb.jpg", "# a.jpg"):
        with pytest.raises(InputError, match="cannot stand in a text file"):
            write_poses(path, [NamedPose(name, random_pose(1))])
    write_poses(path, [NamedPose("#1 of 2.jpg", random_pose(1))])
    assert list(read_poses(path)) == ["#1 of 2.jpg"]


def test_what_is_no_pose_is_not_written(tmp_path):
    mirrored = np.diag([1.0, 1.0, -1.0, 1.0])
    for pose in (mirrored, 2 * np.eye(4), np.full((4, 4), np.nan), np.eye(3)):
        with pytest.raises(InputError, match="a pose must"):
            write_poses(tmp_path / "poses.txt", [NamedPose("a", pose)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg 1 0 0 0 0 0", "line 1: expected a name and seven numbers"),
        ("# comment\n\na.jpg 1 0 0 0 0 0 x", "line 3: expected a name and seven numbers"),
        ("a.jpg 0 0 0 0 1 2 3", "line 1: a quaternion must not be zero"),
        ("a.jpg 1 0 0 0 1 inf 3", "line 1: expected seven finite numbers"),
        ("a 1 0 0 0 0 0 0\na 1 0 0 0 0 0 0", "line 2: the photo 'a' comes twice"),
        ("# nothing\n", "holds no pose"),
        ("", "holds no pose"),
    ],
)
def test_broken_files_of_poses_are_told(tmp_path, content, message):
    path = tmp_path / "poses.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_poses(path)
    assert "\n" not in str(caught.value)
    assert "poses.txt" in str(caught.value)


def test_files_that_are_no_text_are_told(tmp_path):
    path = tmp_path / "poses.txt"
    path.write_bytes(b"\xff\xfe\x00\x01")
    for wrong in (path, tmp_path / "missing.txt", tmp_path):
        with pytest.raises(InputError, match="cannot read the poses"):
            read_poses(wrong)


def test_commas_and_another_length_of_the_quaternion_are_read(tmp_path):
    path = tmp_path / "poses.txt"
    path.write_text("a b.jpg, 2, 0, 0, 0, 1, 2, 3\n")
    np.testing.assert_array_equal(read_poses(path)["a b.jpg"][:3, 3], [-1, -2, -3])


def test_base_names_match_only_where_they_are_unique():
    assert match_names(["q/a.jpg", "b.jpg"], ["a.jpg", "x/b.jpg"]) == {"q/a.jpg": "a.jpg", "b.jpg": "x/b.jpg"}
    assert match_names(["a.jpg"], ["1/a.jpg", "2/a.jpg"]) == {}
    assert match_names(["1/a.jpg", "2/a.jpg"], ["2/a.jpg"]) == {"2/a.jpg": "2/a.jpg"}


def colmap_model(folder, poses):
    model = pycolmap.Reconstruction()
    for number, (name, pose) in enumerate(poses.items(), 1):
        camera = pycolmap.Camera.create_from_model_name(number, "PINHOLE", 100.0, 160, 120)
        model.add_camera_with_trivial_rig(camera)
        image = pycolmap.Image(name=name, camera_id=number, image_id=number)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.linalg.inv(pose)[:3]))
    folder.mkdir(parents=True)
    return model, folder


@pytest.mark.parametrize("form", ["text", "binary"])
def test_truth_of_a_colmap_model(tmp_path, form):
    poses = {"q/1.jpg": random_pose(1), "q/2.jpg": random_pose(2)}
    model, folder = colmap_model(tmp_path / "m" / "sparse" / "0", poses)
    (model.write_text if form == "text" else model.write_binary)(folder)
    truth = read_truth(tmp_path / "m")
    found = truth.of(["1.jpg", "2.jpg"], complete=True)
    for short, name in (("1.jpg", "q/1.jpg"), ("2.jpg", "q/2.jpg")):
        np.testing.assert_allclose(found[short], poses[name], atol=1e-12)
    with pytest.raises(InputError, match=r"no pose of 1 of 2 photos: 7\.jpg"):
        truth.of(["1.jpg", "7.jpg"], complete=True)
    assert list(truth.of(["1.jpg", "7.jpg"])) == ["1.jpg"]
    with pytest.raises(InputError, match="no pose of 1 of 1"):
        truth.of(["7.jpg"])


def test_truth_of_the_goldens_kapture_folder(goldens):
    folder = goldens / "datasets" / "7-scenes" / "chess" / "query"
    truth = read_truth(folder)
    assert len(truth.poses) == 2
    again = read_truth(folder / "sensors" / "trajectories.txt")
    assert (
        list(again.poses)
        == list(truth.poses)
        == ["seq-01/frame-000000.color.png", "seq-01/frame-000001.color.png"]
    )


def test_truth_that_is_none_is_told(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        read_truth(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no true poses"):
        read_truth(tmp_path)
    (tmp_path / "images.bin").write_bytes(b"\x01\x02")
    (tmp_path / "cameras.bin").write_bytes(b"\x01\x02")
    (tmp_path / "points3D.bin").write_bytes(b"\x01\x02")
    with pytest.raises(InputError, match="cannot read the COLMAP model") as caught:
        read_truth(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_is_compared_without_running_anything(tmp_path):
    truth = GroundTruth(
        {f"q/{k}.jpg": random_pose(k) for k in range(4)} | {"db/8.jpg": random_pose(9)}, "model"
    )
    near = random_pose(0)
    near[:3, 3] += [0.2, 0, 0]
    poses = {"0.jpg": near, "1.jpg": random_pose(1), "new.jpg": random_pose(5)}
    queries = [f"q/{k}.jpg" for k in range(4)]
    compared = compare_poses(poses, truth, ((0.1, 1), (0.25, 2)), queries=queries, name="mine")
    assert compared.missing == ("q/2.jpg", "q/3.jpg")
    assert compared.without_truth == ("new.jpg",)
    assert compared.errors["q/2.jpg"] == FAILED
    assert compared.errors["new.jpg"] is None
    assert compared.errors["q/0.jpg"].position == pytest.approx(0.2)
    assert compared.summary.recalls == (25.0, 50.0)
    assert (compared.summary.queries, compared.summary.without_truth, compared.summary.localised) == (5, 1, 3)
    everything = compare_poses(poses, truth)
    assert everything.missing == ("q/2.jpg", "q/3.jpg", "db/8.jpg")
    with pytest.raises(InputError, match="none of the 1 poses has a true pose in model"):
        compare_poses({"other.jpg": near}, truth)
    with pytest.raises(Mast3rError):
        compare_poses(poses, truth, queries=["q/99.jpg"])
