"""Folders of image pairs: upstream's layouts and the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_model import ConfigError, InputError
from mast3r_train.croco import CompletionPairs, find_sources, parse_transforms
from mast3r_train.croco.text_lines import TextLines
from mast3r_train.errors import SampleError


def _picture(path: Path, value: int = 90, size: tuple[int, int] = (40, 36)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def _names(text: str, data_dir: Path) -> list[tuple[str, str]]:
    return [
        (str(first.relative_to(source.folder)), str(second.relative_to(source.folder)))
        for source in find_sources(text, data_dir)
        for first, second in map(source.pair, range(len(source)))
    ]


def test_lines_are_a_sequence() -> None:
    lines = TextLines(["a", "", "ü/b c", "last"])
    assert list(lines) == ["a", "", "ü/b c", "last"]
    assert lines[-1] == "last"
    assert lines[1:3] == ["", "ü/b c"]
    assert len(TextLines([])) == 0
    with pytest.raises(IndexError):
        lines[4]


def test_habitat_is_walked_once_and_its_list_is_kept(tmp_path: Path) -> None:
    root = tmp_path / "habitat_release"
    for name in ("b/2_1", "b/2_2", "a/1_1", "a/1_2", "a/single_1", "gibson/val/x_1", "gibson/val/x_2"):
        _picture(root / f"{name}.jpeg")
    _picture(root / "a" / "other_1.png")
    _picture(root / "a" / "other_2.png")
    expected = [("a/1_1.jpeg", "a/1_2.jpeg"), ("b/2_1.jpeg", "b/2_2.jpeg")]
    assert _names("habitat_release", tmp_path) == expected
    assert (root / "pairs.txt").read_text() == "a/1_1.jpeg a/1_2.jpeg\nb/2_1.jpeg b/2_2.jpeg\n"
    (root / "pairs.txt").write_text("b/2_2.jpeg a/1_1.jpeg\n")
    assert _names("habitat_release", tmp_path) == [("b/2_2.jpeg", "a/1_1.jpeg")]


def test_a_path_with_val_above_the_folder_is_no_reason_to_skip(tmp_path: Path) -> None:
    _picture(tmp_path / "valentin" / "habitat_release" / "a_1.jpeg")
    _picture(tmp_path / "valentin" / "habitat_release" / "a_2.jpeg")
    assert _names("habitat_release", tmp_path / "valentin") == [("a_1.jpeg", "a_2.jpeg")]


@pytest.mark.parametrize("name", ["ARKitScenes", "MegaDepth", "3DStreetView", "IndoorVL", "Mine"])
def test_crops_have_a_listing_of_stems(tmp_path: Path, name: str) -> None:
    folder = tmp_path / f"{name}_crops"
    folder.mkdir()
    (folder / "listing.txt").write_text("# stems\n00/a\n\n00/b\n")
    assert _names(name, tmp_path) == [("00/a_1.jpg", "00/a_2.jpg"), ("00/b_1.jpg", "00/b_2.jpg")]


def test_own_folder_of_photos_with_any_suffix(tmp_path: Path) -> None:
    for name in ("z_1.JPG", "z_2.JPG", "sub/a b_1.png", "sub/a b_2.jpg", "lonely_1.jpg", "notes_1.txt"):
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "own" / name).touch()
    expected = [("z_1.JPG", "z_2.JPG"), ("sub/a b_1.png", "sub/a b_2.jpg")]
    assert _names(f"folder:{tmp_path / 'own'}", tmp_path) == expected
    assert _names(str(tmp_path / "own"), tmp_path) == expected
    assert not (tmp_path / "own" / "pairs.txt").exists()


def test_own_folder_with_a_list(tmp_path: Path) -> None:
    listed, paired = tmp_path / "listed", tmp_path / "a+b"
    listed.mkdir()
    paired.mkdir()
    (listed / "listing.txt").write_text("x\n")
    (paired / "pairs.txt").write_text("# two photos\none.jpg two.png\n")
    assert _names(str(listed), tmp_path) == [("x_1.jpg", "x_2.jpg")]
    assert _names(str(paired), tmp_path) == [("one.jpg", "two.png")]
    assert len(_names(f"folder:{listed} + folder:{listed}", tmp_path)) == 2


def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a known name nor a folder") as caught:
        find_sources("habitat_relaese", tmp_path)
    assert "habitat_release" in str(caught.value.hint)
    for incomplete in ("+habitat_release", "folder:", ""):
        with pytest.raises(ConfigError):
            find_sources(incomplete, tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_sources("habitat_release", tmp_path)
    with pytest.raises(InputError, match=r"no such list: .*MegaDepth_crops.*listing\.txt"):
        find_sources("MegaDepth", tmp_path)
    with pytest.raises(InputError, match="no such folder of pairs"):
        find_sources(f"folder:{tmp_path / 'none'}", tmp_path)
    with pytest.raises(InputError, match="no pairs in"):
        find_sources(str(tmp_path), tmp_path)
    (tmp_path / "pairs.txt").write_text("a.jpg b.jpg c.jpg\n")
    with pytest.raises(InputError, match="is no pair"):
        find_sources(str(tmp_path), tmp_path)[0].pair(0)


def test_items_come_from_their_folder(tmp_path: Path) -> None:
    for folder, value in (("first", 10), ("second", 200)):
        for name in ("a", "b"):
            _picture(tmp_path / folder / f"{name}_1.png", value)
            _picture(tmp_path / folder / f"{name}_2.png", value + 20)
    sources = find_sources(f"{tmp_path / 'first'}+{tmp_path / 'second'}", tmp_path)
    pairs = CompletionPairs(sources, parse_transforms("crop32"))
    assert len(pairs) == 4
    view1, view2 = pairs[(2, 0)]
    assert (view1["dataset"], view1["label"]) == (str(tmp_path / "second"), "0")
    assert view1["instance"] == str(tmp_path / "second" / "a_1.png")
    red = [(200 / 255 - 0.485) / 0.229, (220 / 255 - 0.485) / 0.229]
    np.testing.assert_allclose([float(view["img"][0, 3, 4]) for view in (view1, view2)], red, rtol=1e-6)
    with pytest.raises(IndexError):
        pairs[4]


def test_unreadable_and_small_images_are_bad_samples(tmp_path: Path) -> None:
    _picture(tmp_path / "a_1.png")
    (tmp_path / "a_2.png").write_bytes(b"no picture")
    _picture(tmp_path / "b_1.png", size=(20, 40))
    _picture(tmp_path / "b_2.png")
    (tmp_path / "listing.txt").write_text("missing\n")
    with pytest.raises(SampleError, match=r"missing_1\.jpg"):
        CompletionPairs(find_sources(str(tmp_path), tmp_path), parse_transforms("crop32"))[0]
    (tmp_path / "listing.txt").unlink()
    pairs = CompletionPairs(find_sources(str(tmp_path), tmp_path), parse_transforms("crop32"))
    torch.manual_seed(0)
    with pytest.raises(SampleError, match=r"a_2\.png"):
        pairs[0]
    with pytest.raises(SampleError, match=r"b_1\.png.*20x40"):
        pairs[1]
