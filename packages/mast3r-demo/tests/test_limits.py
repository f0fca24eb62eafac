"""What is taken from visitors: by content and header alone, nothing that lies or explodes (spec 60 D4, D8)."""

from __future__ import annotations

import stat
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_demo.limits import Limits, check_pairs, check_photos, check_video, safe_unzip
from mast3r_demo.settings import ReconstructionSettings
from mast3r_demo.unzipping import MAX_ZIP_BYTES, unzip
from mast3r_model import InputError

LIMITS = Limits()


def photo(path: Path, kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> Path:
    Image.new("RGB", size, (90, 120, 150)).save(path, kind)
    return path


def png_that_claims(path: Path, width: int, height: int) -> Path:
    """A PNG of some hundred bytes whose header promises a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )
    return path


def refusal(path: Path, limits: Limits = LIMITS) -> str:
    checked = check_photos([path], limits)
    assert not checked.accepted
    (refused,) = checked.refused
    assert refused.path == path
    return refused.reason


def test_defaults_are_the_specifications() -> None:
    assert Limits() == Limits(
        max_photos=100,
        max_pixels=60_000_000,
        max_file_bytes=50 * 2**20,
        max_video_bytes=500 * 2**20,
        max_pairs=2000,
        max_frames=300,
        max_glb_bytes=300 * 2**20,
        queue_size=16,
        seconds=1800,
    )


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("BMP", ".bmp"), ("TIFF", ".tif")],
)
def test_formats_are_told_by_content(kind: str, suffix: str, tmp_path: Path) -> None:
    path = photo(tmp_path / "holiday.txt", kind)
    checked = check_photos([path], LIMITS)
    assert checked.accepted == (path,)
    assert checked.suffixes == (suffix,)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"GIF89a" + bytes(100),
        b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"PK\x03\x04" + bytes(30),
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_other_content_is_refused_whatever_its_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert refusal(path).startswith("photo.jpg is ")


def test_a_picture_of_another_format_is_refused(tmp_path: Path) -> None:
    Image.new("P", (8, 8)).save(tmp_path / "a.jpg", "GIF")
    assert refusal(tmp_path / "a.jpg").startswith("a.jpg is no photo: its content is none of JPEG, PNG")


def test_pixels_are_counted_before_decoding(tmp_path: Path) -> None:
    path = png_that_claims(tmp_path / "big.png", 10_000, 7_000)
    tracemalloc.start()
    assert refusal(path) == ("big.png has 10000x7000 = 70 million pixels; a photo may have 60 million.")
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()
    assert check_photos([png_that_claims(path, 10_000, 6_000)], LIMITS).accepted


def test_decompression_bomb(tmp_path: Path) -> None:
    path = png_that_claims(tmp_path / "bomb.png", 60_000, 60_000)
    assert path.stat().st_size < 1000
    assert refusal(path) == "bomb.png has far too many pixels; a photo may have 60 million."


def test_large_files(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg")
    with path.open("ab") as file:
        file.truncate(3 << 20)
    limits = Limits(max_file_bytes=2 << 20, max_video_bytes=2 << 20)
    assert refusal(path, limits) == "a.jpg has 3 MB; a photo may have 2 MB."
    with pytest.raises(InputError, match=r"a.jpg has 3 MB; a video may have 2 MB"):
        check_video(path, limits)
    check_video(path, LIMITS)


def test_links_and_folders_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    assert refusal(tmp_path / "link.jpg") == "link.jpg is no file."
    assert refusal(tmp_path) == f"{tmp_path.name} is no file."
    assert refusal(tmp_path / "gone.jpg") == "gone.jpg is no file."
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="no file"):
        check_video(tmp_path / "link.mp4", LIMITS)


def test_too_many_photos_are_named(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{number}.jpg") for number in range(4)]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    checked = check_photos([paths[0], broken, *paths[1:]], Limits(max_photos=3))
    assert checked.accepted == tuple(paths[:3])
    assert [refused.path for refused in checked.refused] == [broken, paths[3]]
    assert "more than 3 photos" in checked.refused[1].reason


def test_names_in_messages_are_one_short_line(tmp_path: Path) -> None:
    path = tmp_path / ("a\n\x1b[31mb" + "c" * 150 + ".jpg")
    path.write_bytes(b"x")
    reason = refusal(path)
    assert reason.isprintable()
    assert len(reason) < 200


def test_pairs_above_the_limit_propose_others() -> None:
    settings = ReconstructionSettings(graph="complete")
    check_pairs(settings.pair_count(60), 60, LIMITS, settings)
    with pytest.raises(InputError) as caught:
        check_pairs(settings.pair_count(100), 100, LIMITS, settings)
    assert caught.value.message == "100 photos make 4950 pairs this way, at most 2000 are taken"
    assert caught.value.hint is not None
    for graph, label in (("retrieval", "at most "), ("logwin", "makes "), ("swin", "makes ")):
        count = ReconstructionSettings(graph=graph).pair_count(100)  # type: ignore[arg-type]
        assert count <= 2000
        assert f"({graph}) makes {'at most ' if label == 'at most ' else ''}{count}" in caught.value.hint


def test_where_no_graph_helps_fewer_photos_do() -> None:
    with pytest.raises(InputError) as caught:
        check_pairs(1000, 100, Limits(max_pairs=50))
    assert caught.value.hint == "use fewer photos"


def make_zip(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_a_plain_zip_is_unpacked(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", ("sparse/0/cameras.bin", b"1"), ("sparse/", b""), ("b.txt", b"22"))
    files = safe_unzip(path, tmp_path / "out", LIMITS)
    assert {file.relative_to(tmp_path / "out").as_posix() for file in files} == {
        "sparse/0/cameras.bin",
        "b.txt",
    }
    assert (tmp_path / "out" / "b.txt").read_bytes() == b"22"
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def entry_of_mode(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = mode << 16
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        "../outside.txt",
        "a/../../outside.txt",
        "/outside.txt",
        "..\\outside.txt",
        "C:\\outside.txt",
        "C:outside.txt",
        entry_of_mode("link", stat.S_IFLNK | 0o777),
        entry_of_mode("pipe", stat.S_IFIFO | 0o644),
        entry_of_mode("device", stat.S_IFCHR | 0o644),
    ],
    ids=str,
)
def test_what_leads_outside_is_refused(entry: str | zipfile.ZipInfo, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = make_zip(tmp_path / "in" / "a.zip", ("first.txt", b"1"), (entry, b"/etc/passwd"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="holds"):
        safe_unzip(path, tmp_path / "in" / "out", LIMITS)
    assert sorted(tmp_path.rglob("*")) == before


def test_bombs(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "bomb.zip", ("zeros", bytes(5 << 20)))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match="unpacks to 5 MB, at most 4 MB"):
        unzip(path, tmp_path / "out", max_zip_bytes=1 << 20, max_bytes=4 << 20)
    with pytest.raises(InputError, match="too large"):
        unzip(path, tmp_path / "out", max_zip_bytes=100)
    many = make_zip(tmp_path / "many.zip", *((f"{number}", b"") for number in range(10_001)))
    with pytest.raises(InputError, match="holds 10001 files"):
        safe_unzip(many, tmp_path / "out", LIMITS)
    assert not (tmp_path / "out").exists()
    assert MAX_ZIP_BYTES == 2 << 30


def test_a_zip_whose_list_lies(tmp_path: Path) -> None:
    """5 MB that claim to be 5 bytes."""
    path = make_zip(tmp_path / "liar.zip", ("zeros", bytes(5 << 20)))
    size = struct.pack("<I", 5 << 20)
    assert path.read_bytes().count(size) == 2
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 5)))
    with pytest.raises(InputError, match=r"cannot be unpacked|holds more than"):
        safe_unzip(path, tmp_path / "out", LIMITS)
    assert sorted(tmp_path.iterdir()) == [path]


def test_broken_zips(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\x03\x04nonsense")
    with pytest.raises(InputError, match=r"a.zip cannot be unpacked: File is not a zip file"):
        safe_unzip(path, tmp_path / "out", LIMITS)
    make_zip(path, ("a.txt", bytes(range(256)) * 100))
    data = bytearray(path.read_bytes())
    data[60:80] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be unpacked"):
        safe_unzip(path, tmp_path / "out", LIMITS)
    make_zip(path, ("a", b"1"), ("a/b", b"2"))
    with pytest.raises(InputError, match="a file and a folder of one name"):
        safe_unzip(path, tmp_path / "out", LIMITS)
    (tmp_path / "link.zip").symlink_to(path)
    with pytest.raises(InputError, match="is no file"):
        safe_unzip(tmp_path / "link.zip", tmp_path / "out", LIMITS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(compression: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", compression) as archive:
        archive.writestr("a.txt", b"1")
    with pytest.raises(InputError, match="compressed in an unusual way"):
        safe_unzip(tmp_path / "a.zip", tmp_path / "out", LIMITS)


def test_random_damage_is_never_more_than_a_refusal(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "a.zip", ("a/b.txt", bytes(range(256)) * 8), ("c.txt", b"1")).read_bytes()
    random = np.random.default_rng(0)
    for trial in range(300):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 4):
            data[place] = random.integers(0, 256)
        path, folder = tmp_path / "damaged.zip", tmp_path / f"out{trial}"
        path.write_bytes(data)
        with suppress(InputError):
            for file in safe_unzip(path, folder, LIMITS):
                assert file.is_relative_to(folder)
                assert ".." not in file.parts
    assert {path.name.rstrip("0123456789") for path in tmp_path.iterdir()} <= {"a.zip", "damaged.zip", "out"}


def test_encrypted_zips_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", ("a.txt", b"1"))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="is encrypted"):
        safe_unzip(path, tmp_path / "out", LIMITS)
