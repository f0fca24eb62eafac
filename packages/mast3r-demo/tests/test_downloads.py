"""Downloads: their names, that other programs open them, and what they do not tell."""

from __future__ import annotations

import csv
import datetime
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import trimesh
from PIL import Image

from mast3r_demo.downloads import DOWNLOADS, build_download, file_name
from mast3r_demo.photo_copies import copy_name, write_photo_copies
from mast3r_demo.session_folder import Session
from mast3r_demo.views import ViewSettings
from mast3r_model import InputError
from mast3r_sfm import Scene

from .small_scene import SmallResult, small_result

VIEW = ViewSettings(percentile=0, clean_depth=False)
PIXELS = 3 * 48 * 64


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session(tmp_path / ("0" * 32))
    session.photo_names.update({"0001.jpg": "tower.jpg", "0002.jpg": "=cmd.jpg"})
    return session


@pytest.fixture
def result(session: Session) -> SmallResult:
    return small_result(session.uploads)


def unzipped(path: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "unzipped"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


def test_names_say_when_of_how_many_and_what() -> None:
    day = datetime.date(2026, 2, 3)
    assert file_name("colmap", 7, ".zip", day) == "mast3r_2026-02-03_7photos_colmap.zip"


@pytest.mark.parametrize("name", DOWNLOADS)
def test_every_download_is_in_the_session_and_nothing_else_is_left(
    name: str, result: SmallResult, session: Session
) -> None:
    path = build_download(name, result, VIEW, session)
    assert path.parent == session.exports
    assert path.name == file_name(name, 3, path.suffix)
    assert path.suffix == DOWNLOADS[name].suffix
    assert path.stat().st_size > 300
    assert [file.name for file in session.exports.iterdir()] == [path.name]
    assert not [file for file in session.folder.iterdir() if file.name.startswith(".")]


def test_a_colmap_zip_opens_with_its_photos(result: SmallResult, session: Session, tmp_path: Path) -> None:
    folder = unzipped(build_download("colmap", result, VIEW, session, with_photos=True), tmp_path)
    model = pycolmap.Reconstruction(folder / "sparse" / "0")
    assert model.num_reg_images() == 3
    assert model.num_points3D() == 20
    for image in model.images.values():
        camera = model.cameras[image.camera_id]
        with Image.open(folder / "images" / image.name) as photo:
            assert photo.size == (camera.width, camera.height)
            assert not photo.getexif()
    without = zipfile.ZipFile(build_download("colmap", result, VIEW, session))
    assert not [name for name in without.namelist() if name.startswith("images/")]
    with open(folder / "photos.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["photo"], row["file"]) for row in rows] == [
        ("tower.jpg", "0001.jpg"),
        ("'=cmd.jpg", "0002.jpg"),
        ("0003.jpg", "0003.jpg"),
    ]
    assert "photos.csv" in (folder / "README.txt").read_text(encoding="utf-8")


def test_a_nerfstudio_zip_names_the_photos_in_it(
    result: SmallResult, session: Session, tmp_path: Path
) -> None:
    folder = unzipped(build_download("nerfstudio", result, VIEW, session, with_photos=True), tmp_path)
    document = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))
    assert all((folder / frame["file_path"]).is_file() for frame in document["frames"])
    assert (folder / document["ply_file_path"]).is_file()


def test_points_are_those_of_the_view(result: SmallResult, session: Session) -> None:
    def count(name: str, view: ViewSettings) -> int:
        loaded = trimesh.load(build_download(name, result, view, session))
        clouds = loaded.geometry.values() if isinstance(loaded, trimesh.Scene) else [loaded]
        return sum(len(part.vertices) for part in clouds if isinstance(part, trimesh.PointCloud))

    for name in ("ply", "glb"):
        assert count(name, VIEW) == PIXELS
        assert count(name, ViewSettings(percentile=0, clean_depth=False, max_points=1234)) == 1234


def test_depth_maps_are_arrays_of_the_network_s_size(
    result: SmallResult, session: Session, tmp_path: Path
) -> None:
    folder = unzipped(build_download("depth", result, VIEW, session), tmp_path)
    with np.load(folder / "depth" / "0002.jpg.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["depth"], result.scene.images[1].depth)
        np.testing.assert_allclose(file["intrinsics"], result.scene.images[1].network_intrinsics)


def test_depth_maps_are_cleaned_as_the_view_is(session: Session, tmp_path: Path) -> None:
    result = small_result(session.uploads)
    first = result.scene.images[0]
    near = first.depth.copy()
    near[20:28, 30:50] = 1.0  # in front of what the others see
    images = (replace(first, depth=near, confidence=np.full(near.shape, 1.6)), *result.scene.images[1:])
    result = replace(result, scene=replace(result.scene, images=images))
    hidden = []
    for clean in (False, True):
        path = build_download("depth", result, replace(VIEW, clean_depth=clean), session)
        with np.load(unzipped(path, tmp_path) / "depth" / "0001.jpg.npz", allow_pickle=False) as file:
            hidden.append((file["confidence"] == 0).sum())
    assert hidden[0] == 0
    assert 50 < hidden[1] <= 160


def test_groups_are_files_of_a_zip(session: Session) -> None:
    result = small_result(session.uploads, 2, alone=1)
    with zipfile.ZipFile(build_download("glb", result, VIEW, session)) as archive:
        assert {"scene.glb", "scene_1.glb"} < set(archive.namelist())


def test_everything_can_be_loaded_again_and_tells_no_path(
    result: SmallResult, session: Session, tmp_path: Path
) -> None:
    path = build_download("everything", result, VIEW, session, with_photos=True)
    folder = unzipped(path, tmp_path)
    scene = Scene.load(folder)
    assert len(scene.images) == 3
    assert Path(scene.image_folder) == folder / "images"
    assert (folder / "images" / scene.images[2].name).is_file()
    for file in folder.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert str(session.folder).encode() not in data, file
            assert b"A camera of someone" not in data, file
    expected = {"scene.glb", "points.ply", "transforms.json", "cameras.json", "report.html", "report.json"}
    assert expected <= {file.name for file in folder.iterdir()}


def test_an_unknown_download_is_refused(result: SmallResult, session: Session) -> None:
    with pytest.raises(InputError) as refused:
        build_download("exe", result, VIEW, session)
    assert "everything" in str(refused.value.hint)


def test_photo_copies_are_upright_and_bare(tmp_path: Path) -> None:
    result = small_result(tmp_path / "photos", 1)
    (photo,) = result.images
    with Image.open(photo.path) as opened:
        pixels, exif = opened.copy(), opened.getexif()
    exif[0x0112] = 6  # the camera was turned
    pixels.save(photo.path, exif=exif)
    write_photo_copies(result, tmp_path / "copies")
    data = (tmp_path / "copies" / photo.name).read_bytes()
    with Image.open(io.BytesIO(data)) as copy:
        assert copy.size == (pixels.height, pixels.width)
        assert not copy.getexif()
        assert copy.format == "JPEG"
    assert b"Exif" not in data


def test_copies_have_names_of_what_they_are() -> None:
    names = ["0001.jpg", "0002.png", "0003.heic", "0004.webp", "walk/00012.jpg"]
    assert [copy_name(name) for name in names] == [
        *("0001.jpg", "0002.png", "0003.jpg", "0004.jpg", "walk/00012.jpg")
    ]
