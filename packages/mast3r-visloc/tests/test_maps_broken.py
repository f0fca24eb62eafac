"""Broken maps give one line that says what is wrong, and never take the machine's memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_model import InputError
from mast3r_visloc.maps import read_depth_file, read_map

from .map_world import World, one_camera_world

WORLD = World()


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in error.value.message
    return error.value.message


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    WORLD.write_colmap(folder / "bin", rig=True)
    WORLD.write_colmap(folder / "txt", text=True, rig=True)
    WORLD.write_photos(folder / "images")
    return folder


@pytest.fixture
def broken(models: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(kind: str) -> Path:
        shutil.copytree(models / kind, tmp_path / "model")
        (tmp_path / "images").symlink_to(models / "images")
        return tmp_path / "model"

    return make


@pytest.mark.parametrize("name", ["cameras", "images", "points3D", "rigs", "frames"])
@pytest.mark.parametrize("cut", ["half", "three bytes less", "empty", "longer", "large count", "noise"])
def test_binary_models(broken: Callable[..., Path], name: str, cut: str) -> None:
    model = broken("bin")
    path = model / f"{name}.bin"
    content = path.read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, len(content), dtype=np.uint8).tobytes()
    path.write_bytes(
        {
            "half": content[: len(content) // 2],
            "three bytes less": content[:-3],
            "empty": b"",
            "longer": content + b"\0" * 5,
            "large count": (2**62).to_bytes(8, "little") + content[8:],
            "noise": noise,
        }[cut]
    )
    with pytest.raises(InputError) as raised:
        read_map(model)
    assert f"{name}.bin" in one_line(raised)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("cameras", "PINHOLE", "PINHOLY"),
        ("cameras", " 64 48 ", " 64 "),
        ("images", " 0.", " x."),
        ("points3D", "0.", "x."),
        ("frames", "CAMERA", "CAM"),
        ("rigs", "CAMERA 3", "CAMERA"),
    ],
)
def test_text_models(broken: Callable[..., Path], name: str, before: str, after: str) -> None:
    model = broken("txt")
    path = model / f"{name}.txt"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(InputError) as raised:
        read_map(model)
    assert str(model) in one_line(raised)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D", "rigs", "frames"])
def test_text_models_cut_short(broken: Callable[..., Path], name: str) -> None:
    model = broken("txt")
    path = model / f"{name}.txt"
    text = path.read_text()
    path.write_text(text[: len(text) * 2 // 3])
    with pytest.raises(InputError) as raised:
        read_map(model)
    assert str(model) in one_line(raised)


@pytest.mark.parametrize("kind", ["bin", "txt"])
@pytest.mark.parametrize("name", ["points3D", "rigs", "frames"])
def test_models_that_lack_a_file(broken: Callable[..., Path], kind: str, name: str) -> None:
    model = broken(kind)
    (model / f"{name}.{kind}").unlink()
    with pytest.raises(InputError, match="holds no map" if name == "points3D" else f"no {name}.{kind}"):
        read_map(model)


def test_cameras_that_are_none(broken: Callable[..., Path]) -> None:
    model = broken("txt")
    path = model / "cameras.txt"
    path.write_text(path.read_text().replace("PINHOLE 64 48 60", "PINHOLE 64 48 -60"))
    with pytest.raises(InputError, match=r"focal length .* positive") as raised:
        read_map(model)
    assert str(model) in one_line(raised)


def _drop(document: dict, key: str) -> None:
    del document["frames"][1][key]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: _drop(d, "file_path"), "frame 1 has no file_path"),
        (lambda d: _drop(d, "transform_matrix"), "no 'transform_matrix'"),
        (lambda d: _drop(d, "fl_x") or _drop(d, "fl_y"), "neither fl_x nor camera_angle_x"),
        (lambda d: d["frames"][1].update(fl_x="long"), "could not convert"),
        (lambda d: d["frames"][1].update(fl_x=float("nan")), "nan"),
        (lambda d: d["frames"][1].update(w=10.5), "whole numbers"),
        (lambda d: d["frames"][1].update(transform_matrix=[[1, 2], [3, 4]]), "no finite 4x4"),
        (lambda d: d["frames"][1].update(transform_matrix=(2 * np.eye(4)).tolist()), "no rotation"),
        (lambda d: d["frames"][1].update(file_path="images/" + WORLD.shots[0].name), "name one photo"),
        (lambda d: d.update(camera_model="EQUIRECTANGULAR"), "unknown camera_model"),
        (lambda d: d.update(k4=0.1), "k4"),
        (lambda d: d.update(frames=[]), "no list of frames"),
        (lambda d: d.update(frames="none"), "no list of frames"),
    ],
)
def test_nerfstudio(tmp_path: Path, change: Callable[[dict], None], message: str) -> None:
    WORLD.write_nerfstudio(tmp_path, change)
    with pytest.raises(InputError) as raised:
        read_map(tmp_path)
    assert message in one_line(raised)
    assert "transforms.json" in raised.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", "[" * 100_000])
def test_no_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(InputError, match=r"transforms\.json"):
        read_map(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("intrinsics.txt", "1 0 0\n0 1\n0 0 1", "no 3x3 matrix"),
        ("intrinsics.txt", "60 0 32\n0 sixty 24\n0 0 1", "line 2"),
        ("intrinsics.txt", "PINHOLE 64 48 60", "4 parameters"),
        ("intrinsics.txt", "PINHOLE 64", "MODEL width height"),
        ("intrinsics.txt", "-60 0 32\n0 60 24\n0 0 1", "positive"),
        ("seq-0/frame-000000.pose.txt", "1 0 0 0\n0 1 0 0", "no 4x4 matrix"),
        ("seq-0/frame-000000.pose.txt", "a b c d", "could not convert"),
        ("seq-0/frame-000000.pose.txt", "2 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1", "no rotation"),
    ],
)
def test_rgbd(tmp_path: Path, name: str, text: str, message: str) -> None:
    one_camera_world().write_rgbd(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as raised:
        read_map(tmp_path)
    assert message in one_line(raised)
    assert name in raised.value.message


def test_depth_files(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "flat.npy", np.zeros(5))
    np.savez(tmp_path / "several.npz", a=np.zeros((2, 2)))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    Image.new("RGB", (4, 4)).save(tmp_path / "color.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "color.png").read_bytes()[:40])
    for name in ("objects.npy", "flat.npy", "several.npy", "color.png", "cut.png", "absent.png"):
        with pytest.raises(InputError, match=name) as raised:
            read_depth_file(tmp_path / name)
        one_line(raised)
    Image.fromarray(np.array([[0, 1500], [65535, 2]], np.uint16)).save(tmp_path / "depth.png")
    np.testing.assert_array_equal(read_depth_file(tmp_path / "depth.png"), [[np.nan, 1.5], [np.nan, 0.002]])
    Image.fromarray(np.array([[0, 1.5], [np.inf, -2]], np.float32)).save(tmp_path / "depth.tiff")
    np.testing.assert_array_equal(read_depth_file(tmp_path / "depth.tiff"), [[np.nan, 1.5], [np.nan, np.nan]])


def test_kapture(tmp_path: Path) -> None:
    WORLD.write_kapture(tmp_path)
    path = tmp_path / "sensors/trajectories.txt"
    path.write_text(path.read_text().replace("1, rgb1, 0.", "1, rgb1, x."))
    with pytest.raises(InputError, match=r"trajectories\.txt, line"):
        read_map(tmp_path)


def test_kapture_depth_of_another_size(tmp_path: Path) -> None:
    WORLD.write_kapture(tmp_path)
    depth = tmp_path / "sensors/records_data" / f"{WORLD.shots[0].name}.depth"
    depth.write_bytes(depth.read_bytes()[:-4])
    found = read_map(tmp_path)
    with pytest.raises(InputError, match="bytes"):
        found.images[found.index_of[WORLD.shots[0].name]].load_points()


def test_two_images_of_one_name(tmp_path: Path) -> None:
    WORLD.write_nerfstudio(tmp_path)
    document = json.loads((tmp_path / "transforms.json").read_text())
    document["frames"].append(document["frames"][0])
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="two frames name one photo"):
        read_map(tmp_path)
