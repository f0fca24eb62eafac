"""Photos upright for the network, pixels those of the file (spec 50, trap 30)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from mast3r_model import ImageError
from mast3r_visloc.cameras import Camera, turned
from mast3r_visloc.localizing.photos import check_detail, photo_orientation, read_photo
from mast3r_visloc.maps import MapImage, SparsePoints, in_file_pixels, photo_file, turn_points

HEIGHT, WIDTH = 32, 48


def save(folder: Path, orientation: int) -> tuple[Path, np.ndarray]:
    """A file of random pixels with an orientation, and its pixels."""
    pixels = np.random.default_rng(orientation).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = folder / f"{orientation}.png"
    Image.fromarray(pixels).save(path, exif=exif)
    return path, pixels


def grid() -> np.ndarray:
    y, x = np.indices((HEIGHT, WIDTH))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(float)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_where_pillow_puts_them(tmp_path: Path, orientation: int) -> None:
    path, pixels = save(tmp_path, orientation)
    photo = read_photo(path, size=48, patch_size=16)
    assert photo.transform.original_shape == (HEIGHT, WIDTH)
    with Image.open(path) as image:
        upright = np.array(ImageOps.exif_transpose(image))
    assert np.array_equal(photo.loaded.original, upright)
    x, y = photo.transform.file_to_upright(grid()).astype(int).T
    assert np.array_equal(upright[y, x], pixels.reshape(-1, 3))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_there_and_back(tmp_path: Path, orientation: int) -> None:
    transform = read_photo(save(tmp_path, orientation)[0], size=32, patch_size=16).transform
    points = np.random.default_rng(0).uniform(-1, 50, (100, 2))
    np.testing.assert_allclose(
        transform.upright_to_file(transform.file_to_upright(points)), points, atol=1e-9
    )
    np.testing.assert_allclose(
        transform.points_to_original(transform.points_to_network(points)), points, atol=1e-9
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_networks_input_shows_the_files_pixels(tmp_path: Path, orientation: int) -> None:
    """At the photo's own size the network sees the very values, where the transform says."""
    path, pixels = save(tmp_path, orientation)
    photo = read_photo(path, size=48, patch_size=16)
    x, y = np.rint(photo.transform.points_to_network(grid())).astype(int).T
    height, width = photo.transform.network_shape
    assert (height, width) in ((32, 48), (48, 32))
    seen = photo.tensor.numpy()[:, y, x].T
    np.testing.assert_allclose(seen, pixels.reshape(-1, 3) / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_quarter_turns(tmp_path: Path, orientation: int) -> None:
    path, pixels = save(tmp_path, orientation)
    photo = read_photo(path, size=48, patch_size=16)
    turns = photo.transform.quarter_turns
    assert (turns is None) == (orientation in (2, 4, 5, 7))
    if turns is None:
        return
    assert np.array_equal(np.rot90(pixels, turns), photo.loaded.original)
    # The map's readers turn the other way, from upright to the file.
    file = photo_file(path)
    assert file.quarter_turns == -turns % 4
    camera = Camera("OPENCV", WIDTH, HEIGHT, (40.0, 42.0, 23.0, 17.0, 0.1, 0.01, 0.002, 0.003))
    upright_camera = turned(camera, turns)
    assert upright_camera.shape == photo.loaded.original.shape[:2]
    points = SparsePoints(grid()[:5], np.zeros((5, 3)), np.arange(5))
    upright = turn_points(points, turns, (HEIGHT, WIDTH))
    np.testing.assert_allclose(upright.xy, photo.transform.file_to_upright(points.xy))
    image = MapImage("photo", path, upright_camera, np.eye(4), lambda: upright)
    in_file = in_file_pixels(image, file, upright=True)
    assert in_file.camera is not None
    np.testing.assert_allclose(in_file.camera.params, camera.params)
    assert in_file.load_points is not None
    found = in_file.load_points()
    assert isinstance(found, SparsePoints)
    np.testing.assert_allclose(found.xy, points.xy)
    assert in_file.cam2world is not None
    expected = np.eye(4)
    expected[:2, :2] = photo.transform.upright_from_file[:2, :2]
    np.testing.assert_allclose(in_file.cam2world, expected, atol=1e-12)


def test_orientations_that_mean_nothing_are_upright(tmp_path: Path) -> None:
    path, _ = save(tmp_path, 6)
    with Image.open(path) as image:
        exif = image.getexif()
        exif[ExifTags.Base.Orientation] = 9
        image.save(tmp_path / "nine.png", exif=exif)
        image.convert("RGB").save(tmp_path / "none.bmp")
    assert photo_orientation(path) == 6
    assert photo_orientation(tmp_path / "nine.png") == 1
    assert photo_orientation(tmp_path / "none.bmp") == 1


@pytest.mark.parametrize(
    ("width", "told"),
    [(512, None), (128, None), (127, "only 127x95 pixels"), (64, "only 64x48 pixels"), (63, ...)],
)
def test_photos_that_show_too_little(tmp_path: Path, width: int, told: object) -> None:
    """Of a patch of 16 network pixels two and four pixels of the file are the limits, at 512 pixels."""
    path = tmp_path / "small.png"
    Image.new("RGB", (width, round(0.75 * width))).save(path)
    photo = read_photo(path, size=512, patch_size=16)
    if told is ...:
        with pytest.raises(ImageError, match=r"small.png is too small .* 63x47 pixels, expected 64"):
            check_detail(photo, "small.png", patch_size=16)
        check_detail(read_photo(path, size=320, patch_size=16), "small.png", patch_size=16)
        return
    found = check_detail(photo, "small.png", patch_size=16)
    assert found is None if told is None else str(told) in str(found)
