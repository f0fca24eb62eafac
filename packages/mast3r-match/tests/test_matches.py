"""Matches: their fields, selection, files, verification and pictures."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mast3r_match import Matches, draw_matches, save_match_picture, verify_matches
from mast3r_match.selection import away_from_border, spread_selection
from mast3r_model import ConfigError, ImageTransform, InputError, OutputError


def make_matches(count: int = 60, seed: int = 0) -> Matches:
    random = np.random.default_rng(seed)
    points = random.uniform(0, 200, (count, 2))
    points3d = random.standard_normal((count, 3))
    points3d[::7] = np.nan
    return Matches(
        keypoints0=points,
        keypoints1=points + 5,
        scores=random.uniform(1, 2, count),
        points3d0=points3d,
        points3d1=points3d,
        image_shape0=(200, 210),
        image_shape1=(220, 230),
        transform0=ImageTransform((200, 210), (96, 128), np.diag([0.5, 0.5, 1.0])),
        name0="photos/é a.jpg",
        name1="b.jpg",
        made_with={"model": "nano", "options": {"subsample": 8}},
    )


@pytest.mark.parametrize("suffix", [".npz", ".json", ".h5"])
@pytest.mark.parametrize("count", [0, 1, 60])
def test_files_hold_everything(tmp_path: Path, suffix: str, count: int) -> None:
    matches = make_matches(count)
    matches.save(tmp_path / f"m{suffix}")
    again = Matches.load(tmp_path / f"m{suffix}")
    for name in ("keypoints0", "keypoints1", "scores", "points3d0", "points3d1"):
        np.testing.assert_array_equal(getattr(again, name), getattr(matches, name))
        assert getattr(again, name).dtype == np.float32
    for name in ("image_shape0", "image_shape1", "transform0", "transform1", "name0", "name1", "made_with"):
        assert getattr(again, name) == getattr(matches, name)


def test_npz_is_plain_numpy(tmp_path: Path) -> None:
    make_matches().save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        assert file["keypoints0"].shape == file["keypoints1"].shape == (60, 2)
        assert file["keypoints0"].dtype == file["scores"].dtype == np.float32
        assert json.loads(str(file["about"]))["made_with"]["model"] == "nano"


def test_csv_has_a_row_per_match(tmp_path: Path) -> None:
    matches = make_matches(3)
    matches.save(tmp_path / "m.csv")
    with (tmp_path / "m.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [np.float32(row["x1"]) for row in rows] == matches.keypoints1[:, 0].tolist()
    assert list(rows[0])[:5] == ["x0", "y0", "x1", "y1", "score"]


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (("photos/é a.jpg", "b.jpg"), ("é a.jpg", "b.jpg")),
        (("left/1.jpg", "right/1.jpg"), ("left/1.jpg", "right/1.jpg")),
        (("/x/db/1.jpg", "/y/db/1.jpg"), ("x/db/1.jpg", "y/db/1.jpg")),
        (("same.jpg", "same.jpg"), ("0/same.jpg", "1/same.jpg")),
    ],
)
def test_h5_is_laid_out_as_hloc_reads_it(
    tmp_path: Path, names: tuple[str, str], groups: tuple[str, str]
) -> None:
    h5py = pytest.importorskip("h5py")
    matches = dataclasses.replace(make_matches(), name0=names[0], name1=names[1])
    matches.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        pair = file["/".join(group.replace("/", "-") for group in groups)]
        rows = pair["matches0"][()]
        found = file[groups[0]]["keypoints"][()], file[groups[1]]["keypoints"][()][rows]
        np.testing.assert_array_equal(pair["matching_scores0"][()], matches.scores)
    np.testing.assert_array_equal(found[0], matches.keypoints0)
    np.testing.assert_array_equal(found[1], matches.keypoints1)
    assert Matches.load(tmp_path / "m.h5").name1 == names[1]


def test_h5_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match="need h5py") as error:
        make_matches().save(tmp_path / "m.h5")
    assert error.value.hint == "pip install 'mast3r-match[hloc]'"
    assert list(tmp_path.iterdir()) == []


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.xyz"):
        make_matches().save(tmp_path / "m.xyz")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no such file"):
        Matches.load(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "text.h5").write_text("hello")
    for name in ("text.h5", "text.npz", "other.npz", "other.json", "list.json"):
        with pytest.raises(InputError, match=name):
            Matches.load(tmp_path / name)


def test_failed_writes_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OutputError, match="No space left"):
        make_matches().save(tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"keypoints1 must have shape \(2, 2\), got \(3, 2\)"):
        Matches(np.zeros((2, 2)), np.zeros((3, 2)), np.zeros(2))


def test_select_keeps_rows_together() -> None:
    matches = make_matches()
    chosen = matches.select(matches.scores > 1.5)
    assert 0 < len(chosen) < 60
    np.testing.assert_array_equal(chosen.points3d0, matches.points3d0[matches.scores > 1.5])
    assert chosen.name0 == matches.name0


@given(st.integers(0, 500), st.integers(1, 60), st.integers(0, 10**6), st.booleans())
def test_spread_selection(count: int, wanted: int, seed: int, on_a_line: bool) -> None:
    random = np.random.default_rng(seed)
    points, scores = random.uniform(0, 100, (count, 2)), random.uniform(0, 1, count)
    if on_a_line:
        points[:, 1] = 3
    chosen = spread_selection(points, scores, wanted)
    assert len(chosen) == min(count, wanted)
    assert (np.diff(chosen) > 0).all()
    if count > wanted:
        assert scores.argmax() in chosen


def test_spread_selection_covers_the_photo_better_than_the_best_scores() -> None:
    random = np.random.default_rng(0)
    crowd, others = random.uniform(40, 50, (500, 2)), random.uniform(0, 100, (500, 2))
    points = np.concatenate([crowd, others])
    scores = np.r_[np.full(500, 2.0), np.full(500, 1.0)] + random.uniform(0, 0.1, 1000)
    chosen = spread_selection(points, scores, 50)
    assert (chosen >= 500).sum() > 35


def test_border() -> None:
    xy = np.array([[2, 5], [3, 5], [16, 5], [17, 5], [5, 2], [5, 7]])
    assert away_from_border(xy, (10, 20), 3).tolist() == [False, True, True, False, False, False]


def project(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    pixels = points @ camera.T
    return pixels[:, :2] / pixels[:, 2:]


@pytest.mark.parametrize("model", ["fundamental", "essential"])
def test_verification_finds_the_true_matches(model: str) -> None:
    random = np.random.default_rng(0)
    camera = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    points = np.c_[random.uniform(-2, 2, (200, 2)), random.uniform(4, 8, 200)]
    keypoints0, keypoints1 = project(points, camera), project(points + np.array([0.5, 0.1, 0.05]), camera)
    keypoints1[150:] = random.uniform(0, 600, (50, 2))
    found = verify_matches(
        Matches(keypoints0, keypoints1, np.ones(200)), model, intrinsics0=camera, intrinsics1=camera
    )
    assert found.inliers[:150].mean() > 0.98
    assert found.inliers[150:].mean() < 0.2
    assert found.matrix is not None
    again = verify_matches(
        Matches(keypoints0, keypoints1, np.ones(200)), model, intrinsics0=camera, intrinsics1=camera
    )
    np.testing.assert_array_equal(again.inliers, found.inliers)


def test_the_threshold_is_in_pixels_of_the_matched_images() -> None:
    """Photos four times as large as the network's input: rounding there is 4 pixels here."""
    random = np.random.default_rng(1)
    camera = np.array([[2000.0, 0, 1280], [0, 2000, 960], [0, 0, 1]])
    points = np.c_[random.uniform(-2, 2, (300, 2)), random.uniform(4, 8, 300)]
    rounded = [np.round(project(points + shift, camera) / 4) * 4 for shift in ([0.0, 0, 0], [0.5, 0.1, 0.05])]
    transform = ImageTransform((1920, 2560), (480, 640), np.diag([0.25, 0.25, 1.0]))
    fine = Matches(*rounded, np.ones(300))
    known = Matches(*rounded, np.ones(300), transform0=transform, transform1=transform)
    assert verify_matches(known).inliers.mean() > 0.95 > verify_matches(fine, threshold=0.5).inliers.mean()


def test_too_few_matches_verify_nothing() -> None:
    found = verify_matches(make_matches(4))
    assert found.matrix is None
    assert found.inliers.tolist() == [False] * 4
    with pytest.raises(InputError, match="intrinsics"):
        verify_matches(make_matches(), "essential")


@pytest.mark.parametrize("count", [0, 1, 60])
@pytest.mark.parametrize("colour", ["position", "score"])
def test_picture(tmp_path: Path, count: int, colour: str) -> None:
    matches = make_matches(count)
    photos = np.full((200, 210, 3), 90, np.uint8), np.full((220, 230, 3), 160, np.uint8)
    save_match_picture(tmp_path / "m.png", matches, *photos, colour=colour, count=20)
    with Image.open(tmp_path / "m.png") as picture:
        pixels = np.array(picture.convert("RGB"))
    assert pixels.shape[1] > pixels.shape[0] > 480
    coloured = np.ptp(pixels.astype(int), axis=2) > 60
    assert coloured.any() == (count > 0)
    assert len(list(tmp_path.iterdir())) == 1


def test_picture_says_how_many() -> None:
    matches = make_matches()
    photos = np.zeros((200, 210, 3), np.uint8), np.zeros((220, 230, 3), np.uint8)
    inliers = matches.scores > 1.5
    figure = draw_matches(matches, *photos, inliers=inliers)
    assert figure.texts[0].get_text() == f"é a.jpg – b.jpg: 60 matches, {inliers.sum()} inliers"


def test_matches_that_opencv_gives_up_on_have_no_geometry() -> None:
    """OpenCV raises on these; found by chance among a thousand sets of random matches."""
    keypoints0 = [
        [139, 83],
        [142, 20],
        [64, 99],
        [78, 49],
        [122, 11],
        [134, 87],
        [119, 90],
        [145, 50],
        [108, 38],
    ]
    keypoints1 = [
        [136, 83],
        [145, 20],
        [67, 99],
        [77, 49],
        [125, 11],
        [131, 87],
        [122, 90],
        [144, 50],
        [107, 38],
    ]
    matches = Matches(np.array(keypoints0), np.array(keypoints1), np.ones(len(keypoints0)))
    found = verify_matches(matches, "fundamental", threshold=1.5)
    assert found.matrix is None or found.matrix.shape == (3, 3)
    assert found.inliers.shape == (len(matches),)
