"""Folders of runs: what is written, going on after a kill, memory, shards, exports."""

from __future__ import annotations

import csv
import json
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pycolmap
import pytest

from mast3r_model import ConfigError, InputError, NothingFoundError, OutputError
from mast3r_visloc.evaluation import (
    PoseError,
    RunFiles,
    RunWriter,
    export_run,
    match_path,
    merge_runs,
    read_matches,
    read_poses,
    read_run,
)

from .run_cases import CAMERA, CANDIDATES, made_matches, made_pose, made_query, random_pose, write_photo

OPTIONS = {"topk": 20, "thresholds": ((0.25, 2),), "fine": False}
PLAIN = RunFiles(page=False, matches=False)


def fill(run: RunWriter, folder, numbers, *, truth: bool = True) -> None:
    """Every third query fails; the others are 0.2 m off."""
    for number in numbers:
        true_pose = random_pose(number)
        found = true_pose.copy()
        found[0, 3] += 0.2
        name = f"q/{number}"
        pose = made_pose(name, None if number % 3 == 2 else found, seed=number)
        query = made_query(name, folder, true_pose if truth else None)
        run.add(query, pose, nearest_pose=random_pose(100 + number), position=number)


def fill_and_raise(run: RunWriter, folder, error: type[BaseException]) -> None:
    fill(run, folder, [3])
    raise error


def test_a_run_writes_its_files(tmp_path):
    with RunWriter(tmp_path / "out", OPTIONS, name="site") as run:
        fill(run, tmp_path, range(6))
        assert not (tmp_path / "out" / "report.json").exists()
        assert match_path(run.folder, 0).exists(), "matches are written at once"
    report = json.loads((run.folder / "report.json").read_text("utf-8"))
    assert report["schema"] == "mast3r.visloc/1"
    assert report["complete"] is True
    assert report["options"] == {"topk": 20, "thresholds": [[0.25, 2]], "fine": False}
    assert report["versions"]["mast3r-visloc"]
    assert report["summary"]["localised"] == 4
    assert report["summary"]["recalls"] == pytest.approx([0, 200 / 3, 200 / 3, 200 / 3])
    assert report["summary"]["median_position_m"] == pytest.approx(0.2)
    first, failed = report["queries"][0], report["queries"][2]
    assert first["status"] == "localised"
    assert first["error"]["position_m"] == pytest.approx(0.2)
    assert first["camera"] == {
        "model": "SIMPLE_RADIAL",
        "width": 160,
        "height": 120,
        "params": list(CAMERA.params),
        "source": "EXIF",
    }
    assert first["candidates"] == list(CANDIDATES)
    assert first["best_image"] == "db/2.jpg"
    assert first["timings"] == {"network": 0.25, "pnp": 0.125}
    assert failed["status"] == "failed"
    assert failed["reason"] == "few_inliers"
    assert failed["cam2world"] is None
    assert failed["error"] == {"position_m": None, "rotation_deg": None}
    poses = read_poses(run.folder / "poses.txt")
    assert list(poses) == ["q/0", "q/1", "q/3", "q/4"]
    np.testing.assert_allclose(poses["q/1"], np.array(run.records[1].cam2world), atol=1e-12)
    assert (run.folder / "report.html").stat().st_size > 1000


def test_points_that_several_map_images_show_are_told(tmp_path):
    """Spec 50, trap 7: they stay several correspondences, and the report says of how many points."""
    pose = made_pose("a", random_pose(0), count=40)
    matches = pose.correspondences
    inliers = np.flatnonzero(matches.inlier)
    matches.xyz[inliers[:6]] = matches.xyz[inliers[6:12]]
    with RunWriter(tmp_path, OPTIONS, files=PLAIN) as run:
        run.add(made_query("a", tmp_path), pose)
        run.add(made_query("b", tmp_path), replace(made_pose("b", None), correspondences=made_matches(0)))
    counts = [(record.num_inliers, record.num_points) for record in run.records]
    assert counts == [(len(inliers), len(inliers) - 6), (3, 0)]
    assert read_run(tmp_path).records == tuple(run.records)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    del report["queries"][0]["num_points"]
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert read_run(tmp_path).records[0].num_points is None
    assert export_run(read_run(tmp_path), tmp_path / "run.csv", "csv") == 2
    assert [row["num_points"] for row in csv.DictReader((tmp_path / "run.csv").open())] == ["", "0"]


def test_matches_are_read_as_they_were(tmp_path):
    with RunWriter(tmp_path, OPTIONS) as run:
        fill(run, tmp_path, range(1))
    found, wanted = read_matches(match_path(tmp_path, 0)), made_matches(seed=0)
    for field in ("query_xy", "map_xy", "confidence"):
        np.testing.assert_allclose(getattr(found, field), getattr(wanted, field), rtol=1e-6)
    for field in ("map_image", "xyz", "inlier"):
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field))
    for content in (b"", b"PK\x03\x04 broken", match_path(tmp_path, 0).read_bytes()[:200]):
        match_path(tmp_path, 0).write_bytes(content)
        with pytest.raises(InputError, match="cannot read the matches"):
            read_matches(match_path(tmp_path, 0))
    np.savez(match_path(tmp_path, 0), query_xy=np.array([object()], dtype=object))
    with pytest.raises(InputError, match="cannot read the matches"):
        read_matches(match_path(tmp_path, 0))


def test_reading_a_run_gives_the_same_records(tmp_path):
    with RunWriter(tmp_path, OPTIONS, name="site", files=PLAIN) as run:
        fill(run, tmp_path, range(3))
        fill(run, tmp_path, range(3, 5), truth=False)
    again = read_run(tmp_path)
    assert again.records == tuple(run.records)
    assert again.records[2].error == PoseError(math.inf, math.inf)
    assert again.records[3].error is None
    assert again.summary == run.summary
    assert again.complete
    assert again.name == "site"


def test_a_killed_run_goes_on(tmp_path):
    class Killed(BaseException):
        """Stands for a signal."""

    whole = RunWriter(tmp_path / "whole", OPTIONS, files=PLAIN)
    with whole:
        fill(whole, tmp_path, range(6))
    killed = RunWriter(tmp_path / "cut", OPTIONS, files=PLAIN)
    fill(killed, tmp_path, range(4))
    journal = tmp_path / "cut" / "records.jsonl"
    # The last line was being written when the power failed.
    journal.write_bytes(journal.read_bytes()[:-25])
    assert len(read_run(tmp_path / "cut").records) == 3
    assert not read_run(tmp_path / "cut").complete
    run = RunWriter(tmp_path / "cut", OPTIONS, files=PLAIN)
    assert run.done == {"q/0", "q/1", "q/2"}
    with pytest.raises(Killed), run:
        fill_and_raise(run, tmp_path, Killed)
    assert not read_run(tmp_path / "cut").complete
    assert len(read_poses(tmp_path / "cut" / "poses.txt")) == 3
    with RunWriter(tmp_path / "cut", OPTIONS, files=PLAIN) as run:
        fill(run, tmp_path, [number for number in range(6) if f"q/{number}" not in run.done])
    assert read_run(tmp_path / "cut").complete
    assert run.records == whole.records
    assert (tmp_path / "cut" / "report.json").read_text() == (tmp_path / "whole" / "report.json").read_text()


def test_a_finished_run_is_not_done_again(tmp_path):
    with RunWriter(tmp_path, OPTIONS, files=PLAIN) as run:
        fill(run, tmp_path, range(2))
    before = (tmp_path / "report.json").read_bytes()
    with RunWriter(tmp_path, OPTIONS, files=PLAIN) as run:
        assert run.done == {"q/0", "q/1"}
        with pytest.raises(InputError, match="added already"):
            fill(run, tmp_path, [0])
    assert (tmp_path / "report.json").read_bytes() == before


def test_other_options_and_other_folders_are_refused(tmp_path):
    with RunWriter(tmp_path / "run", OPTIONS) as run:
        fill(run, tmp_path, range(2))
    with pytest.raises(OutputError, match="other options: topk was 20 and is 5") as caught:
        RunWriter(tmp_path / "run", OPTIONS | {"topk": 5})
    assert "--overwrite" in (caught.value.hint or "")
    (tmp_path / "run" / "mine.txt").write_text("stays")
    with RunWriter(tmp_path / "run", {"topk": 5}, overwrite=True) as run:
        assert not run.done
        assert not match_path(run.folder, 1).exists()
    assert (tmp_path / "run" / "mine.txt").read_text() == "stays"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(OutputError, match="holds no run that could go on"):
        RunWriter(tmp_path / "photos", OPTIONS)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        RunWriter(tmp_path / "file", OPTIONS)
    with pytest.raises(InputError, match="plain values"):
        RunWriter(tmp_path / "new", {"model": object()})
    with pytest.raises(ConfigError):
        RunWriter(tmp_path / "new", OPTIONS, thresholds=())


def test_an_infinite_option_is_noted_and_goes_on(tmp_path: Path) -> None:
    """Of ``--max-chance inf``; JSON has no infinity."""
    for _ in range(2):
        with RunWriter(tmp_path / "run", {"max_chance": float("inf")}):
            pass
    assert read_run(tmp_path / "run").options["max_chance"] == "inf"


@pytest.mark.parametrize(
    "content", ["", "{}\n", '{"schema": "other/1"}\n', "[]\n", 'not json\n{"index": 0}\n', "\xff"]
)
def test_damaged_journals_are_told(tmp_path, content):
    (tmp_path / "records.jsonl").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        RunWriter(tmp_path, OPTIONS)
    assert "records.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_reports_are_told(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        read_run(tmp_path)
    for content in ("{", "[]", '{"schema": "mast3r.visloc/2"}', '{"schema": "mast3r.visloc/1"}'):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(InputError, match=r"report\.json"):
            read_run(tmp_path)


def test_parity_counts_queries_without_truth_against_the_identity(tmp_path):
    files = RunFiles(page=False, matches=False, upstream_label="x_tol_5")
    with RunWriter(tmp_path, OPTIONS, without_truth="identity", files=files) as run:
        run.add(made_query("a", tmp_path), made_pose("a", np.eye(4)))
        run.add(made_query("b", tmp_path), made_pose("b", None))
    assert run.summary.without_truth == 0
    assert run.summary.recalls == (50.0,) * 4
    lines = (tmp_path / "x_tol_5_results.txt").read_text().splitlines()
    assert lines[1] == "b 1.0 -0.0 -0.0 -0.0 0.0 0.0 0.0"
    assert (tmp_path / "x_tol_5_ltvl.txt").exists()
    assert list(read_poses(tmp_path / "poses.txt")) == ["a"]


def test_failures_may_have_the_nearest_photos_pose(tmp_path):
    files = RunFiles(page=False, on_failure="nearest", name_style="base")
    with RunWriter(tmp_path, OPTIONS, files=files) as run:
        fill(run, tmp_path, range(3))
    poses = read_poses(tmp_path / "poses.txt")
    assert list(poses) == ["0", "1", "2"]
    np.testing.assert_allclose(poses["2"], random_pose(102), atol=1e-12)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_queries(tmp_path):
    photo = write_photo(tmp_path / "photo.jpg", 1)
    paths = dict.fromkeys(CANDIDATES, photo)
    bytes_of_a_query = 2000 * (2 + 1 + 2 + 3 + 1) * 8

    def add(run, number):
        name = f"q{number}"
        pose = made_pose(name, random_pose(number % 7) if number % 5 else None, count=2000, seed=number)
        query = made_query(name, tmp_path, random_pose(0))
        run.add(type(query)(name, photo, None, query.cam2world), pose)

    files = RunFiles(pictures=3, map_paths=paths)
    with RunWriter(tmp_path / "out", OPTIONS, files=files) as run:
        tracemalloc.start()
        try:
            for number in range(100):
                add(run, number)
            after_100, peak_100 = tracemalloc.get_traced_memory()
            for number in range(100, 300):
                add(run, number)
            after_300, peak_300 = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after_300 - after_100 < 200 * 5000, "a few kB remain of each"
    assert peak_300 - peak_100 < 200 * 5000 + bytes_of_a_query
    assert len(list((tmp_path / "out" / "pictures").glob("*.jpg"))) == 3


def test_shards_become_one_run(tmp_path):
    for shard in range(2):
        with RunWriter(tmp_path / f"s{shard}", OPTIONS | {"shard": f"{shard}/2"}, name="site") as run:
            fill(run, tmp_path, range(shard, 7, 2))
    with RunWriter(tmp_path / "whole", OPTIONS, name="site") as whole:
        fill(whole, tmp_path, range(7))
    merged = merge_runs([tmp_path / "s0", tmp_path / "s1"], tmp_path / "merged")
    assert merged.records == whole.records
    for name in ("report.json", "poses.txt", "records.jsonl"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    np.testing.assert_array_equal(
        read_matches(match_path(tmp_path / "merged", 5)).xyz, made_matches(seed=5).xyz
    )
    with pytest.raises(InputError, match="holds a run already"):
        merge_runs([tmp_path / "s0"], tmp_path / "merged")
    with pytest.raises(InputError, match="hold q/0"):
        merge_runs([tmp_path / "s0", tmp_path / "s0"], tmp_path / "new")
    with pytest.raises(InputError, match="is one of the shards"):
        merge_runs([tmp_path / "s0"], tmp_path / "s0", overwrite=True)
    with RunWriter(tmp_path / "other", {"topk": 1}, name="site", files=PLAIN) as other:
        fill(other, tmp_path, [9])
    with pytest.raises(InputError, match="of different runs: fine, thresholds, topk"):
        merge_runs([tmp_path / "s0", tmp_path / "other"], tmp_path / "new")
    RunWriter(tmp_path / "killed", OPTIONS, files=PLAIN)
    with pytest.raises(InputError, match="not complete"):
        merge_runs([tmp_path / "killed"], tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.fixture
def small_run(tmp_path):
    with RunWriter(tmp_path / "run", OPTIONS, files=PLAIN) as run:
        fill(run, tmp_path, range(3))
    return read_run(tmp_path / "run")


def test_exports_of_poses(tmp_path, small_run):
    assert export_run(small_run, tmp_path / "ltvl.txt", "ltvl") == 2
    assert list(read_poses(tmp_path / "ltvl.txt")) == ["0", "1"]
    assert export_run(small_run, tmp_path / "hloc.txt", "hloc", name_style="full") == 3
    assert list(read_poses(tmp_path / "hloc.txt")) == ["q/0", "q/1", "q/2"]
    with pytest.raises(InputError, match="unknown format 'nvm'"):
        export_run(small_run, tmp_path / "x", "nvm")


def test_export_of_a_table(tmp_path, small_run):
    assert export_run(small_run, tmp_path / "run.csv", "csv") == 3
    rows = list(csv.DictReader((tmp_path / "run.csv").open(encoding="utf-8")))
    assert [row["status"] for row in rows] == ["localised", "localised", "failed"]
    centre = np.array([float(rows[1][axis]) for axis in "xyz"])
    np.testing.assert_array_equal(centre, np.array(small_run.records[1].cam2world)[:3, 3])
    assert float(rows[1]["position_error_m"]) == pytest.approx(0.2)
    assert rows[2]["qw"] == ""
    assert rows[2]["position_error_m"] == "inf"


def test_export_of_a_colmap_model(tmp_path, small_run):
    assert export_run(small_run, tmp_path / "model", "colmap") == 2
    model = pycolmap.Reconstruction(tmp_path / "model")
    images = {image.name: image for image in model.images.values()}
    assert sorted(images) == ["q/0", "q/1"]
    np.testing.assert_allclose(
        images["q/1"].cam_from_world().inverse().matrix(),
        np.array(small_run.records[1].cam2world)[:3],
        atol=1e-9,
    )
    assert images["q/1"].camera.model.name == "SIMPLE_RADIAL"
    np.testing.assert_allclose(images["q/1"].camera.params, CAMERA.params)
    with pytest.raises(InputError, match="not an empty folder"):
        export_run(small_run, tmp_path / "model", "colmap")
    with RunWriter(tmp_path / "failed", OPTIONS, files=PLAIN) as run:
        fill(run, tmp_path, [2])
    with pytest.raises(NothingFoundError, match="no localised photo"):
        export_run(read_run(tmp_path / "failed"), tmp_path / "none", "colmap")
    assert not (tmp_path / "none").exists()
