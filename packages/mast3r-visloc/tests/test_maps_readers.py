"""Every format of maps gives the same cameras, poses and 3D."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_model import InputError
from mast3r_visloc.cameras import unproject
from mast3r_visloc.maps import DensePoints, LocalizationMap, MapImage, SparsePoints, read_map

from .map_world import Shot, World, one_camera_world

WORLD = World()


def check_cameras(found: LocalizationMap, world: World, prefix: str = "") -> None:
    assert sorted(image.name for image in found.images) == sorted(prefix + shot.name for shot in world.shots)
    for shot in world.shots:
        image = found.images[found.index_of[prefix + shot.name]]
        assert image.path.is_file()
        assert image.path.as_posix().endswith(image.name)
        assert image.camera is not None
        assert image.camera.shape == shot.shape
        np.testing.assert_allclose(image.camera.intrinsics, shot.K, atol=1e-9)
        np.testing.assert_allclose(image.cam2world, shot.pose, atol=1e-9)


def check_dense(image: MapImage, shot: Shot, tolerance: float, unknown: int = 0) -> None:
    assert image.load_points is not None
    points = image.load_points()
    assert isinstance(points, DensePoints)
    assert points.transform.original_shape == shot.shape
    truth = shot.wall(points.transform.points_to_original(shot.grid())).reshape(*shot.shape, 3)
    assert np.isnan(points.grid).any(-1).sum() == unknown
    assert np.nanmax(np.abs(points.grid - truth)) < tolerance


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("rig", [False, True])
def test_colmap(tmp_path: Path, text: bool, rig: bool) -> None:
    WORLD.write_colmap(tmp_path / "sparse/0", text=text, rig=rig)
    WORLD.write_photos(tmp_path / "images")
    found = read_map(tmp_path)
    assert (found.kind, found.colmap_model) == ("COLMAP model", tmp_path / "sparse/0")
    check_cameras(found, WORLD)
    for shot in WORLD.shots:
        points = found.images[found.index_of[shot.name]].load_points()
        assert isinstance(points, SparsePoints)
        own, pixels = WORLD.seen(shot)
        order = np.argsort(points.point_ids)
        np.testing.assert_array_equal(points.point_ids[order] - 10, own)
        np.testing.assert_allclose(points.xy[order], pixels, atol=1e-9)
        np.testing.assert_allclose(points.xyz[order], WORLD.points[own], atol=1e-9)


def test_colmap_without_rigs_as_older_versions_write_it(tmp_path: Path) -> None:
    WORLD.write_colmap(tmp_path)
    WORLD.write_photos(tmp_path)
    for name in ("rigs.bin", "frames.bin"):
        (tmp_path / name).unlink()
    check_cameras(read_map(tmp_path / "cameras.bin"), WORLD)


@pytest.mark.parametrize(
    ("model", "photos"),
    [
        (".", "."),
        (".", "images"),
        ("mapping/colmap/reconstruction", "images"),
        ("colmap/sparse/0", "images"),
        ("colmap", "."),
    ],
)
def test_photos_are_found_beside_the_model(tmp_path: Path, model: str, photos: str) -> None:
    WORLD.write_colmap(tmp_path / model)
    WORLD.write_photos(tmp_path / photos)
    check_cameras(read_map(tmp_path), WORLD)
    check_cameras(read_map(tmp_path / model), WORLD)


def test_goldens_of_another_writer(goldens: Path) -> None:
    """Text models with comments, and an image without observations (a blank second line)."""
    data = goldens / "datasets" / "Aachen-Day-Night-v1.1"
    found = read_map(data / "mapping/colmap/reconstruction")
    assert len(found) >= 4
    empty = found.images[found.index_of["db/empty.png"]]
    assert empty.load_points is None
    assert len(found.images[found.index_of["db/1001.png"]].load_points()) > 10


def test_an_unconnected_second_model_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2):
        WORLD.write_colmap(tmp_path / "sparse" / str(number))
    WORLD.write_photos(tmp_path)
    with caplog.at_level(logging.WARNING, "mast3r.visloc"):
        assert read_map(tmp_path).colmap_model == tmp_path / "sparse/0"
    assert "2 models that are not connected" in caplog.text


def test_kapture(tmp_path: Path) -> None:
    WORLD.write_kapture(tmp_path)
    found = read_map(tmp_path)
    assert found.kind == "kapture folder"
    for shot in WORLD.shots:
        image = found.images[found.index_of[shot.name]]
        np.testing.assert_allclose(image.camera.intrinsics, shot.K, atol=1e-9)
        np.testing.assert_allclose(image.cam2world, shot.pose, atol=1e-9)
        check_dense(image, shot, 1e-5)


def test_kapture_uses_registered_depth_only(tmp_path: Path, goldens: Path) -> None:
    WORLD.write_kapture(tmp_path)
    path = tmp_path / "sensors" / "sensors.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.replace("60.0", "70.0") if "depth0" in line else line for line in lines))
    found = read_map(tmp_path)
    assert found.images[found.index_of[WORLD.shots[0].name]].load_points is None
    assert sum(image.load_points is not None for image in found.images) == 3
    seven_scenes = read_map(goldens / "datasets/7-scenes/chess/mapping")
    assert all(isinstance(image.load_points(), DensePoints) for image in seven_scenes.images)


def test_nerfstudio(tmp_path: Path) -> None:
    WORLD.write_nerfstudio(tmp_path)
    found = read_map(tmp_path)
    assert found.kind == "nerfstudio transforms"
    check_cameras(found, WORLD, "images/")
    for shot in WORLD.shots:
        check_dense(found.images[found.index_of["images/" + shot.name]], shot, 1e-9)


def test_nerfstudio_with_one_camera_for_all_and_depth_in_millimetres(tmp_path: Path) -> None:
    world = one_camera_world()
    K = world.shots[0].K

    def change(document: dict) -> None:
        for number, (frame, shot) in enumerate(zip(document["frames"], world.shots, strict=True)):
            for key in ("w", "h", "fl_x", "fl_y", "cx", "cy"):
                document[key] = frame.pop(key)
            millimetres = np.round(shot.depth()[::2, ::2] * 1000).astype(np.uint16)
            Image.fromarray(millimetres).save(tmp_path / f"d{number}.png")
            frame["depth_file_path"] = f"d{number}.png"
            frame["file_path"] = frame["file_path"].removesuffix(".png")

    world.write_nerfstudio(tmp_path, change)
    found = read_map(tmp_path)
    for image in found.images:
        np.testing.assert_allclose(image.camera.intrinsics, K, atol=1e-9)
    # A depth map of half the photo's size: its pixel (0, 0) covers four of the photo's.
    points = found.images[0].load_points()
    assert points.grid.shape == (24, 32, 3)
    np.testing.assert_allclose(points.transform.points_to_original(np.zeros((1, 2))), [[0.5, 0.5]])
    shot = world.shots[0]
    z = np.round(shot.depth()[10, 10] * 1000) / 1000
    expected = shot.pose[:3, :3] @ (shot.rays(np.array([[10.5, 10.5]]))[0] * z) + shot.pose[:3, 3]
    np.testing.assert_allclose(points.grid[5, 5], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("keys", "model", "distortion"),
    [
        ({"k1": 0.1, "p1": 0.01}, "OPENCV", (0.1, 0.0, 0.01, 0.0)),
        ({"k1": 0.1, "k3": 0.02}, "FULL_OPENCV", (0.1, 0, 0, 0, 0.02, 0, 0, 0)),
        ({"camera_model": "OPENCV_FISHEYE", "k4": 0.001}, "OPENCV_FISHEYE", (0, 0, 0, 0.001)),
    ],
)
def test_nerfstudio_distortion(tmp_path: Path, keys: dict, model: str, distortion: tuple[float, ...]) -> None:
    WORLD.write_nerfstudio(tmp_path, lambda document: document.update(keys))
    image = next(iter(read_map(tmp_path).images))
    assert image.camera.model == model
    assert image.camera.params[4:] == distortion
    points = image.load_points()
    # The ray through a pixel follows the distortion, its z the depth map.
    rays = unproject(image.camera, np.array([[7.0, 5.0]]))[0]
    own = np.linalg.inv(image.cam2world) @ [*points.grid[5, 7], 1]
    np.testing.assert_allclose(own[:3] / own[2], rays / rays[2], atol=1e-9)
    assert abs(own[2] - WORLD.shots[0].depth()[5, 7]) < 1e-9


def test_nerfstudio_photos_elsewhere_need_their_folder(tmp_path: Path) -> None:
    def change(document: dict) -> None:
        for frame in document["frames"]:
            frame["file_path"] = frame["file_path"].replace("./images/", "../photos/")

    (tmp_path / "map").mkdir()
    WORLD.write_nerfstudio(tmp_path / "map", change)
    WORLD.write_photos(tmp_path / "photos")
    with pytest.raises(InputError, match="leaves the dataset's folder") as raised:
        read_map(tmp_path / "map")
    assert "--images" in raised.value.hint
    check_cameras(read_map(tmp_path / "map", images=tmp_path / "photos"), WORLD)


def test_nerfstudio_angle_in_place_of_focal_length(tmp_path: Path) -> None:
    def change(document: dict) -> None:
        for frame in document["frames"]:
            for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
                del frame[key]
        document["camera_angle_x"] = 2 * np.arctan(32 / 60)

    WORLD.write_nerfstudio(tmp_path, change)
    camera = read_map(tmp_path).images[0].camera
    assert camera.params == pytest.approx((60, 60, 32, 24))
    assert camera.shape == (48, 64)


def test_rgbd(tmp_path: Path) -> None:
    world = one_camera_world()
    world.write_rgbd(tmp_path)
    found = read_map(tmp_path)
    assert found.kind == "RGB-D folder"
    check_cameras(found, world)
    for number, shot in enumerate(world.shots):
        image = found.images[found.index_of[shot.name]]
        if number == 2:
            assert image.load_points is None
        else:
            check_dense(image, shot, 1.2e-3, unknown=2)


def test_rgbd_in_folders_of_their_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shot = WORLD.shots[0]
    for folder in ("color", "depth", "pose", "intrinsic"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        shot.picture().save(tmp_path / f"color/{number}.jpg")
        np.save(tmp_path / f"depth/{number}.npy", shot.depth().astype(np.float32))
    np.savetxt(tmp_path / "pose/0.txt", shot.pose)
    np.savetxt(tmp_path / "pose/1.txt", np.full((4, 4), -np.inf))
    four = np.eye(4)
    four[:3, :3] = shot.K
    np.savetxt(tmp_path / "intrinsic/intrinsic_color.txt", four)
    with caplog.at_level(logging.WARNING, "mast3r.visloc"):
        found = read_map(tmp_path)
    assert "1 photos have no finite pose" in caplog.text
    assert [image.name for image in found.images] == ["color/0.jpg"]
    np.testing.assert_allclose(found.images[0].camera.intrinsics, shot.K)
    check_dense(found.images[0], shot, 1e-5)


def test_rgbd_camera_line(tmp_path: Path) -> None:
    world = one_camera_world()
    world.write_rgbd(tmp_path)
    (tmp_path / "intrinsics.txt").write_text("# COLMAP's\nSIMPLE_RADIAL 64 48 60 32 24 0.01\n")
    camera = read_map(tmp_path).images[0].camera
    assert (camera.model, camera.params) == ("SIMPLE_RADIAL", (60, 32, 24, 0.01))


def test_missing_photos_are_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    WORLD.write_colmap(tmp_path)
    WORLD.write_photos(tmp_path)
    (tmp_path / WORLD.shots[0].name).unlink()
    (tmp_path / WORLD.shots[1].name).write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, "mast3r.visloc"):
        found = read_map(tmp_path)
    assert len(found) == 2
    assert len(caplog.records) == 1
    assert "2 of the map's 4 photos" in caplog.text
    assert WORLD.shots[0].name in caplog.text


def test_no_photo_at_all(tmp_path: Path) -> None:
    WORLD.write_colmap(tmp_path / "map")
    with pytest.raises(InputError, match="none of the map's 4 photos") as raised:
        read_map(tmp_path / "map")
    assert str(tmp_path / "map") in raised.value.message
    assert "--images" in raised.value.hint
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"found in .*other"):
        read_map(tmp_path / "map", images=tmp_path / "other")
    with pytest.raises(InputError, match="no folder"):
        read_map(tmp_path / "map", images=tmp_path / "absent")


def test_photos_of_another_size_are_refused(tmp_path: Path) -> None:
    WORLD.write_colmap(tmp_path)
    WORLD.write_photos(tmp_path)
    Image.new("RGB", (32, 24)).save(tmp_path / WORLD.shots[1].name)
    with pytest.raises(InputError, match=r"32x24 pixels, but the map's camera .* 64x48"):
        read_map(tmp_path)


def test_only_photos(tmp_path: Path) -> None:
    WORLD.write_photos(tmp_path)
    with pytest.raises(InputError, match="4 photos, but no map") as raised:
        read_map(tmp_path)
    assert f"mast3r sfm {tmp_path} -o MAP" in raised.value.hint


def test_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no map") as raised:
        read_map(tmp_path)
    assert "COLMAP model" in raised.value.hint
    with pytest.raises(InputError, match="there is no map"):
        read_map(tmp_path / "absent")


def test_a_map_without_3d(tmp_path: Path) -> None:
    def change(document: dict) -> None:
        for frame in document["frames"]:
            del frame["depth_file_path"]

    WORLD.write_nerfstudio(tmp_path, change)
    with pytest.raises(InputError, match="no photo with 3D"):
        read_map(tmp_path)
    assert len(read_map(tmp_path, need_points=False)) == 4


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "a/../../b.png", "C:\\x.png"])
def test_names_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    model = WORLD.reconstruction()
    model.images[5].name = name
    (tmp_path / "map").mkdir()
    model.write_binary(tmp_path / "map")
    WORLD.write_photos(tmp_path / "map")
    with pytest.raises(InputError, match="leaves the dataset's folder"):
        read_map(tmp_path / "map")
    WORLD.write_nerfstudio(tmp_path / "nerf")
    document = json.loads((tmp_path / "nerf/transforms.json").read_text())
    document["frames"][0]["depth_file_path"] = name
    (tmp_path / "nerf/transforms.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="leaves the dataset's folder"):
        read_map(tmp_path / "nerf")
