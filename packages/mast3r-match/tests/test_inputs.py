"""Photos, pairs and masks as the command line names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_match.inputs import find_masks, find_pairs, find_photos, natural_order
from mast3r_model import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """img1, img2, img10 and a note, and one photo a level deeper."""
    for name in ("img10.jpg", "img2.JPG", "img1.png", "deep/img3.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "note.md").touch()
    return tmp_path


def names(photos: list[Path]) -> list[str]:
    return [path.name for path in photos]


def test_folders_are_in_natural_order(folder: Path) -> None:
    assert names(find_photos([folder])) == ["img1.png", "img2.JPG", "img10.jpg"]
    assert "img3.jpg" in names(find_photos([folder], recursive=True))


def test_globs_lists_and_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(find_photos([f"{folder}/img1*"])) == ["img1.png", "img10.jpg"]
    (folder / "list.txt").write_text("# photos\nimg2.JPG\n\nimg1.png\n")
    assert names(find_photos([folder / "list.txt", folder / "img2.JPG"])) == ["img2.JPG", "img1.png"]
    monkeypatch.chdir(folder)
    assert find_photos(["absent.jpg"]) == [Path("absent.jpg")]  # the loader says what is wrong with it
    for given_name in ("none*.jpg", "deep/none*.jpg"):
        with pytest.raises(InputError, match="no file matches"):
            find_photos([given_name])
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no photos in empty"):
        find_photos(["empty"])


def test_all_pairs_of_a_folder(folder: Path) -> None:
    found = find_pairs([folder])
    assert found.pairs == ((0, 1), (0, 2), (1, 2))


def test_pairs_file(folder: Path) -> None:
    listing = folder / "pairs.txt"
    listing.write_text("img1.png, img10.jpg, 0.5\nimg10.jpg, img2.JPG, 0.4\nimg1.png, img10.jpg, 0.5\n")
    for inputs, file in (([listing], None), ([folder], listing), ([], listing)):
        found = find_pairs(inputs, file)
        assert names(list(found.photos)) == ["img1.png", "img10.jpg", "img2.JPG"]
        assert found.pairs == ((0, 1), (1, 2))
        assert all(path.exists() for path in found.photos)
    listing.write_text("img1.png img1.png\n")
    with pytest.raises(InputError, match="paired with itself"):
        find_pairs([], listing)
    listing.write_text("img1.png\n")
    with pytest.raises(InputError, match="two photos a line"):
        find_pairs([folder], listing)
    listing.write_text("# nothing\n")
    with pytest.raises(InputError, match="lists no pairs"):
        find_pairs([folder], listing)


def test_pairs_of_a_folder_of_folders(tmp_path: Path) -> None:
    """As in kapture's lists: names are relative to the folder, which holds no photo itself."""
    for name in ("left/1.jpg", "right/1.jpg", "right/2.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    listing = tmp_path / "pairs.txt"
    listing.write_text("left/1.jpg, right/1.jpg, 1.0\n")
    found = find_pairs([tmp_path / "photos"], listing)
    assert found.photos == (tmp_path / "photos/left/1.jpg", tmp_path / "photos/right/1.jpg")
    listing.write_text("2.jpg, right/1.jpg, 1.0\n")
    found = find_pairs([tmp_path / "photos"], listing, recursive=True)
    assert found.photos == (tmp_path / "photos/right/2.jpg", tmp_path / "photos/right/1.jpg")


def test_names_with_spaces_and_commas_in_a_list_of_photos(tmp_path: Path) -> None:
    for name in ("my photo.jpg", "me, you.jpg"):
        (tmp_path / name).touch()
    listing = tmp_path / "list.txt"
    listing.write_text("my photo.jpg\nme, you.jpg\n")
    assert names(list(find_pairs([listing]).photos)) == ["my photo.jpg", "me, you.jpg"]


def test_masks(folder: Path) -> None:
    photos = [folder / "img1.png", folder / "img2.JPG", folder / "img10.jpg"]
    masks = folder / "masks"
    masks.mkdir()
    with pytest.raises(InputError, match="no mask of these photos"):
        find_masks([masks], photos)
    (masks / "img1.png").touch()
    (masks / "img10.jpg.png").touch()
    assert find_masks([masks], photos) == [masks / "img1.png", None, masks / "img10.jpg.png"]
    assert find_masks([], photos) == [None] * 3
    assert find_masks(photos, photos) == photos
    with pytest.raises(InputError, match="2 masks for 3 photos"):
        find_masks(photos[:2], photos)


@given(st.lists(st.from_regex(r"[a-z]{0,2}\d{0,3}[a-z]?", fullmatch=True), max_size=8))
def test_natural_order_sorts_anything(texts: list[str]) -> None:
    ordered = sorted(map(Path, texts), key=natural_order)
    assert sorted(ordered, key=natural_order) == ordered
    numbers = sorted((Path(f"a{n}") for n in (10, 9, 100)), key=natural_order)
    assert [path.name for path in numbers] == ["a9", "a10", "a100"]
