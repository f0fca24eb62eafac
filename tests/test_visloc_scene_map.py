"""A scene of `mast3r sfm`, in its own file and in its exports, is a map of `mast3r visloc`."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from safetensors.numpy import load_file, save_file

from mast3r_model import ImageTransform, InputError
from mast3r_sfm import PointCloud, Scene, SceneImage, Tracks
from mast3r_visloc.cameras import project
from mast3r_visloc.maps import DensePoints, LocalizationMap, SparsePoints, read_map

NETWORK, UPRIGHT = (48, 32), (96, 64)
ORIENTATIONS = {0: 1, 1: 6, 2: 3, 3: 8}
"""Photo number -> EXIF orientation of its file."""


def upright_photo(number: int) -> Image.Image:
    """Portrait; its red and green say where a pixel is."""
    y, x = np.indices(UPRIGHT)
    return Image.fromarray(np.stack([x * 3, y * 2, np.full(UPRIGHT, 50 * number)], -1).astype(np.uint8))


def scene_image(number: int, component: int = 0) -> SceneImage:
    transform = ImageTransform.from_resize_and_crop(UPRIGHT, NETWORK, (0, 0, 32, 48))
    pose = np.eye(4)
    pose[:3, 3] = [0.3 * number, 0.1, -0.2 * number]
    depth = 3 + 0.02 * np.add.outer(np.arange(48), np.arange(32)).astype(np.float32)
    depth[0, 0] = 0
    confidence = np.full(NETWORK, 2.0)
    confidence[1, 1] = 0
    return SceneImage(
        name=f"walk/{number}.png",
        original_shape=UPRIGHT,
        transform=transform,
        intrinsics=np.array([[80.0 + number, 0, 30], [0, 81, 50], [0, 0, 1]]),
        cam2world=pose,
        depth=depth,
        confidence=confidence,
        color=np.zeros((*NETWORK, 3)),
        component=component,
    )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Four photos of one group in files of four orientations, one of another group, saved."""
    for number, orientation in ORIENTATIONS.items():
        path = tmp_path / "photos/walk" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = orientation
        back = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90,
                8: Image.Transpose.ROTATE_270}[orientation]  # fmt: skip
        photo = upright_photo(number)
        (photo if back is None else photo.transpose(back)).save(path, exif=exif)
        with Image.open(path) as saved:
            np.testing.assert_array_equal(ImageOps.exif_transpose(saved), upright_photo(number))
    upright_photo(4).save(tmp_path / "photos/walk/4.png")
    images = (*(scene_image(number) for number in range(4)), scene_image(4, component=1))
    made = Scene(images, PointCloud.empty(), tracks_of(images[:4]), image_folder=str(tmp_path / "photos"))
    made.save(tmp_path / "scene", formats=("colmap", "nerfstudio"))
    return made


def tracks_of(images: tuple[SceneImage, ...]) -> Tracks:
    """Ten points that all photos see."""
    positions = np.random.default_rng(0).uniform([-0.1, -0.5, 3], [0.6, 0.5, 4], (10, 3))
    track, image, xy = [], [], []
    for number, shot in enumerate(images):
        own = (positions @ shot.world2cam[:3, :3].T + shot.world2cam[:3, 3]) @ shot.intrinsics.T
        track += list(range(10))
        image += [number] * 10
        xy += list(own[:, :2] / own[:, 2:])
    zeros = np.zeros(len(track))
    return Tracks(positions, np.zeros((10, 3)), np.array(track), np.array(image), np.array(xy), zeros)


def check_in_file_pixels(found: LocalizationMap, scene: Scene, prefix: str = "") -> None:
    """Cameras and poses see the world as the file shows it: what a pixel's color says is where it is."""
    for number in range(4):
        image = found.images[found.index_of[f"{prefix}walk/{number}.png"]]
        with Image.open(image.path) as opened:
            pixels = np.array(opened)
        assert image.camera is not None
        assert image.camera.shape == pixels.shape[:2]
        shot = scene.images[number]
        upright = np.array([[10.0, 20], [40, 70], [33, 12]])
        own = np.concatenate([upright, np.ones((3, 1))], 1) @ np.linalg.inv(shot.intrinsics).T * 3.0
        world = own @ shot.cam2world[:3, :3].T + shot.cam2world[:3, 3]
        world2cam = np.linalg.inv(image.cam2world)
        seen = project(image.camera, world @ world2cam[:3, :3].T + world2cam[:3, 3])
        at = np.rint(seen).astype(int)
        np.testing.assert_allclose(seen, at, atol=1e-6)
        np.testing.assert_array_equal(pixels[at[:, 1], at[:, 0], :2], upright * [3, 2])


def test_a_saved_scene(scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mast3r.visloc"):
        found = read_map(tmp_path / "scene")
    assert found.kind == "mast3r scene"
    assert "1 of the scene's 5 photos do not relate" in caplog.text
    assert len(found) == 4
    check_in_file_pixels(found, scene)
    for number, image in enumerate(found.images):
        assert image.load_points is not None
        points = image.load_points()
        assert isinstance(points, DensePoints)
        with Image.open(image.path) as opened:
            assert points.transform.original_shape == opened.size[::-1]
        turns = {1: 0, 6: 1, 3: 2, 8: 3}[ORIENTATIONS[number]]
        expected = scene.images[number].pts3d().astype(np.float64)
        expected[0, 0] = expected[1, 1] = np.nan
        np.testing.assert_allclose(points.grid, np.rot90(expected, turns), atol=1e-6)
        # A grid pixel lies where the turned camera sees its point.
        world2cam = np.linalg.inv(image.cam2world)
        seen = project(image.camera, points.grid[20, 21][None] @ world2cam[:3, :3].T + world2cam[:3, 3])
        np.testing.assert_allclose(points.transform.points_to_network(seen), [[21.0, 20.0]], atol=1e-6)


def test_its_colmap_export(scene: Scene, tmp_path: Path) -> None:
    found = read_map(tmp_path / "scene/sparse/0")
    assert found.kind == "COLMAP model"
    check_in_file_pixels(found, scene)
    for number, image in enumerate(found.images):
        assert image.load_points is not None
        points = image.load_points()
        assert isinstance(points, SparsePoints)
        assert len(points) == 10
        world2cam = np.linalg.inv(image.cam2world)
        seen = project(image.camera, points.xyz @ world2cam[:3, :3].T + world2cam[:3, 3])
        np.testing.assert_allclose(seen, points.xy, atol=1e-6, err_msg=str(number))


def test_its_nerfstudio_export(scene: Scene, tmp_path: Path) -> None:
    for name in ("scene.safetensors", "sparse"):
        (tmp_path / "scene" / name).rename(tmp_path / name)
    with pytest.raises(InputError, match="leaves the dataset's folder"):
        read_map(tmp_path / "scene", need_points=False)
    # Without the scene a photo that lies upside down cannot be told from one that does not.
    (tmp_path / "photos/walk/2.png").write_bytes(b"")
    found = read_map(tmp_path / "scene", images=tmp_path / "photos", need_points=False)
    assert [Path(image.name).stem for image in found.images] == ["0", "1", "3"]
    for image in found.images:
        with Image.open(image.path) as opened:
            assert image.camera.shape == opened.size[::-1]


def test_photos_that_moved(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="none of the map's 4 photos"):
        read_map(tmp_path / "scene")
    assert len(read_map(tmp_path / "scene", images=tmp_path / "moved")) == 4


@pytest.mark.parametrize("damage", ["half", "empty", "other schema", "no matrix", "nan", "name"])
def test_broken_scenes(scene: Scene, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "scene/scene.safetensors"
    content = path.read_bytes()
    if damage in ("half", "empty"):
        path.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    else:
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            about = file.metadata()["about"]
        arrays = load_file(path)
        if damage == "other schema":
            about = about.replace("mast3r.scene/1", "mast3r.scene/9")
        elif damage == "no matrix":
            del arrays["images.1.cam2world"]
        elif damage == "nan":
            arrays["images.1.intrinsics"] = arrays["images.1.intrinsics"] * np.nan
        else:
            about = about.replace("walk/1.png", "../walk/1.png")
        save_file(arrays, path, metadata={"about": about})
    with pytest.raises(InputError) as raised:
        read_map(tmp_path / "scene")
    assert "\n" not in raised.value.message
    assert "scene" in raised.value.message
