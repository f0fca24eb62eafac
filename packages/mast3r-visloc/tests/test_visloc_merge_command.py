"""``mast3r visloc merge``: a benchmark evaluated in parts becomes the run that it would be as a whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mast3r_visloc.evaluation import RunFiles, RunWriter, match_path, read_matches, read_run

from .run_cases import made_pose, made_query, random_pose
from .visloc_cli import Visloc, refused, wall_expression

WORDS = ("--size", 128, "--label", "mine")
LABEL = "mine_tol_5_conf_1.001_reproj_diag_0.008"


def write_shards(folder: Path, options: dict[str, Any], files: RunFiles, count: int = 2) -> list[Path]:
    """Five queries, of which number 2 fails, in ``shard0``, ``shard1``..."""
    folders = [folder / f"shard{shard}" for shard in range(count)]
    for shard, place in enumerate(folders):
        with RunWriter(place, options | {"shard": f"{shard}/{count}"}, name="site", files=files) as run:
            for number in range(shard, 5, count):
                found = None if number == 2 else random_pose(number)
                pose = made_pose(f"q/{number}.jpg", found, seed=number)
                run.add(made_query(pose.name, folder, random_pose(number)), pose, position=number)
    return folders


def figures(folder: Path) -> list[dict[str, Any]]:
    """The report's queries, without the times that they took."""
    return [
        query | {"timings": None} for query in json.loads((folder / "report.json").read_text())["queries"]
    ]


def test_shards_are_the_whole(visloc: Visloc, wall: Path) -> None:
    text = wall_expression(wall)
    for shard in range(2):
        ran = visloc("evaluate", text, *WORDS, "--shard", f"{shard}/2", "-o", f"shard{shard}")
        assert ran.code == 0, ran.err
    assert visloc("evaluate", text, *WORDS, "-o", "whole").code == 0
    merged = visloc("merge", "shard1", "shard0", "-o", "merged")
    assert merged.code == 0, merged.err
    assert "0.25 m, 2°" in merged.out
    assert ": 3 images - median_pos_error=0.0" in merged.out
    for name in ("poses.txt", f"{LABEL}_results.txt", f"{LABEL}_ltvl.txt"):
        assert Path("merged", name).read_text() == Path("whole", name).read_text()
    assert figures(Path("merged")) == figures(Path("whole"))
    assert read_run(Path("merged")).options == read_run(Path("whole")).options
    for number in range(3):
        one, other = (read_matches(match_path(Path(folder), number)) for folder in ("merged", "whole"))
        assert one.query_xy.tolist() == other.query_xy.tolist()
    assert Path("merged/report.html").stat().st_size > 1000
    # It is a run as any: the whole evaluation goes on there, and has nothing left to do.
    again = visloc("evaluate", text, *WORDS, "-o", "merged")
    assert again.code == 0, again.err
    assert " inliers (" not in again.out


def test_a_shard_does_not_go_on_in_anothers_folder(visloc: Visloc, wall: Path) -> None:
    words = ("evaluate", wall_expression(wall), *WORDS)
    assert visloc(*words, "--shard", "0/2", "-o", "out").code == 0
    other = visloc(*words, "--shard", "1/2", "-o", "out")
    refused(other, "shard was '0/2' and is '1/2'", hint="another folder")


def test_upstreams_files_of_a_parity_run(visloc: Visloc, tmp_path: Path) -> None:
    files = RunFiles(page=False, on_failure="identity", upstream_label="x_tol_5")
    shards = write_shards(tmp_path, {"parity": True}, files)
    ran = visloc("merge", *shards, "-o", "out", "--no-report", "--json")
    assert ran.code == 0, ran.err
    assert (ran.result["queries"], ran.result["missing"]) == (5, [])
    assert ran.result["summary"]["localised"] == 4
    failed = "q/2.jpg 1.0 -0.0 -0.0 -0.0 0.0 0.0 0.0"
    assert Path("out/x_tol_5_results.txt").read_text().splitlines()[2] == failed
    names = [line.split()[0] for line in Path("out/poses.txt").read_text().splitlines()]
    assert names == [f"q/{number}.jpg" for number in range(5)]
    assert not Path("out/report.html").exists()
    ran = visloc("merge", *shards, "-o", "short", "--on-failure", "skip", "--name-style", "base")
    assert ran.code == 0, ran.err
    names = [line.split()[0] for line in Path("short/poses.txt").read_text().splitlines()]
    assert names == ["0.jpg", "1.jpg", "3.jpg", "4.jpg"]


def test_a_missing_shard_is_named(visloc: Visloc, tmp_path: Path) -> None:
    shards = write_shards(tmp_path, {}, RunFiles(page=False), count=3)
    ran = visloc("merge", shards[0], shards[2], "-o", "out")
    assert ran.code == 3
    assert "shards are missing: 1/3" in ran.err
    run = read_run(Path("out"))
    assert [record.name for record in run.records] == ["q/0.jpg", "q/2.jpg", "q/3.jpg"]
    assert not run.complete


def test_labels_that_differ_are_told(visloc: Visloc, tmp_path: Path) -> None:
    shards = write_shards(tmp_path, {}, RunFiles(page=False, upstream_label="a_tol_5"))
    for kind in ("results", "ltvl"):
        shutil.move(shards[1] / f"a_tol_5_{kind}.txt", shards[1] / f"b_tol_5_{kind}.txt")
    ran = visloc("merge", *shards, "-o", "out")
    assert ran.code == 0
    assert "upstream's result files are not merged" in ran.err
    assert not list(Path("out").glob("*_ltvl.txt"))


@pytest.mark.parametrize(
    ("words", "missing"), [(("merge", "-o", "out"), "RUNS"), (("merge", "shard0"), "--output")]
)
def test_what_must_be_given(visloc: Visloc, words: tuple[str, ...], missing: str) -> None:
    ran = visloc(*words)
    assert ran.code == 2
    assert missing in ran.err


def test_what_cannot_be_merged(visloc: Visloc, tmp_path: Path) -> None:
    first, second = write_shards(tmp_path, {}, RunFiles(page=False))
    refused(visloc("merge", first, "absent", "-o", "out"), "absent")
    refused(visloc("merge", first, first, "-o", "out"), "hold q/0.jpg")
    refused(visloc("merge", first, second, "-o", first), "is one of the shards", hint="another folder")
    assert not Path("out").exists()
    assert visloc("merge", first, second, "-o", "out").code == 0
    refused(visloc("merge", first, second, "-o", "out"), "holds a run already", hint="--overwrite")
    assert visloc("merge", first, second, "-o", "out", "--overwrite").code == 0
