"""7-Scenes' release into A2's layout, read back by its dataset class (spec 50 D8)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from mast3r_model import InputError
from mast3r_visloc.datasets import VislocSevenScenes
from mast3r_visloc.preparing import PreparationReport, PreparationRequest, prepare

from .raw_releases import colour_pose, make_seven_scenes, off_the_wall

PAIRS = "pairs.txt"
MAPPING = Path("chess/mapping/sensors/records_data/seq-02")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def truth(raw: Path) -> dict[str, np.ndarray]:
    return make_seven_scenes(raw)


def run(raw: Path, **options: object) -> PreparationReport:
    pairs = raw.parent / PAIRS
    lines = [
        f"seq-01/frame-{query:06d}.color.png, seq-02/frame-{photo:06d}.color.png, {1 - 0.1 * photo}"
        for query in range(2)
        for photo in range(2)
    ]
    pairs.write_text("\n".join(["# kapture format: 1.1", *lines]) + "\n")
    return prepare(PreparationRequest("7scenes", raw, raw.parent / "out", pairs=pairs, **options))


def opened(raw: Path) -> VislocSevenScenes:
    return VislocSevenScenes(str(raw.parent / "out"), subscene="chess", pairsfile="pairs", topk=2)


def test_dataset_class_reads_it_with_true_poses_and_points(raw: Path, truth: dict[str, np.ndarray]) -> None:
    report = run(raw)
    assert report.complete, (report.problems, report.missing_pairs)
    assert report.absent_scenes == ["fire", "heads", "office", "pumpkin", "redkitchen", "stairs"]
    assert (report.linked, report.copied) == (2, 2)  # the folder's photos, the zip's photos
    dataset = opened(raw)
    assert [query.name for query in dataset.queries] == [f"seq-01/frame-{n:06d}.color.png" for n in range(2)]
    assert [candidate.name for candidate in dataset.candidates(0)] == [i.name for i in dataset.map.images]
    for image in [*dataset.queries, *dataset.map.images]:
        expected = colour_pose(truth[image.name.removesuffix(".color.png")])
        np.testing.assert_allclose(image.cam2world, expected, atol=2e-6)
    grids = [image.load_points().grid for image in dataset.map.images]
    for grid in grids:
        known = np.isfinite(grid).all(-1)
        assert known.mean() > 0.6
        # half a pixel at 3 m on a wall tilted by 20 degrees, and the PNG's half millimetre
        assert np.abs(off_the_wall(grid[known])).max() < 3e-3
    assert report.expressions == [
        f"VislocSevenScenes({str(report.out)!r}, subscene='chess', pairsfile='pairs', topk=1)"
    ]


def test_legacy_registration_is_off(raw: Path, truth: dict[str, np.ndarray]) -> None:
    assert run(raw, legacy_registration=True).complete
    grid = opened(raw).map.images[0].load_points().grid
    distances = np.abs(off_the_wall(grid[np.isfinite(grid).all(-1)]))
    assert np.median(distances) > 5e-3
    assert distances.max() > 20e-3


def test_legacy_and_right_depth_are_not_mixed(raw: Path, truth: dict[str, np.ndarray]) -> None:
    run(raw)
    with pytest.raises(InputError, match="was prepared with"):
        run(raw, legacy_registration=True)


def test_mapping_and_query_share_one_numbering(raw: Path, truth: dict[str, np.ndarray]) -> None:
    out = run(raw).out / "chess"
    times = {
        part: [
            line.split(",")[0]
            for line in (out / part / "sensors" / "records_camera.txt").read_text().splitlines()
            if not line.startswith("#")
        ]
        for part in ("query", "mapping")
    }
    assert times == {"query": ["0", "1"], "mapping": ["2", "3"]}
    depth = (out / "mapping" / "sensors" / "records_depth.txt").read_text().splitlines()
    assert depth[2:] == [f"{n + 2}, kinect_depth_reg, seq-02/frame-{n:06d}.depth.reg" for n in range(2)]
    assert not (out / "query" / "sensors" / "records_depth.txt").exists()


def test_a_second_run_does_nothing(raw: Path, truth: dict[str, np.ndarray]) -> None:
    run(raw)
    before = snapshot(raw.parent / "out")
    report = run(raw)
    assert (report.linked, report.copied, report.made, report.kept) == (0, 0, 0, 6)
    assert snapshot(raw.parent / "out") == before


def test_a_run_that_was_killed_goes_on(raw: Path, truth: dict[str, np.ndarray]) -> None:
    def stop_after_four(items: Iterable, description: str, total: int | None = None) -> Iterable:
        for count, item in enumerate(items):
            if count == 4:
                raise KeyboardInterrupt
            yield item

    request = PreparationRequest("7scenes", raw, raw.parent / "out")
    with pytest.raises(KeyboardInterrupt):
        prepare(request, track=stop_after_four)
    out = raw.parent / "out"
    assert not (out / "chess/mapping/sensors/sensors.txt").exists()
    done = snapshot(out)
    report = run(raw)
    assert report.complete
    assert report.kept >= 4
    after = snapshot(out)
    assert {name: after[name] for name in done} == done
    assert not list(out.rglob(".*part*"))


@pytest.mark.slow
def test_processes_give_the_same_bytes(raw: Path, truth: dict[str, np.ndarray]) -> None:
    run(raw, workers=2)
    by_two = {path.name: path.read_bytes() for path in (raw.parent / "out" / MAPPING).iterdir()}
    (raw.parent / "out").rename(raw.parent / "by_two")
    run(raw)
    assert {path.name: path.read_bytes() for path in (raw.parent / "out" / MAPPING).iterdir()} == by_two


def test_missing_raw_files_are_named_and_the_rest_is_made(raw: Path, truth: dict[str, np.ndarray]) -> None:
    with zipfile.ZipFile(raw / "chess/seq-02.zip") as archive:
        archive.extractall(raw / "chess")
    (raw / "chess/seq-02.zip").unlink()
    (raw / "chess/seq-02/frame-000000.depth.png").unlink()
    (raw / "chess/seq-01/frame-000001.pose.txt").unlink()
    report = run(raw)
    assert report.problems["chess/mapping/sensors/records_data/seq-02/frame-000000.depth.reg"] == (
        f"not found: {raw / 'chess/seq-02/frame-000000.depth.png'}"
    )
    assert report.problems["chess/query/sensors/records_data/seq-01/frame-000001.color.png"] == (
        f"not found: {raw / 'chess/seq-01/frame-000001.pose.txt'}"
    )
    assert not report.complete
    assert len(opened(raw).queries) == 1


def test_a_missing_sequence_is_named(raw: Path, truth: dict[str, np.ndarray]) -> None:
    (raw / "chess/seq-02.zip").unlink()
    problems = run(raw).problems
    assert problems[str(raw / "chess/seq-02")].endswith("seq-02.zip is there")


def test_pairs_that_do_not_fit_are_named(raw: Path, truth: dict[str, np.ndarray], tmp_path: Path) -> None:
    pairs = tmp_path / "other.txt"
    pairs.write_text("seq-01/frame-000000.color.png, seq-09/frame-000000.color.png, 1.0\n")
    report = prepare(PreparationRequest("7scenes", raw, tmp_path / "out", pairs=pairs))
    texts = " ".join(report.problems.values())
    assert "seq-09/frame-000000.color.png" in texts
    assert "no pairs for 1 queries: seq-01/frame-000001.color.png" in texts


def test_without_pairs_the_report_says_where_they_would_lie(raw: Path, truth: dict, tmp_path: Path) -> None:
    report = prepare(PreparationRequest("7scenes", raw, tmp_path / "out"))
    assert report.missing_pairs == {"chess": str(tmp_path / "out/chess/pairfiles/query/*.txt")}
    assert report.problems == {}
    assert not report.complete


def test_one_scene_given_as_the_raw_folder(raw: Path, truth: dict[str, np.ndarray], tmp_path: Path) -> None:
    report = prepare(PreparationRequest("7scenes", raw / "chess", tmp_path / "out"))
    assert report.scenes == ["chess"]


@pytest.mark.parametrize(
    ("scenes", "said"),
    [((), "looked for TrainSplit.txt, TestSplit.txt in chess"), (("fire",), "the scene fire is not in")],
)
def test_a_wrong_raw_folder_says_what_was_looked_for(tmp_path: Path, scenes: tuple, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        prepare(PreparationRequest("7scenes", tmp_path, tmp_path.parent / "out", scenes=scenes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path.parent / "out").exists()


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
