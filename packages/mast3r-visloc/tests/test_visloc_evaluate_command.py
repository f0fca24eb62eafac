"""``mast3r visloc evaluate`` and ``export`` on a painted wall with exact truth (spec 50 D6, D7, 60 F)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image

from mast3r_visloc.evaluation import pose_error, read_poses

from .colour_network import ColourNetwork
from .painted_wall import MAP, QUERIES, Shot, pose_line
from .visloc_cli import Visloc

CAMERA = MAP[0].camera_spec
SMALL = ("--size", 128)
KNOWN = (*SMALL, "--camera", CAMERA)
NEAR = (0.02, 0.3)
"""Metres and degrees: a pixel is 3 cm of the wall, a step of a colour 2 cm."""


def expression(wall: Path, more: str = "") -> str:
    pairs = f", pairsfile={str(wall / 'pairs.txt')!r}, topk=3{more}"
    return f"RgbdFolder({str(wall / 'rgbd')!r}, queries={str(wall / 'held_out.txt')!r}{pairs})"


def assert_near(poses: dict[str, np.ndarray], shots: tuple[Shot, ...] = QUERIES) -> None:
    assert list(poses) == [shot.name for shot in shots]
    for shot in shots:
        error = pose_error(poses[shot.name], shot.pose)
        assert error.below(NEAR), (shot.name, error)


# Evaluation


def test_evaluate_for_people(visloc: Visloc, wall: Path) -> None:
    ran = visloc("evaluate", expression(wall), *SMALL, "--label", "mine", "-o", "out")
    assert ran.code == 0, ran.err
    assert ran.out.count("localised  ") >= 3
    assert "0.25 m, 2°" in ran.out
    assert "RgbdFolder(rgbd): 3 images - median_pos_error=0.0" in ran.out
    label = "mine_tol_5_conf_1.001_reproj_diag_0.008"
    assert {f"{label}_results.txt", f"{label}_ltvl.txt", "report.html", "poses.txt"} <= {
        path.name for path in Path("out").iterdir()
    }
    assert "recall" in Path("out/report.html").read_text().lower()
    found = read_poses(Path(f"out/{label}_results.txt"))
    for shot, pose in zip(QUERIES, found.values(), strict=True):
        assert pose_error(pose, shot.pose).below(NEAR)


def test_evaluate_for_programs(visloc: Visloc, wall: Path) -> None:
    words = ("evaluate", expression(wall), *SMALL, "--map-stride", 8, "--json")
    ran = visloc(*words, "--thresholds", "0.000001,0.001 0.02,0.3")
    assert ran.code == 0, ran.err
    assert ran.result["summary"]["recalls"] == [0.0, 100.0]
    assert ran.result["summary"]["thresholds"] == [[1e-6, 0.001], [0.02, 0.3]]
    assert visloc(*words, "--limit", 2).result["summary"]["queries"] == 2
    shards = [visloc(*words, "--shard", f"{number}/2").result["queries"] for number in range(2)]
    assert [[query["position"] for query in queries] for queries in shards] == [[0, 2], [1]]


def test_evaluate_done_in_part(visloc: Visloc, wall: Path) -> None:
    """A photo that shows nothing, and one that is none (spec 60 F2: exit code 3)."""
    shutil.copytree(wall, "wall")
    first, second = (Path("wall/rgbd") / f"{shot.name[:-4]}.color.png" for shot in QUERIES[:2])
    Image.new("RGB", (128, 96), (120, 120, 255)).save(first)
    second.write_bytes(b"no photo")
    ran = visloc("evaluate", expression(Path("wall")), *SMALL, "-o", "out")
    assert ran.code == 3, ran.err
    assert f"skipped: {second.name}: " in ran.err
    assert "1 of 2 queries were not localised" in ran.err
    assert list(read_poses(Path("out/poses.txt"))) == [f"{QUERIES[2].name[:-4]}.color.png"]
    assert "median_pos_error=inf" in ran.out
    assert "50.0 %" in ran.out


def test_evaluate_goes_on_and_takes_an_expression_longer_than_a_files_name(
    visloc: Visloc, wall: Path, colour_network: ColourNetwork
) -> None:
    text = expression(wall, " " * 300)
    assert visloc("evaluate", text, *SMALL, "--limit", 1, "-o", "out").code == 0
    colour_network.decoded = 0
    assert visloc("evaluate", text, *SMALL, "-o", "out").code == 0
    assert colour_network.decoded == 2 * 3
    assert visloc("evaluate", text, *SMALL, "-o", "out").code == 0
    assert colour_network.decoded == 2 * 3


def test_evaluate_without_pairs(visloc: Visloc, wall: Path) -> None:
    text = f"ColmapMap({str(wall / 'map')!r}, queries=['{MAP[0].name}', '{MAP[3].name}'])"
    refused = visloc("evaluate", text, *SMALL)
    assert refused.code == 1
    assert "has no pairs" in refused.error
    assert "--retrieval" in refused.err
    ran = visloc("evaluate", text, *SMALL, "--retrieval", "encoder", "--topk", 2, "--json")
    assert ran.code == 0, ran.err
    assert ran.result["summary"]["recalls"] == [100.0] * 4
    assert [len(query["candidates"]) for query in ran.result["queries"]] == [2, 2]


def test_runs_are_compared(visloc: Visloc, wall: Path) -> None:
    for label in ("one", "two"):
        assert visloc("evaluate", expression(wall), *SMALL, "--no-report", "-o", label).code == 0
    table = visloc("evaluate", "one", "two")
    assert table.code == 0, table.err
    assert len([line for line in table.out.splitlines() if "100.0 %" in line]) == 2
    against = visloc("evaluate", "one/poses.txt", "--truth", wall / "rgbd_truth.txt")
    assert against.code == 1
    truth = "\n".join(
        pose_line(Shot(f"{shot.name[:-4]}.color.png", shot.pose)) for shot in (*QUERIES, MAP[0])
    )
    Path("truth.txt").write_text(truth + "\n")
    ran = visloc("evaluate", "one/poses.txt", "one", "--truth", "truth.txt", "--json")
    assert ran.code == 0, ran.err
    file, run = ran.result["runs"]
    assert (file["queries"], file["localised"], run["queries"]) == (4, 3, 3)
    assert run["median_position"] < NEAR[0]
    assert "no pose of 1 photos, which count as failures: map_0.color.png" in ran.err


# Export


@pytest.fixture
def finished(visloc: Visloc, wall: Path) -> Visloc:
    """A run in ``out``: two photos localised, one failed."""
    shutil.copytree(wall / "queries", "photos")
    Image.new("RGB", (128, 96), (120, 120, 255)).save("photos/zz.png")
    ran = visloc("localize", wall / "map", "photos", *KNOWN, "-o", "out")
    assert ran.code == 3, ran.err
    return visloc


def test_export(finished: Visloc) -> None:
    for format_, written, photos in (
        ("ltvl", "out/ltvl.txt", 3),
        ("hloc", "out/hloc.txt", 4),
        ("csv", "out/poses.csv", 4),
        ("colmap", "out/colmap_photos", 3),
    ):
        ran = finished("export", "out", "--format", format_)
        assert ran.code == 0, ran.err
        assert f"{photos} of 4 photos in {written}" in ran.out
        assert Path(written).exists()
    assert_near(read_poses(Path("out/ltvl.txt")))
    assert list(read_poses(Path("out/hloc.txt")))[-1] == "zz.png"
    assert len(pycolmap.Reconstruction("out/colmap_photos").images) == 3
    assert finished("export", "out", "--format", "csv").code == 1
    again = finished("export", "out", "--format", "colmap", "-o", "out/colmap_photos", "--overwrite")
    assert again.code == 0, again.err
    identity = finished(
        "export", "out", "--format", "ltvl", "-o", "id.txt", "--on-failure", "identity", "--json"
    )
    assert identity.result["photos"] == 4
    np.testing.assert_array_equal(read_poses(Path("id.txt"))["zz.png"], np.eye(4))
