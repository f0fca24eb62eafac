"""Pairs, query lists, depth maps, scans and alignments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from mast3r_model import ImageError, InputError
from mast3r_visloc.formats import (
    Pair,
    open_raw_photo,
    read_alignment,
    read_depth,
    read_pairs,
    read_query_list,
    read_scan,
    write_depth,
    write_pairs,
)

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters=",", exclude_categories=["C", "Z"]), min_size=1
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_pairs_are_sorted_by_score_and_ties_keep_their_order(tmp_path: Path) -> None:
    text = (
        "# q, m, score\nq, low, 0.1\nq, first, 0.5\nother, x, 1\nq, second, 0.5\nq, best, 0.9\nq, low, 0.1\n"
    )
    pairs = read_pairs(write(tmp_path / "p.txt", text))
    assert [pair.map_image for pair in pairs["q"]] == ["best", "first", "second", "low", "low"]
    assert list(pairs) == ["q", "other"]
    assert pairs["other"] == (Pair("other", "x", 1.0),)


def test_hloc_pairs_keep_the_files_order(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.txt", "query/a.jpg database/cutouts/z.jpg\nquery/a.jpg database/cutouts/b.jpg\n"
    )
    pairs = read_pairs(path, hloc_prefixes=("query/", "database/cutouts/"))
    assert pairs == {"a.jpg": (Pair("a.jpg", "z.jpg", 1.0), Pair("a.jpg", "b.jpg", 1.0))}
    assert set(read_pairs(path)) == {"query/a.jpg"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a, b, 0.5\na, b\n", "line 2: expected 'query, map image, score'"),
        ("a, b, high\n", "line 1: could not convert"),
        ("a, b, nan\n", "not finite"),
        ("a, , 1\n", "a name is empty"),
        ("# c\na b\na b c\n", "line 3: expected 'query, map image, score' or"),
        ("# nothing\n\n", "lists no pairs"),
    ],
)
def test_pairs_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pairs(write(tmp_path / "p.txt", text))


@given(
    st.lists(st.tuples(NAMES, NAMES, st.floats(-1e6, 1e6)), min_size=1), st.sampled_from(["kapture", "hloc"])
)
def test_pairs_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, float]], form: str
) -> None:
    given_pairs = [Pair(f"q{query}", f"m{name}", score) for query, name, score in rows]
    path = tmp_path_factory.mktemp("pairs") / "p.txt"
    write_pairs(path, given_pairs, form)  # type: ignore[arg-type]
    found = [pair for pairs in read_pairs(path).values() for pair in pairs]
    if form == "hloc":
        given_pairs = [Pair(pair.query, pair.map_image) for pair in given_pairs]
    assert sorted(found, key=repr) == sorted(given_pairs, key=repr)


@pytest.mark.parametrize("name", ["a, b", " a", "a\nb", "#a", ""])
def test_names_that_a_pairs_file_cannot_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot hold"):
        write_pairs(tmp_path / "p.txt", [Pair(name, "m")])
    assert not (tmp_path / "p.txt").exists()


def test_query_lists(tmp_path: Path) -> None:
    first = write(tmp_path / "1.txt", "# day\nday/a.jpg SIMPLE_RADIAL 1600 1200 1469.2 800 600 -0.01\n")
    second = write(tmp_path / "2.txt", "night/b.jpg PINHOLE 640 480 500 510 320 240\n\n")
    cameras = read_query_list([first, second])
    assert list(cameras) == ["day/a.jpg", "night/b.jpg"]
    assert cameras["day/a.jpg"].params == (1469.2, 800, 600, -0.01)
    np.testing.assert_allclose(cameras["night/b.jpg"].intrinsics[:2, 2], [319.5, 239.5])
    assert read_query_list(second) == {"night/b.jpg": cameras["night/b.jpg"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg\n", "line 1: expected 'name MODEL width height params...'"),
        ("a.jpg PINHOLE 640 x 1 1 1 1\n", "line 1: the size must be a whole number"),
        ("a.jpg PINHOLE 640 480 1 1 1\n", "line 1: camera model PINHOLE has 4 parameters, got 3"),
        ("a.jpg FISHBOWL 640 480 1\n", "line 1: unknown camera model"),
        ("a.jpg PINHOLE 640 480 1 1 1 y\n", "line 1: could not convert"),
        ("a PINHOLE 6 4 1 1 1 1\na PINHOLE 6 4 1 1 1 1\n", "line 2: the query 'a' is given twice"),
        ("", "no query in"),
    ],
)
def test_query_lists_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_query_list(write(tmp_path / "q.txt", text))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_depth_maps_come_back(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int
) -> None:
    depth = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    path = tmp_path_factory.mktemp("depth") / "a.depth"
    write_depth(path, depth)
    np.testing.assert_array_equal(read_depth(path, (height, width)), depth)
    assert path.read_bytes()[:4] == np.array(depth[0, 0], dtype="<f4").tobytes()


def test_depth_maps_of_another_size_are_refused(tmp_path: Path) -> None:
    write_depth(tmp_path / "a.depth", np.zeros((3, 4)))
    with pytest.raises(InputError, match="has 48 bytes, expected 80 for 5x4 pixels"):
        read_depth(tmp_path / "a.depth", (4, 5))
    with pytest.raises(InputError, match=r"b\.depth"):
        read_depth(tmp_path / "b.depth", (4, 5))


def test_scans(tmp_path: Path) -> None:
    points = np.arange(24, dtype=np.float64).reshape(2, 4, 3)
    savemat(tmp_path / "a.jpg.mat", {"XYZcut": points, "RGBcut": np.zeros((2, 4, 3), dtype=np.uint8)})
    np.testing.assert_array_equal(read_scan(tmp_path / "a.jpg.mat"), points)


def test_scans_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the scan"):
        read_scan(tmp_path / "missing.mat")
    with pytest.raises(InputError, match="cannot read the scan"):
        read_scan(write(tmp_path / "text.mat", "XYZcut = 1, and so on, for more than a header's length" * 9))
    savemat(tmp_path / "other.mat", {"XYZ": np.zeros((2, 4, 3))})
    with pytest.raises(InputError, match="no array XYZcut"):
        read_scan(tmp_path / "other.mat")
    savemat(tmp_path / "flat.mat", {"XYZcut": np.zeros((2, 4))})
    with pytest.raises(InputError, match="no array XYZcut"):
        read_scan(tmp_path / "flat.mat")
    savemat(tmp_path / "complex.mat", {"XYZcut": np.ones((2, 4, 3)) * 1j})
    with pytest.raises(InputError, match="real numbers"):
        read_scan(tmp_path / "complex.mat")


ROWS = "1 0 0 5\n0  1   0\t6\n0 0 1 7\n0 0 0 1\n"


def test_alignments_take_the_last_block(tmp_path: Path) -> None:
    text = f"000\nBefore general icp:\n{ROWS.replace('5', '9')}After general icp:\n{ROWS}\n013\nAfter general icp:\n{ROWS}"
    found = read_alignment(write(tmp_path / "a.txt", text))
    assert list(found) == ["000", "013"]
    np.testing.assert_array_equal(found["000"], [[1, 0, 0, 5], [0, 1, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"After general icp:\n{ROWS}", "line 1: no scan id"),
        ("000\nAfter general icp:\n1 2 3 4\n", "line 2: the file ends"),
        ("000\nAfter general icp:\n1 2 3\n", "line 3: expected four numbers"),
        ("000\nAfter general icp:\n1 2 3 x\n", "line 3: could not convert"),
        ("000\nBefore general icp:\n", "has no line 'After general icp:'"),
    ],
)
def test_alignments_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_alignment(write(tmp_path / "a.txt", text))


def test_photos_are_not_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 30), 7).save(tmp_path / "a.jpg", exif=exif)
    photo = open_raw_photo(tmp_path / "a.jpg")
    assert photo.size == (40, 30)
    assert photo.mode == "RGB"


def test_photos_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such photo"):
        open_raw_photo(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="not an image"):
        open_raw_photo(write(tmp_path / "b.jpg", "text"))
    Image.effect_noise((64, 64), 50).save(tmp_path / "c.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes()[:500])
    with pytest.raises(ImageError, match="damaged"):
        open_raw_photo(tmp_path / "c.png")
