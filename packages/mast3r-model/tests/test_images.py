"""The image loader against upstream's outputs, and its errors (spec 10 S10.1, spec 20 section 6)."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_model.errors import ImageError, InputError
from mast3r_model.image_transform import ImageTransform
from mast3r_model.images import (
    apply_transform,
    crop_and_resize_transform,
    load_image,
    load_images,
    load_mask,
    nearest_network_shape,
    reading,
)

Goldens = Callable[[str], Path]


def to_pixels(tensor: torch.Tensor) -> np.ndarray:
    """A network input (3, h, w) back to uint8 (h, w, 3)."""
    return torch.round((tensor * 0.5 + 0.5) * 255).to(torch.uint8).permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    "call", ["s64", "s64_square_ok", "s70_patch14", "s70_patch14_square_ok", "s80", "s224", "s512"]
)
def test_equal_to_upstream(call: str, goldens: Goldens) -> None:
    expected = json.loads(goldens("model/load_images.json").read_text())[call]
    pixels = np.load(goldens("model/load_images.npz"))
    folder = goldens("model/images")
    views = load_images([folder / name for name in expected["files"]], expected["size"], **expected["kwargs"])
    assert len(views) == len(expected["out"])
    for name, view, out in zip(expected["files"], views, expected["out"], strict=True):
        assert view["true_shape"].tolist() == out["true_shape"]
        assert view["true_shape"].dtype == np.int32
        assert list(view["img"].shape) == out["img_shape"]
        assert view["img"].dtype == torch.float32
        assert (view["idx"], view["instance"]) == (out["idx"], out["instance"])
        image = to_pixels(view["img"][0])
        assert int(image.astype(np.int64).sum()) == out["pixel_sum"]
        step = expected["subsampling"]
        np.testing.assert_array_equal(image[::step, ::step], pixels[f"{call}/{name}"])
        assert view["transform"].network_shape == tuple(out["true_shape"][0])
        single = load_image(folder / name, expected["size"], **expected["kwargs"])
        assert torch.equal(single.tensor, view["img"][0])
        assert single.original.shape[:2] == view["transform"].original_shape
        assert single.transform == view["transform"]


def test_folder(goldens: Goldens) -> None:
    expected = json.loads(goldens("model/load_images.json").read_text())["folder"]
    views = load_images(str(goldens("model/images")), size=expected.get("size", 64))
    assert [v["idx"] for v in views] == list(range(8))


def test_transform_agrees_with_the_pixels(tmp_path: Path) -> None:
    """A gradient image: the network's value at a pixel is the photo's value where the transform says."""
    ramp = np.tile(np.linspace(0, 255, 400), (303, 1)).astype(np.uint8)
    Image.fromarray(np.stack([ramp] * 3, -1)).save(tmp_path / "ramp.png")
    loaded = load_image(tmp_path / "ramp.png", 128)
    xs = np.arange(10, 118)
    photo_x = loaded.transform.points_to_original(np.stack([xs, np.full_like(xs, 50)], -1))[:, 0]
    values = (loaded.tensor[0, 50, 10:118].numpy() * 0.5 + 0.5) * 255
    np.testing.assert_allclose(values, photo_x * 255 / 399, atol=1.0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, tmp_path: Path) -> None:
    upright = np.zeros((40, 64, 3), np.uint8)
    upright[:20, :32] = [255, 0, 0]
    image = Image.fromarray(upright)
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
            7: "TRANSVERSE", 8: "ROTATE_270"}.get(orientation)  # fmt: skip
    stored = image.transpose(Image.Transpose[undo]) if undo else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "a.png", 64).original, upright)


def test_sixteen_bit_grey(tmp_path: Path) -> None:
    grey = (np.arange(32 * 32, dtype=np.uint16) * 64).reshape(32, 32)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(load_image(tmp_path / "deep.png", 32).original[..., 0], grey >> 8)


def broken_files(folder: Path) -> dict[str, Path]:
    """One file of every kind that must be refused."""
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for name in ("good.jpg", "good.png"):
        image.save(folder / name)
    files = {name: folder / name for name in ("missing.jpg", "empty.jpg", "text.jpg", "cut.jpg", "cut.png")}
    files["empty.jpg"].write_bytes(b"")
    files["text.jpg"].write_text("I am a text file\n" * 10)
    for name in ("cut.jpg", "cut.png"):
        whole = (folder / name.replace("cut", "good")).read_bytes()
        files[name].write_bytes(whole[: len(whole) // 2])
    for name, size in {"dot.png": (1, 1), "line.png": (4000, 8), "tall.png": (8, 200)}.items():
        files[name] = folder / name
        Image.new("RGB", size).save(files[name])
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    files["bomb.png"] = folder / "bomb.png"
    files["bomb.png"].write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
        )
    )  # fmt: skip
    files["folder.jpg"] = folder / "folder.jpg"
    files["folder.jpg"].mkdir()
    return files


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.jpg", "no such"),
        ("empty.jpg", "empty"),
        ("text.jpg", "not an image"),
        ("cut.jpg", "truncated"),
        ("cut.png", "truncated"),
        ("dot.png", "1x1"),
        ("line.png", "elongated"),
        ("bomb.png", "decompression bomb"),
        ("folder.jpg", "folder"),
    ],
)
def test_bad_files_are_named(name: str, reason: str, tmp_path: Path) -> None:
    path = broken_files(tmp_path)[name]
    for load in (lambda: load_image(path), lambda: load_images([tmp_path / "good.jpg", path])):
        with pytest.raises(ImageError, match=reason) as error:
            load()
        assert name in str(error.value)
        assert "\n" not in str(error.value)


def test_elongated_at_224(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="elongated"):
        load_image(broken_files(tmp_path)["line.png"], 224)


def test_nothing_to_load(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such folder"):
        load_images(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ImageError, match="no images"):
        load_images(tmp_path)
    with pytest.raises(ImageError, match="nothing"):
        load_images([])
    with pytest.raises(InputError, match="int"):
        load_images(3)  # type: ignore[arg-type]


def test_heic_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    reading.heif_available.cache_clear()
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(ImageError, match=r"phone\.heic") as error:
        load_images([path])
    assert "mast3r-model[heic]" in (error.value.hint or "")
    Image.new("RGB", (32, 32)).save(tmp_path / "b.png")
    assert len(load_images(tmp_path, 32)) == 1
    reading.heif_available.cache_clear()


def test_heic_is_read(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    image = np.full((32, 48, 3), 90, np.uint8)
    image[:, 24:] = 200
    heif.from_pillow(Image.fromarray(image)).save(tmp_path / "phone.HEIC")
    (loaded,) = load_images(tmp_path, 48)
    assert loaded["true_shape"].tolist() == [[32, 48]]
    np.testing.assert_allclose(to_pixels(loaded["img"][0]), image, atol=8)  # HEIC is lossy


def test_mask(tmp_path: Path) -> None:
    usable = np.zeros((30, 40), bool)
    usable[5:20, 10:35] = True
    Image.fromarray(usable).save(tmp_path / "bits.png")
    Image.fromarray(usable.astype(np.uint8)).save(tmp_path / "ones.png")
    Image.fromarray(usable.astype(np.uint16) * 3).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([usable * np.uint8(200)] * 3 + [np.full((30, 40), 255, np.uint8)])).save(
        tmp_path / "rgba.png"
    )
    for name in ("bits", "ones", "deep", "rgba"):
        mask = load_mask(tmp_path / f"{name}.png", (30, 40))
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, usable)
    with pytest.raises(ImageError, match=r"bits.png is 40x30 .* 30x40"):
        load_mask(tmp_path / "bits.png", (40, 30))


def test_nearest_network_shape(goldens: Goldens) -> None:
    for case in json.loads(goldens("sfm/matching/coarse_to_fine.json").read_text())["hw_resolution"]:
        assert nearest_network_shape((case["H"], case["W"])) == tuple(case["out"]), case
    assert nearest_network_shape((300, 700), 224) == (224, 224)
    with pytest.raises(InputError, match="512"):
        nearest_network_shape((300, 700), 300)


def test_crop_and_resize(goldens: Goldens) -> None:
    for case in json.loads(goldens("sfm/matching/coarse_to_fine.json").read_text())["resize_fn"]:
        transform = crop_and_resize_transform((case["H"], case["W"]))
        np.testing.assert_allclose(
            transform.matrix_to_original(pixels="corner"), case["to_orig"], rtol=1e-12, atol=1e-9
        )
        np.testing.assert_allclose(
            transform.matrix_to_network(pixels="corner"), case["to_rescaled"], rtol=1e-12, atol=1e-9
        )


def test_apply_transform() -> None:
    ramp = np.tile(np.linspace(0, 255, 1024).round(), (683, 1)).astype(np.uint8)
    photo = Image.fromarray(ramp)
    transform = crop_and_resize_transform((683, 1024))
    resized = np.asarray(apply_transform(photo, transform))
    assert resized.shape == (336, 512)
    xs = transform.points_to_original(np.stack([np.arange(512), np.zeros(512)], -1))[:, 0]
    np.testing.assert_allclose(resized[100, 5:-5], (xs * 255 / 1023)[5:-5], atol=1.0)
    same = Image.new("L", (512, 288))
    assert apply_transform(same, crop_and_resize_transform((288, 512))) is same
    with pytest.raises(InputError, match="transform is for"):
        apply_transform(same, transform)
    assert crop_and_resize_transform((288, 512)) == ImageTransform.identity((288, 512))
