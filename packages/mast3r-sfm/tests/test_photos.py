"""Image sets: names, masks, what is dropped and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_model import ImageError, InputError, load_image
from mast3r_sfm.photos import ImageSet, SourceImage, images_from_loaded, open_images


def save(path: Path, seed: int = 0, shape: tuple[int, int] = (48, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        save(tmp_path / "in" / f"a {number}.png", seed=number)
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    images = open_images([tmp_path / "in"], size=64)
    assert images.names == ("a 1.png", "a 2.png", "a 10.png")
    assert [image.shape for image in images] == [(48, 64)] * 3
    assert images.index("a 2.png") == 1
    with pytest.raises(InputError, match="no image is named"):
        images.index("b.png")


def test_names_are_relative_and_unique(tmp_path: Path) -> None:
    save(tmp_path / "left" / "0.png", seed=1)
    save(tmp_path / "right" / "0.png", seed=2)
    assert open_images([tmp_path], size=64, recursive=True).names == ("left/0.png", "right/0.png")
    both = open_images([tmp_path / "left", str(tmp_path / "right" / "*.png")], size=64)
    assert both.names == ("left/0.png", "right/0.png")
    with pytest.raises(InputError, match="two images are named"):
        ImageSet((both[0], both[0]))


def test_network_input_is_to_the_bit_that_of_load_image(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", shape=(90, 131))
    loaded = load_image(path, 64)
    image = open_images([path], size=64)[0]
    assert torch.equal(image.tensor(), loaded.tensor)
    assert image.transform == loaded.transform
    assert np.array_equal(image.original(), loaded.original)
    again = images_from_loaded([loaded], ["x"])[0]
    assert (again.name, again.digest) == ("x", image.digest)


def test_the_digest_follows_content_and_size(tmp_path: Path) -> None:
    path, copy, other = (
        save(tmp_path / name, seed) for name, seed in (("a.png", 0), ("b.png", 0), ("c.png", 1))
    )
    digests = [SourceImage.from_loaded(load_image(p, 64), "x").digest for p in (path, copy, other)]
    assert digests[0] == digests[1] != digests[2]
    assert SourceImage.from_loaded(load_image(path, 32), "x").digest != digests[0]


def test_what_cannot_be_used_is_dropped_with_its_reason(tmp_path: Path) -> None:
    save(tmp_path / "a.png", seed=0)
    save(tmp_path / "b.png", seed=0)
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "d.jpg").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    save(tmp_path / "e.png", seed=3)
    images = open_images([tmp_path], size=64)
    assert images.names == ("a.png", "e.png")
    reasons = {drop.name: drop.reason for drop in images.dropped}
    assert set(reasons) == {"b.png", "c.png", "d.jpg"}
    assert reasons["b.png"] == "the same picture as a.png"
    assert "empty" in reasons["c.png"]
    assert "damaged" in reasons["d.jpg"]
    assert open_images([tmp_path], size=64, keep_duplicates=True).names == ("a.png", "b.png", "e.png")


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no photos in"):
        open_images([tmp_path])
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 1 images can be used"):
        open_images([tmp_path])
    with pytest.raises(InputError, match="no folder for its frames"):
        open_images(["walk.mp4"])


def test_masks(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", seed=0, shape=(96, 128))
    save(tmp_path / "in" / "b.png", seed=1, shape=(96, 128))
    mask = np.full((96, 128), 255, dtype=np.uint8)
    mask[:, :64] = 0
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "b.png")
    images = open_images([tmp_path / "in"], size=64, masks=[tmp_path / "masks"])
    assert images[0].allowed is None
    assert images[1].allowed is not None
    assert images[1].allowed.shape == (48, 64)
    assert not images[1].allowed[:, :32].any()
    assert images[1].allowed[:, 32:].all()
    Image.fromarray(mask[:50]).save(tmp_path / "masks" / "b.png")
    with pytest.raises(ImageError, match="but its photo is"):
        open_images([tmp_path / "in"], size=64, masks=[tmp_path / "masks"])


def test_subset(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", seed=number)
    assert open_images([tmp_path], size=64).subset([2, 0]).names == ("2.png", "0.png")
