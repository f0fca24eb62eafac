"""``mast3r quickstart``: the shipped truth, the measures against it, the command, its files and its refusals."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from mast3r_demo.quickstart.cli import quickstart
from mast3r_demo.quickstart.example import FOLDER, Example, load_example
from mast3r_demo.quickstart.files import check_folder
from mast3r_demo.quickstart.measures import compare_depth, compare_matches
from mast3r_match import Matches
from mast3r_model import ImageTransform, InputError, NothingFoundError, OutputError
from mast3r_model.cli import run
from mast3r_sfm import PointCloud, Scene, SceneImage, Tracks, compare_cameras


@pytest.fixture(scope="session")
def example() -> Example:
    return load_example()


def placed_pixels(example: Example, photo: int, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Points of the world, written down without the code under test."""
    K, pose = example.cameras.intrinsics[photo], example.cameras.cam2world[photo]
    x, y = (pixels[:, 0] - K[0, 2]) / K[0, 0], (pixels[:, 1] - K[1, 2]) / K[1, 1]
    return np.stack([x * depth, y * depth, depth], axis=1) @ pose[:3, :3].T + pose[:3, 3]


def seen(example: Example, photo: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and depth of points in a photo."""
    K, world2cam = example.cameras.intrinsics[photo], np.linalg.inv(example.cameras.cam2world[photo])
    x, y, z = (points @ world2cam[:3, :3].T + world2cam[:3, 3]).T
    return np.stack([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]], axis=1), z


def grid(example: Example) -> np.ndarray:
    return example.sampled_pixels().reshape(-1, 2)


# ---- the shipped scene


def test_the_scene_is_small_and_whole(example: Example) -> None:
    assert 6 <= len(example.photos) <= 8
    assert sum(photo.stat().st_size for photo in example.photos) < 300_000
    assert {Image.open(photo).size for photo in example.photos} == {(320, 240)}
    assert example.shape == (240, 320)
    assert example.depth.shape == (len(example.photos), 60, 80)
    assert (example.depth > 0.5).all()
    assert not any(Image.open(photo).getexif() for photo in example.photos)


def test_depth_and_cameras_of_all_photos_agree(example: Example) -> None:
    """What photo 0 sees lies where photo k has its own depth, but where something else is in front."""
    points = placed_pixels(example, 0, grid(example), example.depth[0].ravel())
    for photo in range(1, len(example.photos)):
        pixels, z = seen(example, photo, points)
        depth, known = example.depth_at(photo, pixels)
        assert known.mean() > 0.3
        ratio = depth[known] / z[known]
        assert (np.abs(ratio - 1) < 0.01).mean() > 0.7
        assert (ratio > 1.01).mean() < 0.02  # nothing is seen through


def test_photos_show_what_cameras_and_depth_say(example: Example) -> None:
    points = placed_pixels(example, 0, grid(example), example.depth[0].ravel())
    pixels, z = seen(example, 1, points)
    depth, known = example.depth_at(1, pixels)
    visible = known & (np.abs(depth / z - 1) < 0.01)
    first, second = (np.asarray(Image.open(example.photos[k]), float) for k in (0, 1))
    own = first[tuple(grid(example)[visible].astype(int).T[::-1])]
    others = second[tuple(pixels[visible].round().astype(int).T[::-1])]
    apart = np.abs(own - others).mean()
    assert visible.sum() > 2000
    assert apart < 25
    assert apart < 0.5 * np.abs(own - np.roll(others, 40, axis=0)).mean()


def test_depth_between_samples_is_exact_on_a_plane(example: Example) -> None:
    """A plane's inverse depth is linear in pixels."""
    pixels = example.sampled_pixels()
    plane = 1 / (0.4 + 0.001 * pixels[..., 0] - 0.0005 * pixels[..., 1])
    flat = Example(example.photos[:1], example.cameras.subset([0]), plane[None], example.step)
    at = np.array([[3.3, 5.1], [100.7, 201.9], [315.9, 0.0], [317.0, 50.0], [-0.1, 3.0]])
    depth, known = flat.depth_at(0, at)
    assert known.tolist() == [True, True, True, False, False]
    np.testing.assert_allclose(depth[:3], 1 / (0.4 + 0.001 * at[:3, 0] - 0.0005 * at[:3, 1]), rtol=1e-12)
    plane[:, 10:] *= 2
    _, known = flat.depth_at(0, np.array([[37.0, 20.0], [35.0, 20.0], [41.0, 20.0]]))
    assert known.tolist() == [False, True, True]


def test_a_broken_installation_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read") as caught:
        load_example(tmp_path)
    assert "install mast3r-demo again" in str(caught.value.hint)
    for name in ("transforms.json", "depth.npz"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    with pytest.raises(InputError, match=r"missing photos: 1\.jpg"):
        load_example(tmp_path)


# ---- the measures


def true_matches(example: Example, shift: float = 0.0) -> Matches:
    pixels, depth = grid(example), example.depth[0].ravel()
    there, _ = seen(example, 1, placed_pixels(example, 0, pixels, depth))
    return Matches(pixels, there + np.array([shift, 0]), np.ones(len(pixels)))


def test_true_matches_are_right_and_shifted_ones_wrong(example: Example) -> None:
    exact = compare_matches(example, true_matches(example))
    assert exact.right == 1
    assert exact.median_error < 0.01
    assert 3000 < exact.checked < exact.matches == 4800
    moved = compare_matches(example, true_matches(example, shift=4.0))
    assert moved.right == 0
    assert moved.median_error == pytest.approx(4, abs=0.01)


def test_matches_that_cannot_be_checked_are_nothing(example: Example) -> None:
    outside = Matches(np.array([[319.0, 239.0]]), np.zeros((1, 2)), np.ones(1))
    with pytest.raises(NothingFoundError, match="can be checked"):
        compare_matches(example, outside)


def true_scene(example: Example, *, unit: float = 1.0, depth_error: float = 1.0) -> Scene:
    """The truth as a reconstruction in another unit, its depth off by a factor."""
    images = []
    for number, name in enumerate(example.cameras.names):
        pose = example.cameras.cam2world[number].copy()
        pose[:3, 3] *= unit
        depth = np.kron(example.depth[number], np.ones((example.step, example.step))) * unit * depth_error
        images.append(
            SceneImage(
                name=name,
                original_shape=example.shape,
                transform=ImageTransform.identity(example.shape),
                intrinsics=example.cameras.intrinsics[number],
                cam2world=pose,
                depth=depth,
                confidence=np.ones(example.shape),
                color=np.zeros((*example.shape, 3)),
            )
        )
    return Scene(tuple(images), PointCloud.empty(), Tracks.empty())


@pytest.mark.parametrize("unit", [1.0, 0.3])
def test_depth_is_compared_in_metres_whatever_the_scenes_unit(example: Example, unit: float) -> None:
    scene = true_scene(example, unit=unit, depth_error=1.06)
    scale = compare_cameras(scene.cameras(), example.cameras).scale
    assert scale == pytest.approx(1 / unit, rel=1e-6)
    found = compare_depth(example, scene, scale)
    assert found.covered == 1
    assert found.median_error == pytest.approx(0.06, abs=1e-4)
    assert found.right == 1
    assert compare_depth(example, scene, scale * 1.2).right == 0


def test_photos_that_are_missing_count_as_not_covered(example: Example) -> None:
    scene = true_scene(example)
    half = Scene(scene.images[:3], scene.points, scene.tracks)
    assert compare_depth(example, half, 1.0).covered == 0.5


# ---- the folder


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    check_folder(tmp_path / "new", overwrite=False)
    check_folder(tmp_path, overwrite=False)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        check_folder(tmp_path, overwrite=False)
    check_folder(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="is a file"):
        check_folder(tmp_path / "mine.txt" / "below", overwrite=True)
    (tmp_path / "quickstart.json").write_text("{}")
    check_folder(tmp_path, overwrite=False)


# ---- the command


class Ran(NamedTuple):
    folder: Path
    code: int
    out: str
    err: str


def call(folder: Path, *words: str, capture: pytest.CaptureFixture[str]) -> Ran:
    flags = ["--size", "96", "--device", "cpu", "--color", "never", "-o", str(folder), *words]
    code = run(quickstart, flags, program="mast3r quickstart")
    return Ran(folder, code, *capture.readouterr())


def test_the_first_minute(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For people, then into the same folder for machines; no network is touched."""

    def refuse(*_: object) -> None:
        raise AssertionError("the quickstart opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    ran = call(tmp_path / "first", capture=capfd)
    assert ran.code == 0, ran.err
    for words in ("against the truth", "1.jpg - 2.jpg", "photos placed", "6 of 6", "degrees off", "depth"):
        assert words in ran.out
    for words in ("report.html", "mast3r sfm PHOTOS/", "mast3r demo", "CC BY-NC-SA 4.0", "Apache-2.0"):
        assert words in ran.err
    files = ("matches.png", "report.html", "scene.glb", "sparse/0/images.bin", "photos/6.jpg")
    assert all((ran.folder / name).is_file() for name in files)
    assert Image.open(ran.folder / "matches.png").width > 1000

    again = call(ran.folder, "--json", capture=capfd)
    assert again.code == 0, again.err
    told: dict[str, Any] = json.loads(again.out)
    assert told["schema"] == "mast3r.quickstart/1"
    assert {"match", "reconstruct", "write"} <= set(told["timings"])
    result = told["result"]
    assert result["placed"] == ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg"]
    assert set(result["comparison"]) == {"matches", "cameras", "depth"}
    assert result["comparison"]["cameras"]["registered"] == 1
    assert result["comparison"]["matches"]["right"] > 0.3
    assert result["points"] > 0.5 * 6 * 72 * 96  # most pixels, though nano is sure of few
    assert all(Path(name).is_file() for name in result["written"])
    kept = json.loads((ran.folder / "quickstart.json").read_text("utf-8"))
    assert kept["finished"]
    assert kept["comparison"] == result["comparison"]


def test_a_folder_with_other_files_is_refused_before_any_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    ran = call(tmp_path, "--json", capture=capfd)
    assert ran.code == 1
    told = json.loads(ran.out)
    assert told["error"]["kind"] == "OutputError"
    assert "--overwrite" in told["error"]["hint"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_network_leaves_no_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ran = call(tmp_path / "new", "-m", "nanoo", "--offline", capture=capfd)
    assert ran.code == 1
    assert "nano" in ran.err
    assert not ran.folder.exists()


@pytest.mark.parametrize("words", [("--size", "9"), ("photo.jpg",), ("--sise", "96")])
def test_wrong_usage_is_told(
    words: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path / "new", *words, capture=capfd).code == 2


def test_defaults_are_those_of_the_specification() -> None:
    defaults = {parameter.name: parameter.to_info_dict().get("default") for parameter in quickstart.params}
    assert defaults["model"] == "nano"
    assert str(defaults["output"]) == "mast3r_quickstart"
    assert {"json", "quiet", "device", "overwrite"} <= set(defaults)


@pytest.mark.slow
def test_nano_comes_near_to_the_truth(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What the documentation says of the default command."""
    code = run(quickstart, ["-o", str(tmp_path), "--json", "--device", "cpu"], program="mast3r quickstart")
    assert code == 0
    comparison = json.loads(capfd.readouterr().out)["result"]["comparison"]
    assert comparison["cameras"]["rotation_error_mean"] < 2
    assert comparison["cameras"]["ate_relative"] < 0.03
    assert comparison["depth"]["median_error"] < 0.1
    assert comparison["matches"]["right"] > 0.8


@pytest.mark.slow
def test_the_shipped_scene_is_what_the_tool_renders(tmp_path: Path, example: Example) -> None:
    tool = Path(__file__).resolve().parents[1] / "tools" / "render_still_life.py"
    subprocess.run([sys.executable, str(tool), "--output", str(tmp_path)], check=True)
    rendered = [tmp_path / "photos" / photo.name for photo in example.photos]
    apart = [
        np.abs(np.asarray(Image.open(a), float) - np.asarray(Image.open(b), float)).mean()
        for a, b in zip(rendered, example.photos, strict=True)
    ]
    assert max(apart) < 1
    with np.load(tmp_path / "depth.npz") as stored:
        np.testing.assert_allclose(stored["depth"].astype(float), example.depth, rtol=0.02)
    assert (tmp_path / "transforms.json").read_text() == (FOLDER / "transforms.json").read_text()
