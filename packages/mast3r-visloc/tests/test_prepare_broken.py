"""Releases with broken files: said in one line that names the file, and what can be made is made (spec 50 D8)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mast3r_model import InputError, Mast3rError, OutputError
from mast3r_visloc.preparing import PreparationReport, PreparationRequest, prepare

from .raw_releases import make_cambridge, make_inloc, make_seven_scenes

MAKERS = {"cambridge": make_cambridge, "inloc": make_inloc, "7scenes": make_seven_scenes}
DUC2 = "raw/database/alignments/DUC2/transformations/DUC_trans_013.txt"


def run(benchmark: str, folder: Path, **options: object) -> PreparationReport:
    request = PreparationRequest(benchmark, folder / "raw", folder / "out", **options)  # type: ignore[arg-type]
    return prepare(request)


@pytest.mark.parametrize(
    ("benchmark", "file", "content", "said"),
    [
        ("7scenes", "raw/chess/TrainSplit.txt", "second\n", "TrainSplit.txt is no list of sequences"),
        ("7scenes", "raw/chess/TestSplit.txt", "", "TestSplit.txt is no list of sequences"),
        ("cambridge", "raw/ShopFacade/dataset_test.txt", "a\nb\n\n", "dataset_test.txt lists no photo"),
        (
            "cambridge",
            "raw/ShopFacade/dataset_test.txt",
            "a b c d e f g h\n",
            "dataset_test.txt lists no photo",
        ),
        ("inloc", DUC2, "nothing\n", "DUC_trans_013.txt is no alignment of a scan"),
        ("inloc", DUC2, "After general icp:\n1 0 0 0\n", "line 2: expected four lines of four numbers"),
        ("inloc", DUC2, "After general icp:\n" + "1 0 0 x\n" * 4, "line 2: expected four lines of four"),
    ],
)
def test_what_nothing_can_be_made_of(
    tmp_path: Path, benchmark: str, file: str, content: str, said: str
) -> None:
    MAKERS[benchmark](tmp_path / "raw")
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError) as caught:
        run(benchmark, tmp_path)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("content", ["1 0 0 0\n" * 4, "nan 0 0 0\n" * 4, "one\n"])
def test_frames_with_a_pose_that_is_none_are_left_out(tmp_path: Path, content: str) -> None:
    make_seven_scenes(tmp_path / "raw")
    pose = tmp_path / "raw/chess/seq-01/frame-000001.pose.txt"
    pose.write_text(content)
    problems = run("7scenes", tmp_path).problems
    assert f"{pose} is no pose" in problems["chess/query/sensors/records_data/seq-01/frame-000001.color.png"]
    records = tmp_path / "out/chess/query/sensors/records_camera.txt"
    assert "frame-000000" in records.read_text()
    assert "frame-000001" not in records.read_text()


def test_photos_that_are_none_are_left_out(tmp_path: Path) -> None:
    make_cambridge(tmp_path / "raw")
    broken = tmp_path / "raw/ShopFacade/seq2/frame00001.png"
    broken.write_bytes(b"no photo")
    assert (
        f"cannot read the photo {broken}"
        in run("cambridge", tmp_path).problems["ShopFacade/seq2/frame00001.png"]
    )
    make_inloc(tmp_path / "second/raw")
    broken = next((tmp_path / "second/raw/database/cutouts/DUC1/000").glob("*.png"))
    broken.write_bytes(b"no photo")
    problems = run("inloc", tmp_path / "second").problems
    assert f"cannot read the photo {broken}" in problems[f"DUC1/000/{broken.name}"]


def test_a_building_that_is_not_there_is_named(tmp_path: Path) -> None:
    make_inloc(tmp_path / "raw")
    shutil.rmtree(tmp_path / "raw/database/cutouts/DUC2")
    report = run("inloc", tmp_path)
    assert report.problems["DUC2"] == f"not found: {tmp_path / 'raw/database/cutouts/DUC2'}"
    shutil.rmtree(tmp_path / "raw/database/cutouts/DUC1")
    (tmp_path / "raw/database/cutouts/DUC1").mkdir()
    shutil.rmtree(tmp_path / "out")
    texts = " ".join(run("inloc", tmp_path).problems.values())
    assert "there is no map" in texts


def test_aachens_queries_with_a_camera_that_upstream_does_not_read(tmp_path: Path, goldens: Path) -> None:
    recorded = goldens / "datasets" / "Aachen-Day-Night-v1.1"
    shutil.copytree(recorded / "images", tmp_path / "raw/images")
    shutil.copytree(
        recorded / "mapping/colmap/reconstruction", tmp_path / "raw/mapping/colmap/reconstruction"
    )
    lists = tmp_path / "raw/day_time_queries_with_intrinsics.txt"
    lists.write_text("query/day/nexus5x/IMG_1.png OPENCV 288 216 200 200 144 108 0 0 0 0\n")
    with pytest.raises(InputError, match="has a OPENCV camera, expected SIMPLE_PINHOLE or SIMPLE_RADIAL"):
        run("aachen", tmp_path)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"scenes": ("chees",)}, InputError, "unknown scene 'chees'"),
        ({"pairs": Path("absent.txt")}, InputError, "absent.txt"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, options: dict[str, object], kind: type[Mast3rError], said: str
) -> None:
    make_seven_scenes(tmp_path / "raw")
    with pytest.raises(kind, match=said):
        run("7scenes", tmp_path, **options)


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        run("7scenes", tmp_path)
    make_seven_scenes(tmp_path / "raw")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mast3r_prepare.json").write_text("{")
    with pytest.raises(OutputError, match="is damaged") as caught:
        run("7scenes", tmp_path)
    assert caught.value.hint == "prepare into another folder"
